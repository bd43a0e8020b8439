"""Downloads against a real HTTP server that misbehaves on request."""

import hashlib
import http.server
import os
import random
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from scripts.host.errors import TaskFailure
from scripts.sources.download import Patience, download
from scripts.sources.zoo import ZooModel, fetch
from tests.waiting import wait_until

BODY = random.Random(2).randbytes(1_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
HALF = len(BODY) // 2
QUICK = Patience(attempts=2, connect=2.0, silence=0.2, backoff=0.01, cap=0.02)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer as the server's script says, and as a good server does when it is at its end."""

    server: "Server"

    def do_GET(self) -> None:
        """Answer one request and remember it."""
        self.server.seen.append(Seen(path=self.path, headers=dict(self.headers)))
        answer = self.server.script.pop(0) if self.server.script else whole
        answer(self)

    def start(self, status: int, **headers: object) -> None:
        """Send the status line and *headers*."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay silent."""


Answer = Callable[[Handler], None]


@attrs.frozen(kw_only=True)
class Seen:
    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        """The range that was asked for."""
        return self.headers.get("Range")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Answer] = []
        self.seen: list[Seen] = []
        self.gate = threading.Event()

    @property
    def url(self) -> str:
        """Where the file is."""
        return f"http://127.0.0.1:{self.server_address[1]}/models/file.onnx"


def whole(handler: Handler) -> None:
    """Answer as a good server: the range that was asked for, or everything."""
    asked = handler.headers.get("Range")
    if asked is None:
        return everything(handler)
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    span = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
    handler.start(206, Content_Length=len(BODY) - start, Content_Range=span)
    handler.wfile.write(BODY[start:])
    return None


def everything(handler: Handler) -> None:
    """Answer with the whole file, whatever range was asked for."""
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(BODY)


def cut(handler: Handler) -> None:
    """Announce everything and hang up after one half."""
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(BODY[:HALF])


def cut_without_length(handler: Handler) -> None:
    """Announce nothing and hang up after one half."""
    handler.start(200)
    handler.wfile.write(BODY[:HALF])


def stall(handler: Handler) -> None:
    """Send one half, its end in a small piece of its own, then nothing until the gate opens."""
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(BODY[: HALF - 1000])
    time.sleep(0.05)
    handler.wfile.write(BODY[HALF - 1000 : HALF])
    handler.server.gate.wait(60)


def gated(handler: Handler) -> None:
    """Send one half, and the other when the gate opens."""
    stall(handler)
    handler.wfile.write(BODY[HALF:])


def other(handler: Handler) -> None:
    """Send another file of the same length."""
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(bytes(len(BODY)))


