"""Classify images from a terminal: ``python -m triton_sdk predict PATH...``."""

import argparse
import codecs
import csv
import io
import json
import os
import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO, TypeAlias

import attrs

from triton_sdk._version import __version__
from triton_sdk.client import ResNetClient
from triton_sdk.config import ClientConfig
from triton_sdk.errors import (
    ClientClosedError,
    ConfigurationError,
    ContractError,
    ModelNotFoundError,
    TransportError,
    TritonError,
)
from triton_sdk.predictions import Prediction
from triton_sdk.text import shown, shown_in_line

if TYPE_CHECKING:
    from rich.progress import Progress

DEFAULT_URL: Final = "localhost:8001"
SUFFIXES: Final = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# What the next image would meet as well.
_FINAL: Final = (ClientClosedError, ConfigurationError, ContractError, ModelNotFoundError, TransportError)
# As shells report a program that Ctrl-C ended.
_INTERRUPTED: Final = 130

# The handler of errors for names of files, which are bytes and need not be text.
_NAMES: Final = "triton-sdk-names"
# The bytes of such a name, as Python's text holds them.
_BYTES: Final = re.compile("([\udc80-\udcff]+)")
# What JSON leaves as it is, and a terminal obeys.
_OBEYED: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

Write: TypeAlias = Callable[[Path, Prediction], None]

_EPILOG: Final = f"""\
If a PATH is a folder, its images ({", ".join(suffix[1:] for suffix in SUFFIXES)})
are classified, with those of its subfolders. If an image cannot be read, a line on stderr says why, and the program
goes on with the next one.

If you do not give an option, it comes from TRITON_GRPC_URL, TRITON_MODEL or TRITON_TIMEOUT_S. TRITON_TOKEN, TRITON_TLS,
TRITON_TLS_CA, ... are read too. If there is no address at all, the program asks {DEFAULT_URL}.

Exit status: 0 if all images were classified, 1 if some were not, 2 for wrong usage, {_INTERRUPTED} if interrupted.

  python -m triton_sdk predict photo.jpg
  python -m triton_sdk predict --url gpu:8001 --model mobilenetv2 --csv photos/ > labels.csv
  python -m triton_sdk predict --json --top-k 3 photos/ | jq -r '.path + " " + .label'
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program, and return its exit status."""
    options = _parser().parse_args(arguments)
    if sys.stdout is None:  # `>&-` of a shell
        _say("The results cannot be written: standard output is closed.")
        return 1
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_NAMES)
    try:
        return _predict(options)
    except KeyboardInterrupt:
        _say("Interrupted.")
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever reads the results has seen enough; Python would complain when it closes stdout at exit.
        _forget_results()
        return 1
    except OSError as error:
        _forget_results()
        _say(f"The results cannot be written: {error.strerror or error}.")
        return 1


def _forget_results() -> None:
    """Send what is left of the results nowhere: Python would try to write it at exit, and complain."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _encode(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write the bytes of names that are no text as they are, and an escape for what the terminal cannot show."""
    assert isinstance(error, UnicodeEncodeError)
    found = error.object[error.start]
    raw = 0xDC80 <= ord(found) <= 0xDCFF
    return bytes([ord(found) - 0xDC00]) if raw else found.encode("ascii", "backslashreplace"), error.start + 1


codecs.register_error(_NAMES, _encode)


