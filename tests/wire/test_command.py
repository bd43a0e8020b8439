"""``python -m triton_sdk predict`` as a process of its own: signals and pipes."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.doubles.fake_triton import FakeTriton
from tests.doubles.pictures import png
from tests.wire.server import serve

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with forty images."""
    picture = png(40, 30)
    for number in range(40):
        (tmp_path / f"{number:02}.png").write_bytes(picture)
    return tmp_path


def start(url: str, photos: Path) -> "subprocess.Popen[str]":
    """Start the program on *photos*."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "triton_sdk",
        "predict",
        "--model",
        "clf",
        "--url",
        url,
        str(photos),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)


def test_all_images_are_classified_in_order(photos: Path) -> None:
    """Several requests are in flight, and the lines still come in the order of the names."""
    with serve(FakeTriton()) as served, start(served.url, photos) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert [Path(line.partition(":")[0]).name for line in out.splitlines()] == [f"{n:02}.png" for n in range(40)]


def test_ctrl_c_ends_it_cleanly(photos: Path) -> None:
    """While the server hangs, an interrupt ends the program at once, with one line and the status of shells."""
    entered, release = threading.Event(), threading.Event()

    def hang(method: str, _message: object) -> None:
        if method == "ModelInfer":
            entered.set()
            release.wait(30)

    triton = FakeTriton(twist=hang)
    with serve(triton) as served, start(served.url, photos) as process:
        assert entered.wait(20)
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=20)
        finally:
            release.set()
    assert (process.returncode, out, err) == (130, "", "Interrupted.\n")


def test_a_reader_that_leaves_is_no_error(photos: Path) -> None:
    """As in `... | head -1`: no traceback."""
    with serve(FakeTriton()) as served, start(served.url, photos) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 1
