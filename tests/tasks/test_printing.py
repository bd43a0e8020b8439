"""What Invoke prints where it cannot be written: on a full disk, to a reader that has gone, to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
UNWRITTEN = "Error: The result cannot be written to standard output: "


def shell(line: str, *, unbuffered: str) -> tuple[int, str]:
    """Run a line of a shell, in which INVOKE calls a task, and return its status and what standard error got."""
    text = f"set -o pipefail; {line.replace('INVOKE', f'{sys.executable} -m invoke')}"
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which only Linux has")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["INVOKE --list", "INVOKE --help package-model"])
def test_a_full_disk_is_one_message(line: str, unbuffered: str) -> None:
    """Once it was a traceback, or a complaint at exit with status 120."""
    full = UNWRITTEN + "No space left on device. Write it elsewhere.\n"
    assert shell(f"{line} > /dev/full", unbuffered=unbuffered) == (1, full)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_reason_to_complain(unbuffered: str) -> None:
    """`invoke --list | head -1` once ended in a traceback; here the reader ends before anything is written."""
    status, said = shell("INVOKE --list | exec true", unbuffered=unbuffered)
    assert (status, said) == (1, "")


def test_a_closed_output_is_one_message() -> None:
    """Of a task and of the program; where nobody hears that either, the status tells."""
    closed = UNWRITTEN + "It is closed. Write it elsewhere.\n"
    assert shell("INVOKE serve --docker --dry-run >&- <&-", unbuffered="") == (1, closed)
    assert shell("INVOKE serve --docker --dry-run >&- 2>&-", unbuffered="") == (1, "")
    predict = f"{sys.executable} -m triton_sdk predict a.jpg >&-"
    assert shell(predict, unbuffered="") == (1, "The results cannot be written: standard output is closed.\n")


def test_any_other_error_is_shown_as_python_shows_it() -> None:
    """It is a fault of ours, or of Invoke's, and its traceback says where."""
    code = "import tasks, invoke; open('/no/such')"
    status, said = shell(f'{sys.executable} -c "{code}"', unbuffered="")
    assert status == 1
    assert said.startswith("Traceback")
    assert said.endswith("No such file or directory: '/no/such'\n")
