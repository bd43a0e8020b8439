"""Stand-ins for AWS: moto's API, a registry with a password, and an API that refuses; all on loopback."""

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs

from tests.image.ground import Missing, need
from tests.waiting import wait_until

ACCOUNT = "123456789012"
# What moto's token decodes to, and a bcrypt hash of it.
PASSWORD = f"{ACCOUNT}-auth-token"
HASH = "$2y$05$ulB.NdbHA0fhHveFFHrq.ujflPlqwSo7oZB2MkByp1mKyqXVyyY0."
READY_S = 30.0
CONFIG = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "{address}"}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""


def free_port() -> int:
    """Return a port of loopback that nothing uses."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@contextlib.contextmanager
def _running(*command: str, port: int, log: Path) -> Iterator[None]:
    """Run a server until the block ends; wait until its port answers.

    Raises:
        Missing: If it does not start.
    """
    with log.open("wb") as stream:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        try:

            def told() -> str:
                return log.read_text(errors="replace")[-1000:]

            def listens() -> bool:
                if child.poll() is not None:
                    raise Missing(f"{command[0]} does not start: {told()}")
                return _listens(port)

            wait_until(listens, command[0], within_s=READY_S, every_s=0.1, told=told, error=Missing)
            yield
        finally:
            child.terminate()
            child.wait(20)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def aws(folder: Path) -> Iterator[str]:
    """Run moto's server and give its address."""
    port = free_port()
    command = (sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port))
    with _running(*command, port=port, log=folder / "moto.log"):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run a registry that takes moto's password, and give its HOST:PORT.

    Raises:
        Missing: If there is none on this machine.
    """
    need("docker-registry")
    port = free_port()
    (folder / "htpasswd").write_text(f"AWS:{HASH}\n", encoding="utf-8")
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, address=f"127.0.0.1:{port}"), encoding="utf-8")
    program = shutil.which("docker-registry") or "/usr/bin/docker-registry"
    with _running(program, "serve", str(folder / "config.yml"), port=port, log=folder / "registry.log"):
        yield f"127.0.0.1:{port}"


@attrs.define
class Refusing:
    """An API of AWS where everybody is somebody, and ECR refuses everything.

    Attributes:
        code: ECR's answer.
        status: Its HTTP status.
    """

    code: str
    status: int = 400

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Serve until the block ends, and give the address."""
        refusing = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if "GetCallerIdentity" in body:
                    identity = (
                        f"<Account>{ACCOUNT}</Account><Arn>arn:aws:iam::{ACCOUNT}:user/ci</Arn><UserId>U</UserId>"
                    )
                    result = f"<GetCallerIdentityResult>{identity}</GetCallerIdentityResult>"
                    namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
                    text = f'<GetCallerIdentityResponse xmlns="{namespace}">{result}</GetCallerIdentityResponse>'
                    self._answer(200, text)
                    return
                # As AWS does it when a signature is wrong: the request comes back whole.
                quoted = " ".join(f"{name}={value}" for name, value in self.headers.items()).replace('"', "")
                self._answer(refusing.status, f'{{"__type": "{refusing.code}", "message": "{quoted}"}}')

            def _answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def manifest(host: str, repository: str, reference: str) -> tuple[str, bytes]:
    """Return the digest and the bytes of a manifest, as the registry gives them."""
    password = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    address = f"http://{host}/v2/{repository}/manifests/{reference}"
    password.add_password(None, address, "AWS", PASSWORD)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPBasicAuthHandler(password))
    accepted = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    with opener.open(urllib.request.Request(address, headers={"Accept": accepted}), timeout=20) as answer:
        return str(answer.headers["Docker-Content-Digest"]), bytes(answer.read())
