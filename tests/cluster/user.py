"""Somebody who runs this project's tasks against a cluster."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from scripts.host.settings import VARIABLES
from tests.cluster.plane import Access, HelmMajor
from tests.environment import NOTHING

ROOT = Path(__file__).parent.parent.parent
RELEASE = "triton-infer"


@attrs.frozen(kw_only=True)
class User:
    """A user with a kubeconfig and a namespace.

    Attributes:
        plane: The cluster.
        namespace: What the tasks are told.
        helm: The major of Helm that lies on the user's PATH.
        inside: What starts a program where the user is, as the first words of its command; empty: on this machine.
        own: Settings of the user's own.
        heard: All that the tasks printed.
    """

    plane: Access
    namespace: str
    helm: HelmMajor = 4
    inside: Sequence[str] = ()
    own: Mapping[str, str] = attrs.field(factory=dict)
    heard: list[str] = attrs.field(factory=list, repr=False)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return what a task finds in its environment: settings of this machine's own user do not reach it.

        A setting of nothing hides the one of `.env`.
        """
        outside = {name: value for name, value in self.plane.environment(self.helm).items() if name not in VARIABLES}
        own = outside | NOTHING
        said = {"TRITON_NAMESPACE": self.namespace, "TRITON_RELEASE": RELEASE, "TRITON_CHART": "helm/triton"}
        return own | said | {"COLUMNS": "200", "PYTHONPATH": str(ROOT)} | dict(self.own) | dict(extra or {})

    def command(self, *arguments: str) -> list[str]:
        """Return what runs a task."""
        return [*self.inside, sys.executable, "-m", "invoke", *arguments]

    def invoke(
        self, *arguments: str, within_s: float = 120, extra: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a task to its end, whatever that is; its standard output and error come together."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env=self.environment(extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within_s,
            check=False,
        )
        self.heard.append(done.stdout)
        return done

    def succeed(self, *arguments: str, within_s: float = 120) -> str:
        """Run a task that must succeed, and return what it printed."""
        done = self.invoke(*arguments, within_s=within_s)
        assert done.returncode == 0, f"invoke {' '.join(arguments)}:\n{done.stdout}"
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl in the namespace and return its standard output; a failure shows all that it printed."""
        return self.plane.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)
