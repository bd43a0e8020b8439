"""Ask and change a cluster through kubectl, as whoever the kubeconfig says."""

import json
from typing import Any

import attrs

from scripts.cluster.patience import Patience
from scripts.cluster.says import ClusterFailure, explain, missing
from scripts.cluster.target import Where
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.shell import Command, Completed, Runner

# How long the API may take for one answer, and kubectl for the whole, in seconds.
REQUEST_TIMEOUT_S, TIMEOUT_S = 10, 60.0


@attrs.frozen
class Kubectl:
    """kubectl, set to a cluster and a namespace.

    Attributes:
        runner: Runs it.
        where: The cluster; None for what asks none.
        namespace: The namespace; None for the context's own.
        patience: How long it is asked again while the API is away.
    """

    runner: Runner
    where: Where | None = attrs.field(default=None, kw_only=True)
    namespace: str | None = attrs.field(default=None, kw_only=True)
    patience: Patience = attrs.field(factory=Patience, kw_only=True, repr=False)

    def command(self, *arguments: str, stdin: Secret | None = None) -> Command:
        """Return the command with *arguments*; its standard error is kept apart."""
        where = self.where.kubectl if self.where else ()
        namespace = (f"--namespace={self.namespace}",) if self.namespace else ()
        unsaid = self.where.unsaid if self.where else {}
        return Command(("kubectl", *where, *namespace, *arguments), stdin=stdin, unsaid=unsaid)

    def run(self, *arguments: str, stdin: Secret | None = None, timeout_s: float = TIMEOUT_S) -> Completed:
        """Run something that may be done twice, whether it succeeds or not; where the API is away, again and again.

        Raises:
            ClusterFailure: If there is no kubectl, or it takes too long.
        """
        if self.where is None or "--client" in arguments:  # nothing but this machine is asked
            return self._once(self.command(*arguments, stdin=stdin), timeout_s)
        command = self.command(*arguments, f"--request-timeout={REQUEST_TIMEOUT_S}s", stdin=stdin)
        return self.patience.ask(lambda: self._once(command, timeout_s))

    def _once(self, command: Command, timeout_s: float) -> Completed:
        try:
            return self.runner.capture(command, timeout_s=timeout_s)
        except TaskFailure as error:
            if "not installed" in str(error):
                raise missing("kubectl", "to reach a cluster") from error
            raise explain(str(error), doing="ask the cluster") from error

    def text(self, *arguments: str, doing: str = "", stdin: Secret | None = None, timeout_s: float = TIMEOUT_S) -> str:
        """Run it and return its standard output.

        Args:
            arguments: What kubectl shall do.
            doing: The same in words, for the message of a failure; default: kubectl's own.
            stdin: What it reads.
            timeout_s: How long it may take.

        Raises:
            ClusterFailure: If it fails; ``cause`` and message say why.
        """
        done = self.run(*arguments, stdin=stdin, timeout_s=timeout_s)
        if done.status:
            raise explain(done.errors or done.output, doing=doing or f"run kubectl {' '.join(arguments[:3])}")
        return done.output

    def json(self, *arguments: str, doing: str = "", stdin: Secret | None = None, timeout_s: float = TIMEOUT_S) -> Any:
        """Run it with ``--output=json`` and return what it answers.

        Raises:
            ClusterFailure: If it fails, or answers something else.
        """
        text = self.text(*arguments, "--output=json", doing=doing, stdin=stdin, timeout_s=timeout_s)
        try:
            return json.loads(text)
        except ValueError as error:
            raise ClusterFailure(f"kubectl {' '.join(arguments[:3])} answered no JSON: {text[:200]!r}") from error
