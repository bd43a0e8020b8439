"""Install, change and remove a release through Helm 3 or 4, whichever is there."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

from scripts.cluster.patience import Patience
from scripts.cluster.says import ClusterFailure, explain, missing
from scripts.cluster.target import Where
from scripts.host.errors import TaskFailure
from scripts.host.program import Version
from scripts.host.secret import Secret
from scripts.host.shell import Command, Completed, Runner

TIMEOUT_S = 120.0
_HISTORY = 20


@attrs.frozen(kw_only=True)
class Revision:
    """One revision of a release.

    Attributes:
        number: Its number, from 1.
        status: As Helm calls it: ``deployed``, ``pending-upgrade``, ...
        chart: Name and version of the chart.
        description: What Helm says happened.
        updated: When, as Helm prints it.
    """

    number: int
    status: str
    chart: str = ""
    description: str = ""
    updated: str = ""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read an entry of ``helm history``."""
        return cls(
            number=int(found["revision"]),
            status=str(found["status"]),
            chart=str(found.get("chart", "")),
            description=str(found.get("description", "")),
            updated=str(found.get("updated", "")),
        )

    @property
    def was_good(self) -> bool:
        """Whether it was ever deployed as a whole; Helm 4 also calls some that failed superseded."""
        return self.status == "deployed" or (self.status == "superseded" and "failed" not in self.description)

    @property
    def goes_back_to(self) -> int | None:
        """The revision that it brought back; None where it brought something new."""
        found = re.fullmatch(r"Rollback to (\d+)", self.description)
        return int(found[1]) if found else None

    @property
    def is_pending(self) -> bool:
        """Whether a Helm is at work on it, or was killed while it was."""
        return self.status.startswith("pending-") or self.status == "uninstalling"


@attrs.frozen
class Helm:
    """helm, set to a cluster and a namespace.

    Attributes:
        runner: Runs it.
        where: The cluster; None for what asks none.
        namespace: The namespace of the release.
        patience: How long what only looks is asked again while the API is away.
    """

    runner: Runner
    where: Where | None = attrs.field(default=None, kw_only=True)
    namespace: str = attrs.field(kw_only=True)
    patience: Patience = attrs.field(factory=Patience, kw_only=True, repr=False)

    def command(self, *arguments: str, hide: Sequence[Secret] = ()) -> Command:
        """Return the command with *arguments*; its standard error is kept apart."""
        where = (f"--namespace={self.namespace}", *(self.where.helm if self.where else ()))
        return Command(("helm", *arguments, *where), hide=hide, unsaid=self.where.unsaid if self.where else {})

    def run(self, command: Command, *, timeout_s: float = TIMEOUT_S) -> Completed:
        """Run a command of this class, whether it succeeds or not.

        Raises:
            ClusterFailure: If there is no helm, or it takes too long.
        """
        try:
            return self.runner.capture(command, timeout_s=timeout_s)
        except TaskFailure as error:
            if "not installed" in str(error):
                raise missing("helm", "to deploy to a cluster") from error
            raise explain(str(error), doing="run helm") from error

    def look(self, command: Command, *, timeout_s: float = TIMEOUT_S) -> Completed:
        """Run a command of this class that changes nothing; where the API is away, again and again.

        Raises:
            ClusterFailure: If there is no helm, or it takes too long.
        """
        return self.patience.ask(lambda: self.run(command, timeout_s=timeout_s))

    def text(self, command: Command, *, doing: str) -> str:
        """Run a command of this class that changes nothing, and return its standard output.

        Raises:
            ClusterFailure: If it fails; ``cause`` and message say why.
        """
        done = self.look(command)
        if done.status:
            raise explain(done.errors or done.output, doing=doing)
        return done.output

    def version(self) -> Version:
        """Return Helm's version.

        Raises:
            ClusterFailure: If there is none, or it does not say.
        """
        done = self.run(Command(("helm", "version", "--short")))
        if done.status:
            raise explain(done.errors or done.output, doing="ask helm for its version")
        said = done.output
        if (found := Version.parse(said)) is None:
            raise ClusterFailure(f"helm does not say its version, but {said.strip()[:100]!r}. Is it Helm 3 or 4?")
        return found

    def history(self, release: str) -> tuple[Revision, ...]:
        """Return the release's last revisions, the oldest first; empty where there is no release.

        Raises:
            ClusterFailure: If the cluster cannot be asked.
        """
        done = self.look(self.command("history", release, f"--max={_HISTORY}", "--output=json"))
        if done.status:
            if "release: not found" in done.errors:
                return ()
            raise explain(done.errors, doing=f"look for the release {release}")
        return tuple(sorted(map(Revision.from_json, json.loads(done.output)), key=lambda r: r.number))

    def manifest(self, release: str, *, revision: int | None = None) -> str:
        """Return the objects of a revision (default: the last one) as YAML; it holds secrets.

        Raises:
            ClusterFailure: If there is no such release, or the cluster cannot be asked.
        """
        which = () if revision is None else (f"--revision={revision}",)
        return self.text(self.command("get", "manifest", release, *which), doing=f"read the release {release}")

    def hooks(self, release: str) -> str:
        """Return the objects that Helm makes at certain moments only, such as its tests, as YAML.

        Raises:
            ClusterFailure: If there is no such release, or the cluster cannot be asked.
        """
        return self.text(self.command("get", "hooks", release), doing=f"read the release {release}")

    def values(self, release: str, *, revision: int | None = None) -> Mapping[str, Any]:
        """Return the values that were given to a revision (default: the last one).

        Raises:
            ClusterFailure: If there is no such release, or the cluster cannot be asked.
        """
        which = () if revision is None else (f"--revision={revision}",)
        command = self.command("get", "values", release, "--output=json", *which)
        return json.loads(self.text(command, doing=f"read the values of the release {release}")) or {}

    def rollback(self, release: str, revision: int, *, version: Version) -> Command:
        """Return the command that makes an old revision the current one; it does not wait for pods."""
        return self.command("rollback", release, str(revision), *_insisting(version))

    def uninstall(self, release: str) -> Command:
        """Return the command that removes the release; it does not wait for pods."""
        return self.command("uninstall", release)

    def upgrade(self, release: str, chart: Sequence[str], *, new_namespace: bool, version: Version) -> Command:
        """Return the command that installs or changes the release; it does not wait for pods.

        Args:
            release: Its name.
            chart: The chart, and the options that say its version and values.
            new_namespace: Whether the namespace must be made. Helm asks for that even where it is there, and fails if
                that is not allowed.
            version: Helm's version.
        """
        made = ("--create-namespace",) if new_namespace else ()
        return self.command("upgrade", "--install", release, *chart, *made, *_insisting(version))

    def template(self, release: str, chart: Sequence[str]) -> Command:
        """Return the command that renders the chart without a cluster."""
        return self.command("template", release, *chart)

    def add_repository(self, name: str, url: str) -> tuple[Command, Command]:
        """Return the commands that make a chart repository known and fetch what it has."""
        return (
            Command(("helm", "repo", "add", name, url, "--force-update")),
            Command(("helm", "repo", "update", name)),
        )


def _insisting(version: Version) -> tuple[str, ...]:
    """Return the options by which the chart's word counts for more than a change that somebody made by hand.

    Helm 3 does so anyway. Helm 4 applies on the server, where `kubectl scale` and the like take what they change away
    from Helm: an upgrade fails then, and going back too.
    """
    return ("--server-side=true", "--force-conflicts") if version.major > 3 else ()
