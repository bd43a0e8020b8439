"""A chart as an archive: what it is called, what is in it, what it is signed with."""

import tarfile
from pathlib import Path
from typing import Self

import attrs
import yaml

from scripts.cluster.release.chart import CHART
from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT, Settings


@attrs.frozen(kw_only=True)
class Signing:
    """A key to sign with.

    Attributes:
        key: A part of its name.
        keyring: The file with the secret key, as ``gpg --export-secret-keys`` writes it.
        passphrase_file: A file with the key's passphrase; None where it has none.
    """

    key: str
    keyring: Path
    passphrase_file: Path | None = None

    @classmethod
    def from_settings(
        cls, settings: Settings, *, key: str = "", keyring: str = "", passphrase: str = ""
    ) -> Self | None:
        """Return the key that the arguments or, where they are empty, the settings name; None where they name none.

        Raises:
            TaskFailure: If there is only a part of what signing needs, or a file is not there.
        """
        name, ring = key or settings.get("CHART_KEY"), _file(keyring, settings.get("CHART_KEYRING"))
        secret = _file(passphrase, settings.get("CHART_PASSPHRASE_FILE"))
        if not (name or ring or secret):
            return None
        if not (name and ring):
            raise TaskFailure(
                "Signing needs both a key's name (CHART_KEY or --key) and the file that has it (CHART_KEYRING or "
                "--keyring)."
            )
        if absent := [str(file) for file in (ring, secret) if file and not file.is_file()]:
            raise TaskFailure(f"There is no file {' and no file '.join(absent)}, which signing the chart needs.")
        return cls(key=name, keyring=ring, passphrase_file=secret)

    @property
    def options(self) -> tuple[str, ...]:
        """The key, as ``helm package`` takes it."""
        secret = (f"--passphrase-file={self.passphrase_file}",) if self.passphrase_file else ()
        return ("--sign", f"--key={self.key}", f"--keyring={self.keyring}", *secret)


def _file(given: str, setting: str | None) -> Path | None:
    """Return the whole path of a file; *given* is meant from where the task is called, *setting* from `.env`."""
    if given:
        return Path(given).expanduser().absolute()
    return ROOT / Path(setting).expanduser() if setting else None


@attrs.frozen(kw_only=True)
class Packed:
    """A chart to package.

    Attributes:
        folder: The folder of its sources.
        name: Its name.
        version: Its version.
    """

    folder: Path
    name: str
    version: str

    @classmethod
    def read(cls, folder: Path = ROOT / CHART) -> Self:
        """Read the chart's name and version from its Chart.yaml."""
        told = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
        return cls(folder=folder, name=str(told["name"]), version=str(told["version"]))

    @property
    def file(self) -> str:
        """The name of its archive."""
        return f"{self.name}-{self.version}.tgz"

    @property
    def tag(self) -> str:
        """Its version as a registry has it."""
        return self.version.replace("+", "_")


def contents(archive: Path) -> dict[str, object]:
    """Return the files of a packaged chart, by name; of Chart.yaml, which Helm writes anew, what it says."""
    found: dict[str, object] = {}
    with tarfile.open(archive) as packed:
        for entry in packed:
            if entry.isfile() and (stream := packed.extractfile(entry)) is not None:
                content = stream.read()
                is_chart = entry.name.endswith("/Chart.yaml")
                found[entry.name] = yaml.safe_load(content) if is_chart else content
    return found
