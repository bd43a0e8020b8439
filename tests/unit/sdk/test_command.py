"""``python -m triton_sdk predict``: what it prints where, and its exit status."""

import csv
import errno
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, features

from tests.doubles.pictures import png
from triton_sdk import ClientConfig, ResNetClient
from triton_sdk.__main__ import main
from triton_sdk.testing import ScriptedTransport

Run = Callable[..., tuple[int, str, str]]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture
def transport() -> ScriptedTransport:
    """Return a server that finds a cat and a dog in turn."""
    return ScriptedTransport(
        [{"cat": 0.75, "dog": 0.25}, {"cat": 0.1, "dog": 0.9}], labels=["cat", "dog"], versions=(1, 2)
    )


@pytest.fixture
def made() -> list[ClientConfig]:
    """Return the configurations of the clients that were made."""
    return []


@pytest.fixture
def run(
    transport: ScriptedTransport,
    made: list[ClientConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Return a function that runs the program against the server in memory: status, stdout, stderr."""

    def make(config: ClientConfig) -> ResNetClient:
        made.append(config)
        return ResNetClient("scripted:1", transport=transport)

    monkeypatch.setattr(ResNetClient, "from_config", make)
    for name in [name for name in os.environ if name.startswith("TRITON_")]:
        monkeypatch.delenv(name)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["predict", *map(str, arguments)])
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two images, one of them in a folder within, and a file that is none."""
    (tmp_path / "b").mkdir()
    (tmp_path / "a.png").write_bytes(png(40, 30))
    (tmp_path / "b" / "c.JPG").write_bytes(png(40, 30))
    (tmp_path / "notes.txt").write_text("not looked at")
    return tmp_path


def test_folders_are_searched_in_order(run: Run, folder: Path) -> None:
    """A line for each image, those of subfolders included, and nothing on stderr."""
    assert run(folder) == (0, f"{folder}/a.png: cat 75.0%\n{folder}/b/c.JPG: dog 90.0%\n", "")


def test_json_is_an_object_a_line(run: Run, folder: Path) -> None:
    """All that is known of a prediction is in it."""
    status, out, _ = run("--json", "--top-k", 2, folder / "a.png", folder / "b" / "c.JPG")
    first, second = map(json.loads, out.splitlines())
    assert status == 0
    assert first == {
        "path": f"{folder}/a.png",
        "label": "cat",
        "probability": 0.75,
        "model": "resnet50",
        "model_version": 2,
        "top": [{"index": 0, "label": "cat", "probability": 0.75}, {"index": 1, "label": "dog", "probability": 0.25}],
    }
    assert second["label"] == "dog"


def test_csv_is_a_row_a_class(run: Run, folder: Path) -> None:
    """With a line of headings, and quoted where a name needs it."""
    odd = folder / 'odd, "quoted".png'
    odd.write_bytes(png(40, 30))
    _, out, _ = run("--csv", "--top-k", 2, "--version", 1, odd)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["path"], row["rank"], row["label"], row["probability"], row["model_version"]) for row in rows] == [
        (str(odd), "1", "cat", "0.750000", "1"),
        (str(odd), "2", "dog", "0.250000", "1"),
    ]


def test_what_cannot_be_read_is_a_line_and_no_end(run: Run, folder: Path) -> None:
    """The others are classified, and the status tells."""
    (folder / "aa.png").write_bytes(b"no image")
    status, out, err = run(folder, folder / "missing.png")
    assert status == 1
    assert [line.partition(":")[0] for line in out.splitlines()] == [f"{folder}/a.png", f"{folder}/b/c.JPG"]
    assert [line.partition(":")[0] for line in err.splitlines()] == [f"{folder}/aa.png", f"{folder}/missing.png"]


def test_whatever_the_client_reads_is_found_in_a_folder(run: Run, tmp_path: Path) -> None:
    """TIFF and AVIF were passed over in silence once; HEIC without its plugin is a line that says so."""
    suffixes = ["tif", "TIFF"]
    if "avif" in features.get_supported_modules():
        suffixes.append("avif")
    for suffix in suffixes:
        Image.new("RGB", (40, 30)).save(tmp_path / f"a.{suffix}")
    (tmp_path / "b.heic").write_bytes(b"no image")
    status, out, err = run(tmp_path)
    assert (status, len(out.splitlines())) == (1, len(suffixes))
    assert err.startswith(f"{tmp_path}/b.heic: ")


