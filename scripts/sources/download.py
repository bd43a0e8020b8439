"""Download one file of known size and hash, so that it is either whole and right or not there."""

import contextlib
import errno
import hashlib
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import attrs
import filelock
import urllib3
from urllib3 import exceptions

from scripts.host.errors import TaskFailure
from scripts.host.http import pool

_CHUNK_BYTES = 1 << 18
_LOCK_POLL_S = 0.25
# Redirects only: urllib3 would start over where `_attempt` goes on from the part.
_REDIRECTS = urllib3.Retry(
    total=None, connect=0, read=0, status=0, other=0, redirect=5, respect_retry_after_header=False
)
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
# A limit on file sizes (EFBIG) and a quota (EDQUOT) stop a download just as a full disk does.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@attrs.frozen(kw_only=True)
class Patience:
    """How long a download waits for a server, and how often it tries again.

    The wait after the *n*-th try in a row that brought nothing, counted from 0, is ``min(cap, backoff * 2**n)``.

    Attributes:
        attempts: Tries in a row that may bring nothing new; a try that brought bytes starts the count again.
        connect: Longest time to connect, in seconds.
        silence: Longest time in which the server sends nothing, in seconds.
        backoff: The first wait, in seconds.
        cap: The longest wait, in seconds.
    """

    attempts: int = 5
    connect: float = 10.0
    silence: float = 30.0
    backoff: float = 1.0
    cap: float = 15.0


class _BrokenError(Exception):
    """The try failed in a way that another try may not."""


@attrs.frozen(kw_only=True)
class _Job:
    url: str
    sha256: str
    size_bytes: int
    destination: Path
    progress: Callable[[int, int], None]
    retrying: Callable[[str], None]
    patience: Patience
    otherwise: str

    @property
    def part(self) -> Path:
        return self.destination.with_name(f"{self.destination.name}.part")

    def refuse(self, what: str) -> TaskFailure:
        """Return the failure that says *what* went wrong and how to do without this download."""
        by_hand = f"put the file at {self.destination} by hand (sha256 {self.sha256})"
        ways_out = f"{self.otherwise}, or {by_hand}" if self.otherwise else f"Or {by_hand}"
        return TaskFailure(f"Cannot download {self.url}: {what}. {ways_out}.")


def download(
    url: str,
    *,
    sha256: str,
    size_bytes: int,
    destination: Path,
    progress: Callable[[int, int], None],
    retrying: Callable[[str], None] = lambda _: None,
    patience: Patience | None = None,
    otherwise: str = "",
) -> Path:
    """Put the file at *url* at *destination*, unless it is there already with the right hash.

    What has arrived waits in ``<destination>.part``, also after an interrupt, and the next call goes on from there.
    Several processes may ask for the same file at once: one downloads, the others wait and then use its file.

    Args:
        url: Where the file is; ``http`` or ``https``. The usual proxy settings are respected.
        sha256: The file's hash, in hexadecimal.
        size_bytes: The file's length.
        destination: Where it shall be; folders on the way are made.
        progress: Called with the bytes that are there and *size_bytes*, also while another process downloads.
        retrying: Called before each wait with what went wrong and how long the wait is.
        patience: How long to wait and how often to try again.
        otherwise: What a user can do without this download, as the beginning of a sentence.

    Raises:
        TaskFailure: If the file cannot be had or stored, or is not the one that *sha256* names.
    """
    job = _Job(
        url=url,
        sha256=sha256,
        size_bytes=size_bytes,
        destination=destination,
        progress=progress,
        retrying=retrying,
        patience=patience or Patience(),
        otherwise=otherwise,
    )
    try:
        # Before the lock, so that a cache that cannot be written serves what it holds.
        if not _verified(job, destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
            with _locked(job):
                if not _verified(job, destination):
                    _complete(job)
    except OSError as error:
        raise TaskFailure(_storage_message(job, error)) from error
    return destination


def _verified(job: _Job, path: Path) -> bool:
    return _size(path) == job.size_bytes and _sha256(path) == job.sha256


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _locked(job: _Job) -> Iterator[None]:
    """Wait until no other process works on the file; show how far that one is."""
    lock = filelock.FileLock(job.destination.with_name(f"{job.destination.name}.lock"))
    while True:
        try:
            lock.acquire(timeout=_LOCK_POLL_S)
            break
        except filelock.Timeout:
            job.progress(_size(job.part), job.size_bytes)
    try:
        yield
    finally:
        lock.release()


def _complete(job: _Job) -> None:
    resumed = _size(job.part) > 0
    _fill(job)
    if resumed and not _verified(job, job.part):
        # The beginning may stem from a crash of the machine or from another file: only a fresh start tells.
        job.part.unlink()
        _fill(job)
    got = _sha256(job.part)
    if got != job.sha256:
        job.part.unlink()
        raise job.refuse(f"its sha256 is {got}, but {job.sha256} was expected; what had come was removed")
    job.part.replace(job.destination)


def _fill(job: _Job) -> None:
    """Bring the part to full length, with as many tries as *patience* allows."""
    reached, idle = _size(job.part), 0
    with pool(job.url, connect=job.patience.connect, silence=job.patience.silence) as connections:
        while _size(job.part) < job.size_bytes:
            try:
                _attempt(job, connections)
            except _BrokenError as error:
                size = _size(job.part)
                idle = 0 if size > reached else idle + 1
                reached = max(reached, size)
                if idle >= job.patience.attempts:
                    raise job.refuse(f"{error} ({idle} tries){_kept(job)}") from error
                wait = min(job.patience.cap, job.patience.backoff * 2 ** max(idle - 1, 0))
                job.retrying(f"The download broke: {error}. Trying again in {wait:.0f} s")
                time.sleep(wait)


def _kept(job: _Job) -> str:
    have, whole = _size(job.part) / 1e6, job.size_bytes / 1e6
    return f". {have:.1f} of {whole:.1f} MB are here, and the next run goes on from there" if have else ""


def _attempt(job: _Job, connections: urllib3.PoolManager) -> None:
    start = _size(job.part)
    # Bytes as they are stored: a range of a compressed answer would be a range of other bytes.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        answer = connections.request(
            "GET",
            job.url,
            headers=headers,
            preload_content=False,
            enforce_content_length=False,  # `_save` knows better how long the file is
            retries=_REDIRECTS,
        )
        try:
            _save(job, answer, start=_first_byte(job, answer, asked=start))
        finally:
            answer.close()
    except exceptions.HTTPError as error:
        _judge(job, error)


