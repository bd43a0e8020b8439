"""Measure our client beside its peers, and the model store beside bare S3: `nox -s bench`, or with `-- --quick`."""

import argparse
import datetime
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks import environments, page, plot, served, store
from benchmarks.aims import AIMS, BESIDE, judge
from benchmarks.contest import ROOT, Length, Result, contest
from benchmarks.environments import NotInstalled
from benchmarks.workloads import Workload, workloads
from triton_sdk.local import LocalTriton

FULL: Final = Length(rounds=7, seconds=1.2, tuning=0.8)
QUICK: Final = Length(rounds=3, seconds=0.5, tuning=0)
PAGE, PICTURE = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance.svg"
STORE = "store"  # as --only names it
KEY = (
    "Green bars are `triton_sdk`, gray ones other clients, sand-coloured ones a floor that no client beats; the line "
    "on a bar goes from the slowest round to the fastest."
)
# Distributions whose versions the page names, by environment.
VERSIONS: Final = {
    "": ("triton-sdk", "grpcio", "pillow", "numpy", "onnxruntime"),
    "tritonclient": ("tritonclient", "grpcio"),
    "pytriton": ("nvidia-pytriton", "tritonclient"),
    "tritony": ("tritony", "tritonclient"),
}


def main() -> None:
    """Measure, and write the page's figures and plot."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two minutes instead of half an hour; figures are rough")
    parser.add_argument(
        "--only", metavar="NAME", nargs="*", default=[], help="these alone; only `store` is written then"
    )
    parser.add_argument("--write", action="store_true", help="write the page after a --quick run too")
    asked = parser.parse_args()
    begin = time.monotonic()

    def progress(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - begin:5.0f} s  {line}\n")
        sys.stderr.flush()

    length = QUICK if asked.quick else FULL
    command = " ".join(("nox -s bench --", *sys.argv[1:])) if sys.argv[1:] else "nox -s bench"

    def made() -> str:
        return f"Made by `{command}` in {(time.monotonic() - begin) / 60:.1f} minutes."

    write = not asked.quick or asked.write
    if asked.only != [STORE]:
        pythons = _pythons(progress)
        conditions = _conditions(pythons)
        runs = _measure(length, asked.only, pythons, progress)
        outcomes = [judge(aim, {workload.name: results for workload, results in runs}) for aim in (*AIMS, *BESIDE)]
        figures = "\n\n".join(
            (
                f"{conditions} {made()}",
                page.aims_table(outcomes),
                "![Images per second of every client, for each workload](performance.svg)",
                KEY,
                *(page.workload_table(workload, results) for workload, results in runs),
            )
        )
        _show(figures, section=page.CLIENTS, write=write and not asked.only, progress=progress)
        if write and not asked.only:
            plot.draw(runs, PICTURE)
            progress(f"Drew {PICTURE.relative_to(ROOT)}")
    if not asked.only or STORE in asked.only:
        conditions, ways = store.measure(rounds=length.rounds, progress=progress)
        figures = f"{_machine()}. {conditions} {made()}\n\n{page.store_table(ways)}"
        _show(figures, section=page.STORE, write=write, progress=progress)


def _show(figures: str, *, section: str, write: bool, progress: environments.Progress) -> None:
    """Print figures, and write them into their section of the page."""
    sys.stdout.write(figures + "\n")
    if write:
        PAGE.write_text(page.into(PAGE.read_text(encoding="utf-8"), figures, section=section), encoding="utf-8")
        progress(f"Wrote the {section} into {PAGE.relative_to(ROOT)}")


def _pythons(progress: environments.Progress) -> dict[str, Path]:
    found = {}
    for peer in environments.PEERS:
        try:
            found[peer] = environments.python_of(peer, progress=progress)
        except NotInstalled as reason:
            progress(f"{peer} cannot be installed here and is left out: {reason}")
    return found


def _measure(
    length: Length, only: list[str], pythons: Mapping[str, Path], progress: environments.Progress
) -> list[tuple[Workload, dict[str, Result]]]:
    with tempfile.TemporaryDirectory(prefix="triton-bench-") as folder:
        repository = Path(folder, "model_repository")
        repository.mkdir()
        progress("Making models and pictures")
        free = {dtype: served.free_model(repository, dtype) for dtype in served.DTYPES}
        net = {dtype: served.mobilenet(repository, dtype) for dtype in served.DTYPES}
        files = {
            size: served.pictures(Path(folder, "pictures"), size, count=count)
            for size, count in ((served.SMALL, 32), (served.LARGE, 4))
        }
        runs = []
        with LocalTriton(repository, progress=progress) as server:
            for workload in workloads(free, net):
                if only and workload.name not in only:
                    continue
                progress(f"{workload.name}: {workload.title}")
                task = {
                    "grpc": server.grpc_url,
                    "http": server.http_url.removeprefix("http://"),
                    "pictures": files[workload.size],
                }
                runs.append((workload, contest(workload, task=task, pythons=pythons, length=length, progress=progress)))
    return runs


def _conditions(pythons: Mapping[str, Path]) -> str:
    """Return date, machine and versions in a few sentences."""
    here = {"": Path(sys.executable), **pythons}
    versions = {
        name or "ours": ", ".join(f"{d} {environments.version_of(here[name], d)}" for d in distributions)
        for name, distributions in VERSIONS.items()
        if name in here
    }
    listed = "; ".join(f"{name}: {text}" for name, text in versions.items())
    return f"{_machine()}, Triton 2.51.0 on loopback. {listed}."


def _machine() -> str:
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {_processor()}, {os.cpu_count()} cores shared by client and "
        f"server, Linux {platform.release()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
