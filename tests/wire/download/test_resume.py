"""A file arrives whole, and what has come of it is not asked for again: after a cut, a kill, or by two at once."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tests.waiting import wait_until
from tests.wire.download.scene import (
    BODY,
    HALF,
    QUICK,
    SHA256,
    Answer,
    Server,
    cut,
    cut_without_length,
    everything,
    gated,
    get,
    hang_up,
    has_half,
    leave,
    part,
    span,
    stall,
    status,
)


def test_file_arrives_with_progress_and_leaves_no_part(server: Server, file: Path) -> None:
    """A download makes the folder, reports from 0 to the full length, and leaves the file alone there."""
    steps: list[int] = []
    assert get(server.url, file, steps=steps) == file
    assert file.read_bytes() == BODY
    assert not part(file).exists()
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, len(BODY))


def test_cached_file_needs_no_server(server: Server, file: Path) -> None:
    """A file with the right hash is used as it is."""
    file.parent.mkdir()
    file.write_bytes(BODY)
    get(server.url, file)
    assert server.seen == []


def test_damaged_cached_file_is_replaced(server: Server, file: Path) -> None:
    """A cached file of the right length with another hash is downloaded again."""
    file.parent.mkdir()
    file.write_bytes(bytes(len(BODY)))
    get(server.url, file)
    assert file.read_bytes() == BODY


def test_part_is_resumed_by_range(server: Server, file: Path) -> None:
    """What an earlier run left is not asked for again."""
    leave(file, BODY[:HALF])
    steps: list[int] = []
    get(server.url, file, steps=steps)
    assert [seen.range for seen in server.seen] == [f"bytes={HALF}-"]
    assert steps[0] == HALF
    assert file.read_bytes() == BODY


def test_complete_part_needs_no_request(server: Server, file: Path) -> None:
    """A part that is whole, left by a kill just before the rename, only gets its name."""
    leave(file, BODY)
    get(server.url, file)
    assert server.seen == []
    assert file.read_bytes() == BODY


def test_server_that_ignores_ranges_starts_over(server: Server, file: Path) -> None:
    """An answer 200 to a range request replaces the part instead of being added to it."""
    leave(file, BODY[:HALF])
    server.script = [everything]
    get(server.url, file)
    assert file.read_bytes() == BODY
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "wrong",
    [span(f"bytes 7-{HALF + 6}/{len(BODY)}"), span("items 1-2/3"), status(416)],
    ids=["other range", "no range", "range refused"],
)
def test_wrong_range_is_not_trusted(server: Server, file: Path, wrong: Answer) -> None:
    """An answer with another range than was asked for, or none, makes the download start from the first byte."""
    leave(file, BODY[:HALF])
    server.script = [wrong]
    steps: list[int] = []
    get(server.url, file, steps=steps)
    assert steps == sorted(steps)
    assert [seen.range for seen in server.seen] == [f"bytes={HALF}-", None]
    assert file.read_bytes() == BODY


@pytest.mark.parametrize("leftover", [bytes(HALF), bytes(len(BODY)), bytes(len(BODY) + 1)])
def test_foreign_part_costs_a_fresh_start_only(server: Server, file: Path, leftover: bytes) -> None:
    """A part that does not belong to the file is thrown away once the hash has shown it."""
    leave(file, leftover)
    get(server.url, file)
    assert file.read_bytes() == BODY
    assert server.seen[-1].range is None


@pytest.mark.parametrize("short", [cut, cut_without_length])
def test_truncated_answer_is_continued(server: Server, file: Path, short: Answer) -> None:
    """A connection that ends early is taken up where it ended, whether or not a length was announced."""
    server.script = [short]
    get(server.url, file)
    assert [seen.range for seen in server.seen] == [None, f"bytes={HALF}-"]
    assert file.read_bytes() == BODY


def test_silent_server_is_left_and_asked_again(server: Server, file: Path) -> None:
    """A server that stops in the middle is dropped after the time that was allowed, without losing a byte."""
    server.script = [stall]
    get(server.url, file, patience=attrs.evolve(QUICK, silence=2.0))
    assert [seen.range for seen in server.seen] == [None, f"bytes={HALF}-"]
    assert file.read_bytes() == BODY


@pytest.mark.parametrize(
    ("failing", "cause"), [(status(503), "503"), (status(429), "429"), (hang_up, "closed")], ids=["503", "429", "none"]
)
def test_busy_server_is_asked_again(server: Server, file: Path, failing: Answer, cause: str) -> None:
    """A server that is busy, or hangs up without a word, gets another request, and the wait is announced."""
    server.script, words = [failing], list[str]()
    get(server.url, file, words=words)
    assert len(server.seen) == 2
    assert [cause in said and "Trying again in" in said for said in words] == [True], words
    assert file.read_bytes() == BODY


def test_redirect_is_followed_with_the_range(server: Server, file: Path) -> None:
    """A redirect to where the bytes are stored keeps the range."""
    leave(file, BODY[:HALF])
    server.script = [lambda handler: handler.start(302, Location="/store/1", Content_Length=0)]
    get(server.url, file)
    assert (server.seen[1].path, server.seen[1].range) == ("/store/1", f"bytes={HALF}-")
    assert file.read_bytes() == BODY


CHILD = """
import sys
from pathlib import Path
from scripts.sources.download import download

url, sha256, size, destination = sys.argv[1:]
show = lambda done, total: print(done, flush=True)
download(url, sha256=sha256, size_bytes=int(size), destination=Path(destination), progress=show)
"""


@attrs.frozen
class Child:
    process: subprocess.Popen[str]

    def line(self) -> str:
        """Return the next line of progress."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.fixture
def child(server: Server, file: Path) -> Iterator[Callable[[], Child]]:
    """Return a function that starts a download in another process."""
    started: list[Child] = []

    def start() -> Child:
        argv = [sys.executable, "-c", CHILD, server.url, SHA256, str(len(BODY)), str(file)]
        pipe = subprocess.PIPE
        started.append(Child(subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True)))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupt_keeps_the_part(server: Server, file: Path, child: Callable[[], Child], how: signal.Signals) -> None:
    """After Ctrl-C or a kill every byte that came is there, and the next run goes on from it."""
    server.script = [stall]
    running = child()
    wait_until(lambda: has_half(file), "one half")
    running.process.send_signal(how)
    running.process.communicate(timeout=30)
    assert running.process.returncode == -how
    assert not file.exists()
    get(server.url, file)
    assert server.seen[-1].range == f"bytes={HALF}-"
    assert file.read_bytes() == BODY


def test_two_processes_share_one_download(server: Server, file: Path, child: Callable[[], Child]) -> None:
    """The second process waits, shows how far the first is, and uses its file."""
    server.script = [gated]
    first = child()
    wait_until(lambda: has_half(file), "one half")
    second = child()
    assert second.line() == f"{HALF}\n"
    server.gate.set()
    for one in (first, second):
        assert one.process.communicate(timeout=30)[1] == ""
        assert one.process.returncode == 0
    assert len(server.seen) == 1
    assert file.read_bytes() == BODY
