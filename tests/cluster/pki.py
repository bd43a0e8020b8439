"""Certificates and kubeconfigs, made on the spot."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Authority:
    """A certificate authority that vouches for every program and user of one cluster.

    Attributes:
        folder: Where NAME.pem and NAME.key lie.
        server: The address of the API that its kubeconfigs name.
    """

    folder: Path
    server: str

    @classmethod
    def make(cls, folder: Path, *, server: str) -> "Authority":
        """Make an authority in *folder*."""
        folder.mkdir(parents=True)
        authority = cls(folder=folder, server=server)
        authority._request("ca", "/CN=triton-test", ("-addext", "keyUsage=critical,keyCertSign,digitalSignature"))
        return authority

    @property
    def certificate(self) -> Path:
        """The authority's own certificate."""
        return self.folder / "ca.pem"

    @property
    def key(self) -> Path:
        """The authority's own key."""
        return self.folder / "ca.key"

    def issue(self, name: str, subject: str, *, names: Sequence[str] = ()) -> tuple[Path, Path]:
        """Issue a certificate and its key.

        Args:
            name: What the files are called.
            subject: Whom it is for, such as ``/O=group/CN=user``.
            names: Where a server with it is found, such as ``IP:127.0.0.1`` or ``DNS:localhost``.
        """
        extra = ["-CA", str(self.certificate), "-CAkey", str(self.key)]
        extra += ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=clientAuth,serverAuth"]
        if names:
            extra += ["-addext", f"subjectAltName={','.join(names)}"]
        self._request(name, subject, extra)
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def kubeconfig(self, user: str, *, group: str = "") -> Path:
        """Make a kubeconfig for a user."""
        name = user.replace(":", "-")
        self.issue(name, f"/O={group}/CN={user}" if group else f"/CN={user}")
        names = {"cluster": "triton-test", "user": user}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "triton-test",
                    "cluster": {"server": self.server, "certificate-authority": str(self.certificate)},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate": str(self.folder / f"{name}.pem"),
                        "client-key": str(self.folder / f"{name}.key"),
                    },
                }
            ],
            "contexts": [{"name": "triton-test", "context": names}],
            "current-context": "triton-test",
        }
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")  # JSON is YAML
        path.chmod(0o600)
        return path

    def _request(self, name: str, subject: str, extra: Sequence[str]) -> None:
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-days", "2", "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run([*command, *files, *extra], cwd=self.folder, check=True, capture_output=True, timeout=30)