def hang_up(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def status(code: int) -> Answer:
    """Return the answer that is only *code*."""
    return lambda handler: handler.start(code, Content_Length=0)


def span(text: str) -> Answer:
    """Return a 206 that claims the range *text*."""

    def answer(handler: Handler) -> None:
        handler.start(206, Content_Length=HALF, Content_Range=text)
        handler.wfile.write(bytes(HALF))

    return answer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run the server on a free port, past any proxy of this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.gate.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Name the place for the file, in a folder that is not there yet."""
    return tmp_path / "cache" / "file.onnx"


def part(file: Path) -> Path:
    """Return the place for what has come so far."""
    return file.with_name("file.onnx.part")


def leave(file: Path, data: bytes) -> None:
    """Leave *data* as an earlier, unfinished download of *file*."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part(file).write_bytes(data)


def get(
    url: str,
    file: Path,
    *,
    sha256: str = SHA256,
    patience: Patience = QUICK,
    steps: list[int] | None = None,
    words: list[str] | None = None,
) -> Path:
    """Download the server's file, with the lengths and the words that were reported added to *steps* and *words*."""
    steps = [] if steps is None else steps
    words = [] if words is None else words
    return download(
        url,
        sha256=sha256,
        size_bytes=len(BODY),
        destination=file,
        progress=lambda done, _: steps.append(done),
        retrying=words.append,
        patience=patience,
        otherwise="Without it: --weights seeded",
    )


def failure(url: str, file: Path, **kwargs: object) -> str:
    """Return the message of a download that must fail, and check that nothing stands under the final name."""
    with pytest.raises(TaskFailure) as caught:
        get(url, file, **kwargs)  # type: ignore[arg-type]  # passed through
    assert not file.exists()
    return str(caught.value)


def has_half(file: Path) -> bool:
    """Say whether one half of the download has come."""
    return part(file).exists() and part(file).stat().st_size == HALF


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
    get(server.url, file)
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


def test_broken_server_is_given_up_and_the_part_kept(server: Server, file: Path) -> None:
    """After the allowed tries the message names the cause, what is kept and each way out."""
    server.script = [cut] + [status(503)] * 5
    message = failure(server.url, file)
    assert len(server.seen) == 1 + QUICK.attempts
    assert part(file).read_bytes() == BODY[:HALF]
    for words in ("503", "2 tries", "0.5 of 1.0 MB", "--weights seeded", str(file), SHA256):
        assert words in message


def test_server_that_only_repeats_is_given_up(server: Server, file: Path) -> None:
    """Bytes that were there before count as no progress: the download ends."""
    server.script = [cut] * 9
    assert "closed" in failure(server.url, file)
    assert len(server.seen) == 1 + QUICK.attempts


@pytest.mark.parametrize("code", [401, 404])
def test_refusal_is_final(server: Server, file: Path, code: int) -> None:
    """A file that is not there, or not for everyone, is not asked for twice."""
    server.script = [status(code)]
    assert f"answered {code}" in failure(server.url, file)
    assert len(server.seen) == 1


def test_wrong_hash_removes_the_part(server: Server, file: Path) -> None:
    """Another file of the same length is thrown away, and both hashes are named."""
    server.script = [other]
    message = failure(server.url, file)
    assert SHA256 in message
    assert hashlib.sha256(bytes(len(BODY))).hexdigest() in message
    assert not part(file).exists()


def test_other_length_is_refused_before_a_byte_is_stored(server: Server, file: Path) -> None:
    """An answer of another length, as from a login page, ends the download at once."""
    server.script = [lambda handler: handler.start(200, Content_Length=12)]
    assert f"offers 12 bytes, but {len(BODY)} were expected" in failure(server.url, file)
    assert not part(file).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which only Linux has")
def test_full_disk_is_named(server: Server, file: Path) -> None:
    """A disk without room gives one message with the room that is needed, and no file."""
    file.parent.mkdir()
    part(file).symlink_to("/dev/full")
    message = failure(server.url, file)
    assert "No space left" in message
    assert "1.0 MB" in message
    assert len(server.seen) == 1


def test_size_limit_keeps_what_fits(server: Server, file: Path) -> None:
    """A disk that fills up in the middle keeps the part, and the next run goes on from it."""
    resource = pytest.importorskip("resource", reason="needs limits on file sizes, which Windows lacks")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, hard))
    try:
        message = failure(server.url, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "No room" in message
    assert part(file).read_bytes() == BODY[: part(file).stat().st_size]
    get(server.url, file)
    assert file.read_bytes() == BODY
    assert server.seen[-1].range is not None


def test_unusable_folder_is_named(server: Server, tmp_path: Path) -> None:
    """A cache folder that cannot be made is one clear message before anything is asked for."""
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(TaskFailure, match=r"Cannot store file\.onnx in .*taken"):
        get(server.url, tmp_path / "taken" / "file.onnx")
    assert server.seen == []


def test_no_network_names_the_ways_out(server: Server, tmp_path: Path) -> None:
    """Where nothing answers, a known model's message names each way to go on without a network."""
    server.server_close()
    model = ZooModel(name="resnet50", stem="resnet50-v1-12", url=server.url, sha256=SHA256, size_bytes=len(BODY))
    with pytest.raises(TaskFailure) as caught:
        fetch(model, cache=tmp_path, progress=lambda *_: None, patience=QUICK)
    for words in ("refused", "--weights seeded", "--onnx PATH", str(tmp_path / "resnet50-v1-12.onnx")):
        assert words in str(caught.value)


def test_unknown_host_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that no resolver knows is said to be the cause."""
    monkeypatch.setenv("no_proxy", "*")
    assert "host name cannot be resolved" in failure("http://models.invalid/file.onnx", file)


def test_untrusted_certificate_is_final(server: Server, file: Path, tmp_path: Path) -> None:
    """A certificate that nobody signed ends the download at once and says how to trust one."""
    if shutil.which("openssl") is None:
        assert os.environ.get("CI") != "true", "openssl is missing"
        pytest.skip("needs openssl, to make a certificate")
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -keyout key.pem -out cert.pem"
    subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    message = failure(server.url.replace("http:", "https:"), file)
    assert "certificate is not trusted" in message
    assert "SSL_CERT_FILE" in message
    assert server.seen == []


def test_proxy_is_used_and_its_password_kept(server: Server, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy setting takes the request and its login, and no message repeats the password."""
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", f"http://me:s%40cret@127.0.0.1:{server.server_address[1]}")
    server.script = [status(404)]
    message = failure("http://models.invalid/file.onnx", file)
    assert server.seen[0].path == "http://models.invalid/file.onnx"
    assert server.seen[0].headers["Proxy-Authorization"] == "Basic bWU6c0BjcmV0"
    assert "cret" not in message


@pytest.mark.parametrize("setting", ["socks5://me:secret@127.0.0.1:1", "http://me:secret@127.0.0.1:port"])
def test_unusable_proxy_is_named(file: Path, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    """A proxy that HTTP cannot use is one message that names the variable; the password is in no traceback either."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", setting)
    with pytest.raises(TaskFailure, match="http_proxy") as caught:
        get("http://models.invalid/file.onnx", file)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_excepted_host_is_asked_without_the_proxy(server: Server, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that no_proxy names is reached although the proxy is not there."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    get(server.url, file)
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