def test_a_folder_without_images_is_told(run: Run, tmp_path: Path) -> None:
    """A mistyped folder must not look like success."""
    assert run(tmp_path) == (1, "", f"{tmp_path}: no images in this folder\n")


def test_a_server_that_is_not_there_is_one_line(run: Run, folder: Path, transport: ScriptedTransport) -> None:
    """However many images there are, the server is at fault once."""
    transport.stop()
    status, out, err = run(*[folder] * 50)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "UNAVAILABLE" in err


def test_flags_come_before_the_environment(
    run: Run, folder: Path, made: list[ClientConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no flag says the environment does, and else localhost; a flag replaces a variable that is wrong."""
    run(folder)
    monkeypatch.setenv("TRITON_GRPC_URL", "no port")
    monkeypatch.setenv("TRITON_MODEL", "mobilenetv2")
    monkeypatch.setenv("TRITON_TOKEN", "t0ken")
    run("--url", "gpu:8001", "--timeout", 2.5, folder)
    plain, given = made
    assert (plain.url, plain.model, plain.timeout) == ("localhost:8001", "resnet50", 30)
    assert (given.url, given.model, given.timeout) == ("gpu:8001", "mobilenetv2", 2.5)
    assert given.metadata == (("authorization", "Bearer t0ken"),)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--top-k", "0", "a.png"], ["--version", "x", "a.png"], ["--json", "--csv", "a.png"], ["--url"]],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(run: Run, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """The usage is shown, and nothing is asked."""
    with pytest.raises(SystemExit) as end:
        run(*arguments)
    assert end.value.code == 2
    assert "usage: python -m triton_sdk predict" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "words"), [("--url", "localhost", "HOST:PORT"), ("--timeout", "-1", "timeout")]
)
def test_a_setting_that_cannot_be_used_is_status_2(run: Run, folder: Path, flag: str, value: str, words: str) -> None:
    """It is told in one line."""
    status, out, err = run(f"{flag}={value}", folder)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_a_terminal_gets_a_bar(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn on stderr; results stay what they are on stdout."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    status, out, _ = run(folder)
    assert (status, out.count("\n")) == (0, 2)
    assert "2/2" in screen.getvalue()


def test_without_rich_there_is_no_bar(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rich is for the eye alone."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setitem(sys.modules, "rich", None)
    status, out, _ = run(folder)
    assert (status, out.count("\n"), screen.getvalue()) == (0, 2, "")


def test_names_of_files_need_not_be_text(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of a name come out as they are."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.png"))
    path.write_bytes(png(40, 30))
    assert run(path)[0] == 0
    raw: Any = stream.buffer
    assert raw.getvalue() == os.fsencode(path) + b": cat 75.0%\n"


@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)])
def test_nothing_of_a_name_or_label_is_obeyed_by_a_terminal(run: Run, tmp_path: Path, form: tuple[str, ...]) -> None:
    """Escape sequences in names of files come out as escapes, in results and in messages."""
    path = tmp_path / "a\x1b[31m\n\x9b.png"
    path.write_bytes(png(40, 30))
    bad = tmp_path / "b\x1b]0;title\x07.png"
    bad.write_bytes(b"no picture")
    status, out, err = run(*form, path, bad)
    assert status == 1
    assert not {"\x1b", "\x9b", "\x07"} & set(out + err)
    assert r"\u001b[31m" in out if form == ("--json",) else r"\x1b[31m\x0a\x9b.png" in out
    assert r"\x1b]0;title\x07.png" in err


def test_an_ascii_terminal_gets_escapes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it cannot show is no reason to stop."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    path = tmp_path / "caf\xe9.png"
    path.write_bytes(png(40, 30))
    assert run(path)[0] == 0
    raw: Any = stream.buffer
    assert b"caf\\xe9.png: cat 75.0%" in raw.getvalue()


@pytest.mark.usefixtures("run")
def test_results_that_cannot_be_written_are_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is said, with status 1."""

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())
    assert main(["predict", str(folder)]) == 1
    assert said.getvalue() == "The results cannot be written: No space left on device.\n"


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_opened(run: Run, tmp_path: Path, kind: str) -> None:
    """A named pipe would wait for ever; it is a line, and the next image follows."""
    path = tmp_path / "a.png"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    good = tmp_path / "b.png"
    good.write_bytes(png(40, 30))
    status, out, err = run(path, good)
    assert (status, out.count("\n")) == (1, 1)
    assert ("it is a named pipe" if kind == "pipe" else "it is a device") in err