def images(paths: Iterable[Path], *, problem: Callable[[str], None]) -> Iterator[Path]:
    """Yield the images that *paths* name, those in folders in order; a folder without any is a *problem*."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = False
        for image in sorted(path.rglob("*")):
            if image.suffix.lower() in SUFFIXES and image.is_file():
                found = True
                yield image
        if not found:
            problem(f"{path}: no images in this folder")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m triton_sdk", description="Ask an image classifier on Triton.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    predict = commands.add_parser(
        "predict",
        help="classify images",
        description="Classify images, and whole folders of them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="an image, or a folder of images")
    predict.add_argument("--url", metavar="HOST:PORT", help="the server's gRPC endpoint")
    predict.add_argument("--model", metavar="NAME", help="the model's name (default: resnet50)")
    predict.add_argument("--version", type=_positive, metavar="N", help="the version (default: the server chooses)")
    predict.add_argument("--top-k", type=_positive, default=1, metavar="K", help="classes to name (default: 1)")
    predict.add_argument("--timeout", type=float, metavar="S", help="seconds for each batch with retries (default: 30)")
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object on a line for each image")
    form.add_argument(
        "--csv", action="store_true", help="print CSV: path, label, probability and more; a row per class"
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def _predict(options: argparse.Namespace) -> int:
    try:
        client = ResNetClient.from_config(_config(options))
    except ConfigurationError as error:
        _say(str(error))
        return 2
    failures: list[str] = []

    def problem(line: str) -> None:
        failures.append(line)
        _say(line)

    with client, _progress() as show:
        found = list(images(options.paths, problem=problem))
        write = _writer(options, sys.stdout)
        show(0, len(found))
        results = client.predict_stream(found, version=options.version, top_k=options.top_k)
        try:
            _report(results, found, write=write, problem=problem, show=show)
        except TritonError as error:
            problem(str(error))
    return 1 if failures else 0


def _config(options: argparse.Namespace) -> ClientConfig:
    """Return the configuration: flags first, then the environment."""
    flags = {"url": options.url, "model": options.model, "timeout": options.timeout}
    variables = {"url": "TRITON_GRPC_URL", "model": "TRITON_MODEL", "timeout": "TRITON_TIMEOUT_S"}
    given = {name: value for name, value in flags.items() if value is not None}
    # What a flag replaces may be wrong in the environment.
    replaced = {variables[name] for name in given}
    environ = {name: value for name, value in os.environ.items() if value and name not in replaced}
    config = ClientConfig.from_env({"TRITON_GRPC_URL": DEFAULT_URL, **environ})
    return attrs.evolve(config, **given)


def _report(
    results: Generator[tuple[int, Prediction | TritonError], None, None],
    paths: Sequence[Path],
    *,
    write: Write,
    problem: Callable[[str], None],
    show: Callable[[int, int], None],
) -> None:
    """Write the results in the order of *paths*; go on after an image that is at fault itself.

    Raises:
        TritonError: If the server, and not an image, is the reason: the next one would fail as well.
    """
    early: dict[int, Prediction | TritonError] = {}
    turn = 0
    with closing(results):
        for done, (place, found) in enumerate(results, start=1):
            early[place] = found
            while turn in early:
                result = early.pop(turn)
                if isinstance(result, Prediction):
                    write(paths[turn], result)
                elif isinstance(result, _FINAL):
                    raise result
                else:
                    problem(f"{_name(paths[turn])}: {result}")
                turn += 1
            show(done, len(paths))


def _writer(options: argparse.Namespace, out: TextIO) -> Write:
    if options.json:
        return lambda path, found: _line(out, _json(_record(path, found)))
    if options.csv:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(("path", "rank", "label", "index", "probability", "model", "model_version"))

        def rows(path: Path, found: Prediction) -> None:
            name, of = _name(path), (found.model, found.model_version)
            table.writerows(
                (name, rank, shown_in_line(score.label), score.index, f"{score.probability:.6f}", *of)
                for rank, score in enumerate(found.top, start=1)
            )

        return rows
    return lambda path, found: _line(out, f"{_name(path)}: {shown_in_line(', '.join(map(str, found.top)))}")


def _record(path: Path, found: Prediction) -> dict[str, object]:
    return {
        "path": str(path),
        "label": found.label,
        "probability": found.probability,
        "model": found.model,
        "model_version": found.model_version,
        "top": [{"index": s.index, "label": s.label, "probability": s.probability} for s in found.top],
    }


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr, if that is a terminal and rich is installed."""
    bar = _bar() if sys.stderr is not None and sys.stderr.isatty() else None
    if bar is None:
        yield lambda _done, _total: None
        return
    with bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _bar() -> "Progress | None":
    try:
        from rich import progress
        from rich.console import Console
    except ModuleNotFoundError:
        return None
    columns = (progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn())
    # Results pass above the bar only where they go to the same terminal; elsewhere they are none of rich's business.
    return progress.Progress(
        *columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty(), transient=True
    )


def _name(path: Path) -> str:
    """Return the name of a file for a line: what a terminal would obey is an escape, bytes that are no text stay."""
    return "".join(part if _BYTES.match(part) else shown_in_line(part) for part in _BYTES.split(str(path)))


def _json(record: Mapping[str, object]) -> str:
    """Return *record* in a line; JSON has an escape of its own for whatever a terminal would obey."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(record, ensure_ascii=False))


def _say(line: str) -> None:
    # Nobody may read along any more; the exit status still tells.
    with suppress(OSError):
        if sys.stderr is not None:
            _line(sys.stderr, shown(line))


def _line(out: TextIO, line: str) -> None:
    out.write(f"{line}\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
