"""Downloads where the network is missing, a certificate is not trusted, or a proxy stands between."""

import os
import shutil
import ssl
import subprocess
import traceback
from pathlib import Path

import pytest

from scripts.host.errors import TaskFailure
from scripts.sources.zoo import ZooModel, fetch
from tests.wire.download.scene import BODY, QUICK, SHA256, Server, failure, get, status


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