def _first_byte(job: _Job, answer: urllib3.BaseHTTPResponse, *, asked: int) -> int:
    """Return where in the file the answer's body begins; 0 also where the server ignores ranges."""
    if answer.status == 200:
        _check_length(job, answer.headers.get("Content-Length"))
        return 0
    if answer.status == 206:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        if span is None or int(span[1]) != asked:
            job.part.unlink(missing_ok=True)
            raise _BrokenError("the server answered with another range than was asked for")
        _check_length(job, None if span[2] == "*" else span[2])
        return asked
    if answer.status == 416:
        job.part.unlink(missing_ok=True)
        raise _BrokenError("the server refused to go on from where an earlier download stopped")
    what = f"the server answered {answer.status} {answer.reason or ''}".rstrip()
    if answer.status in _TRY_AGAIN:
        raise _BrokenError(what)
    raise job.refuse(what)


def _check_length(job: _Job, announced: str | None) -> None:
    if announced is not None and announced.strip() != str(job.size_bytes):
        raise job.refuse(
            f"the server offers {announced} bytes, but {job.size_bytes} were expected "
            "(a proxy or a login page may be answering in its place)"
        )


def _save(job: _Job, answer: urllib3.BaseHTTPResponse, *, start: int) -> None:
    done = start
    with job.part.open("ab" if start else "wb") as file:
        job.progress(done, job.size_bytes)
        # read1 returns what has come instead of waiting for a full chunk: a silent server then costs no byte.
        while done < job.size_bytes and (data := answer.read1(min(_CHUNK_BYTES, job.size_bytes - done))):
            file.write(data)
            file.flush()
            done += len(data)
            job.progress(done, job.size_bytes)
    if done < job.size_bytes:
        raise _BrokenError(f"the server closed the connection after {done} of {job.size_bytes} bytes")


def _judge(job: _Job, error: exceptions.HTTPError) -> NoReturn:
    """Turn what urllib3 raises into one of the two ways in which a try ends."""
    cause = error.reason if isinstance(error, exceptions.MaxRetryError) and error.reason else error
    match cause:
        case exceptions.SSLError() if isinstance(cause.args[0], ssl.SSLCertVerificationError):
            raise job.refuse(
                f"the server's certificate is not trusted ({cause.args[0].verify_message}); "
                "if a proxy re-signs traffic, name its certificate in SSL_CERT_FILE"
            ) from error
        case exceptions.ProxyError():
            what = f"the proxy cannot be used ({cause.original_error})"
        case exceptions.NameResolutionError():
            what = "its host name cannot be resolved; is there a network, or a proxy to set"
        case exceptions.NewConnectionError():
            what = f"no connection ({cause.__cause__ or cause})"
        case exceptions.ConnectTimeoutError():
            what = f"no connection within {job.patience.connect:g} s"
        case exceptions.ReadTimeoutError():
            what = f"the server sent nothing for {job.patience.silence:g} s"
        case _:
            what = f"the connection broke ({cause.args[-1] if cause.args else cause})"
    raise _BrokenError(what) from error


def _storage_message(job: _Job, error: OSError) -> str:
    folder = job.destination.parent
    if error.errno in _FULL:
        return (
            f"No room for {job.destination.name} in {folder}: {os.strerror(error.errno)}. It needs "
            f"{job.size_bytes / 1e6:.1f} MB. Free some and run this again{_kept(job)}."
        )
    return (
        f"Cannot store {job.destination.name} in {folder}: {error.strerror or error}. Name a folder that you can write."
    )
