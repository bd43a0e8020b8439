"""What is deployed: which chart, with which values, of which image."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import attrs
import yaml

from scripts.cluster.helm import Helm
from scripts.host.errors import TaskFailure
from scripts.host.settings import ROOT, Settings
from scripts.host.shell import Command
from scripts.registry.reference import Reference

CHART, VALUES = "helm/triton", "helm/values.yaml"


@attrs.frozen(kw_only=True)
class Chart:
    """A chart, as Helm finds it.

    Attributes:
        name: A folder, an archive, ``REPOSITORY/NAME`` or ``oci://HOST/NAME``.
        repository: The address of the repository, which then must be made known to Helm first.
        version: Which of those that are there; None for the newest, and for what lies in a folder or an archive.
    """

    name: str = CHART
    repository: str | None = None
    version: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings, *, root: Path = ROOT) -> Self:
        """Return the chart that the settings name.

        Raises:
            TaskFailure: If they name none that can be.
        """
        name, repository = settings.get("TRITON_CHART") or CHART, settings.get("TRITON_CHART_REPO")
        version = settings.get("TRITON_CHART_VERSION")
        if repository:
            if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) or name == CHART:
                raise TaskFailure(
                    "With TRITON_CHART_REPO, TRITON_CHART is REPOSITORY/NAME, for example nvidia/triton: a name of "
                    "yours for the repository, and the chart's name in it."
                )
            return cls(name=name, repository=repository, version=version)
        if name.startswith("oci://"):
            return cls(name=name, version=version)
        if version:
            raise TaskFailure(
                f"TRITON_CHART_VERSION={version} chooses among the versions of a chart in a registry or a repository, "
                f"and {name} lies on this machine. Take the variable out, or set TRITON_CHART to oci://HOST/NAME."
            )
        # As `.env`, which names it, it lies here and not where the task is called.
        if not (found := root / Path(name).expanduser()).exists():
            raise TaskFailure(
                f"There is no chart {name}. Correct TRITON_CHART or, for one of a repository, set TRITON_CHART_REPO."
            )
        return cls(name=str(found))

    @property
    def by_name(self) -> tuple[str, ...]:
        """As Helm takes it once its repository is known to it."""
        return (self.name, *([f"--version={self.version}"] if self.version else []))

    @property
    def by_address(self) -> tuple[str, ...]:
        """As Helm takes it to look at it only: its repository need not be made known first."""
        name, *version = self.by_name
        if self.repository is None:
            return (name, *version)
        return (name.rpartition("/")[2], f"--repo={self.repository}", *version)

    def __str__(self) -> str:
        return " ".join((self.name, *([self.version] if self.version else [])))

    def preparation(self, helm: Helm) -> tuple[Command, ...]:
        """Return the commands that must run before Helm can use it."""
        return helm.add_repository(self.name.partition("/")[0], self.repository) if self.repository else ()


@attrs.frozen(kw_only=True)
class Installation:
    """A chart with its values.

    Attributes:
        chart: The chart.
        image: The image.
        files: Files with values, the last one counts most.
        json_values: Single values, ``KEY=JSON``, which count more than the files.
        values: Single values, ``KEY=VALUE``, which count more than those.
        cpu: Whether it shall run without GPUs.
    """

    chart: Chart
    image: Reference
    files: Sequence[str] = ()
    json_values: Sequence[str] = ()
    values: Sequence[str] = ()
    cpu: bool = False

    @property
    def by_name(self) -> tuple[str, ...]:
        """The chart and its values, as Helm takes them once the chart's repository is known to it."""
        return (*self.chart.by_name, *self.options)

    @property
    def by_address(self) -> tuple[str, ...]:
        """The same, where the chart's repository is not known to Helm."""
        return (*self.chart.by_address, *self.options)

    @property
    def options(self) -> tuple[str, ...]:
        """The values, as Helm takes them."""
        single = [*(["gpu.enabled=false"] if self.cpu else []), *self.values]
        return (
            *(f"--values={file}" for file in self.files),
            *(f"--set-json={value}" for value in self.json_values),
            *(f"--set={value}" for value in single),
            *(f"--set-string={value}" for value in naming(self.image)),
        )


def naming(image: Reference) -> tuple[str, ...]:
    """Return the chart's values that name *image*; what it has not is emptied, or an older one would win."""
    return (
        f"image.repository={image.repository}",
        f"image.digest={image.digest or ''}",
        *([f"image.tag={image.tag}"] if image.tag else []),
    )


def values_files(given: Sequence[str], *, root: Path = ROOT) -> tuple[str, ...]:
    """Return the files with values: *given*, or this deployment's own.

    Raises:
        TaskFailure: If one is not there.
    """
    found = {name: locate(name, root=root) for name in given or (str(root / VALUES),)}
    if absent := [name for name, path in found.items() if path is None]:
        raise TaskFailure(
            f"There is no {' and no '.join(absent)}: --values takes files, and may be given several times."
        )
    paths = tuple(path for path in found.values() if path)
    for path in paths:
        if problem := twice(Path(path).read_text(encoding="utf-8", errors="replace")):
            raise TaskFailure(f"{path}: {problem}")
    return paths


def twice(text: str) -> str:
    """Return which key a YAML text has twice, of which Helm would silently take the last; empty for none."""
    try:
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError:
        return ""  # Helm says what is wrong with it
    waiting = [node for node in documents if node is not None]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, value in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in first and name != "<<":
                    return (
                        f"line {line} has the key {name} again, which line {first[name]} has already. Keep one of them."
                    )
                first[name] = line
                waiting.append(value)
    return ""


def locate(name: str, *, root: Path) -> str | None:
    """Return the whole path of *name*, seen from here or, failing that, from the sources' folder; None for neither."""
    here = Path(name).expanduser()
    return next((str(path) for path in (here.absolute(), root / here) if path.exists()), None)
