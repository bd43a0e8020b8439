"""TLS with certificates that are made on the spot."""

import os
import shutil
import subprocess
from pathlib import Path

import attrs
import grpc
import pytest

from tests.doubles.fake_triton import FakeTriton, image
from tests.wire.server import serve
from triton_sdk import AsyncResNetClient, ConfigurationError, ResNetClient, ServerUnavailableError, Tls


@attrs.frozen
class Certificates:
    """PEM files of an authority, and of a server and a client that it vouches for."""

    folder: Path

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self.folder / name

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return self.path(name).read_bytes()

    def server(self, *, mutual: bool = False) -> grpc.ServerCredentials:
        """Return what the server shows, and whether it asks the client to show its own."""
        pair = (self.read("server.key"), self.read("server.pem"))
        return grpc.ssl_server_credentials([pair], self.read("ca.pem") if mutual else None, require_client_auth=mutual)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make the certificates with the openssl program."""
    if shutil.which("openssl") is None:
        message = "needs the program openssl"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    folder = tmp_path_factory.mktemp("tls")

    def make(name: str, *extra: str) -> None:
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run([*command, *files, *extra], cwd=folder, check=True, capture_output=True, timeout=30)

    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE")
    make("ca")
    make("server", *signed, "-addext", "subjectAltName=DNS:triton.internal,IP:127.0.0.1")
    make("client", *signed)
    return Certificates(folder)


def test_a_trusted_server_is_asked(certificates: Certificates) -> None:
    """With its authority given, the server answers over TLS."""
    with serve(FakeTriton(), credentials=certificates.server()) as served:
        tls = Tls(ca=certificates.path("ca.pem"))
        with ResNetClient(served.url, model="clf", tls=tls) as client:
            assert client.predict(image(1)).model_version == 2


def test_a_server_may_have_another_name(certificates: Certificates) -> None:
    """The name in the certificate counts, where the client is told which."""
    with serve(FakeTriton(), credentials=certificates.server()) as served:
        for name, ready in (("triton.internal", True), ("elsewhere.internal", False)):
            tls = Tls(ca=certificates.path("ca.pem"), server_name=name)
            with ResNetClient(served.url, model="clf", tls=tls) as client:
                assert client.ready() is ready


def test_an_untrusted_server_is_not_asked(certificates: Certificates) -> None:
    """Without its authority nothing is sent, and the error speaks of TLS."""
    with (
        serve(FakeTriton(), credentials=certificates.server()) as served,
        ResNetClient(served.url, model="clf", tls=Tls()) as client,
    ):
        with pytest.raises(ServerUnavailableError, match="TLS"):
            client.predict(image(1))
        assert served.triton.asked == []


def test_a_client_shows_its_certificate(certificates: Certificates) -> None:
    """A server that asks for a certificate answers the client that has one, and no other."""
    with serve(FakeTriton(), credentials=certificates.server(mutual=True)) as served:
        known = Tls(
            ca=certificates.path("ca.pem"),
            certificate=certificates.path("client.pem"),
            key=certificates.path("client.key"),
        )
        with ResNetClient(served.url, model="clf", tls=known) as client:
            assert client.predict(image(1)).model_version == 2
        with ResNetClient(served.url, model="clf", tls=Tls(ca=certificates.path("ca.pem"))) as stranger:
            assert not stranger.ready()


def test_a_tls_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """The error names the file, when the client is made."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.pem.*No such file"):
        ResNetClient("127.0.0.1:1", tls=Tls(ca=tmp_path / "nowhere.pem"))


class TestFiles:
    """What is in the files is tried when the client is made, without a connection."""

    @pytest.fixture
    def files(self, certificates: Certificates, tmp_path: Path) -> dict[str, Path]:
        """Return files that are not what they should be, and some that are."""
        made = {
            "garbage": b"garbage",
            "empty": b"",
            "damaged": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "damaged key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        }
        for name, content in made.items():
            (tmp_path / name).write_bytes(content)
        return {name: tmp_path / name for name in made} | {
            name: certificates.path(name) for name in ("ca.pem", "client.pem", "client.key", "server.key")
        }

    @pytest.mark.parametrize("kind", [ResNetClient, AsyncResNetClient])
    @pytest.mark.parametrize("name", ["garbage", "empty", "damaged", "client.key"])
    def test_a_ca_that_is_none_is_told_at_once(
        self, kind: type[ResNetClient | AsyncResNetClient], files: dict[str, Path], name: str
    ) -> None:
        """Garbage, nothing, a damaged certificate or a key are no authorities."""
        with pytest.raises(
            ConfigurationError, match=r"CA file '.*' cannot be used; certificates of authorities in PEM"
        ):
            kind("127.0.0.1:1", tls=Tls(ca=files[name]))

    @pytest.mark.parametrize(
        ("certificate", "key", "words"),
        [
            ("client.pem", "server.key", "does not match the certificate"),
            ("client.pem", "garbage", "key '.*garbage' cannot be used; a private key in PEM"),
            ("client.pem", "client.pem", "key '.*client.pem' cannot be used; a private key"),
            ("client.pem", "damaged key", "cannot be used"),
            ("garbage", "client.key", "certificate '.*garbage' cannot be used; the client's certificate in PEM"),
            ("damaged", "client.key", "certificate '.*damaged' cannot be used"),
        ],
    )
    def test_a_key_that_does_not_fit_is_told_at_once(
        self, files: dict[str, Path], certificate: str, key: str, words: str
    ) -> None:
        """So is one of another certificate, one that is none, and a certificate that is none."""
        with pytest.raises(ConfigurationError, match=words):
            ResNetClient("127.0.0.1:1", tls=Tls(certificate=files[certificate], key=files[key]))

    def test_an_encrypted_key_is_told_and_the_advice_works(self, files: dict[str, Path], tmp_path: Path) -> None:
        """gRPC asks for no passphrase, and neither does the check; what the message says makes the key usable."""
        locked, plain = tmp_path / "locked.key", tmp_path / "plain.key"
        encrypt = ["openssl", "pkey", "-in", files["client.key"], "-aes256", "-passout", "pass:word"]
        subprocess.run([*map(str, encrypt), "-out", str(locked)], check=True, capture_output=True, timeout=30)
        with pytest.raises(ConfigurationError, match=r"is encrypted.*openssl pkey -in KEY -out PLAIN"):
            ResNetClient("127.0.0.1:1", tls=Tls(certificate=files["client.pem"], key=locked))
        # The passphrase comes by the command here, for nobody sits at the terminal.
        advice = ["openssl", "pkey", "-in", locked, "-out", plain, "-passin", "pass:word"]
        subprocess.run([*map(str, advice)], check=True, capture_output=True, timeout=30)
        ResNetClient("127.0.0.1:1", tls=Tls(certificate=files["client.pem"], key=plain)).close()
