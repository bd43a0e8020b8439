"""Where a deployment is: which release, in which namespace of which cluster."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import attrs

from scripts.host.errors import TaskFailure
from scripts.host.settings import VARIABLES, Settings

RELEASE, NAMESPACE = "triton-infer", "triton"
# deploy-triton says with it on a namespace that it made it, and for which release: destroy-triton may then remove it.
CREATED_BY = "triton-serving/created-by"


@attrs.frozen(kw_only=True)
class Where:
    """A cluster, and the login for it.

    Attributes:
        context: The name of the context.
        server: The address of the cluster's API.
        tls_name: The name in the API's certificate where the kubeconfig says another one than the address has.
        kubeconfig: A file that has this context alone, for as long as the task runs; None for kubectl's own files.
    """

    context: str
    server: str
    tls_name: str = ""
    kubeconfig: Path | None = None

    @property
    def kubectl(self) -> tuple[str, ...]:
        """The options by which kubectl acts on this cluster and on no other."""
        name = (f"--tls-server-name={self.tls_name}",) if self.tls_name else ()
        return (f"--context={self.context}", f"--server={self.server}", *name)

    @property
    def helm(self) -> tuple[str, ...]:
        """The same for Helm; HELM_KUBECONTEXT and HELM_KUBEAPISERVER count less than they."""
        name = (f"--kube-tls-server-name={self.tls_name}",) if self.tls_name else ()
        return (f"--kube-context={self.context}", f"--kube-apiserver={self.server}", *name)

    @property
    def unsaid(self) -> Mapping[str, str]:
        """The variables by which both read this task's own kubeconfig."""
        return {"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {}

    def __str__(self) -> str:
        return f"{self.context} ({self.server})"


@attrs.frozen(kw_only=True)
class Target:
    """A release of the chart.

    Attributes:
        release: Its name.
        namespace: Its namespace.
        context: The context of the kubeconfig; None for the current one.
    """

    release: str = RELEASE
    namespace: str = NAMESPACE
    context: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings, *, release: str = "", namespace: str = "", context: str = "") -> Self:
        """Return what the arguments say and, where they are empty, the settings.

        Raises:
            TaskFailure: If the settings cannot be used, or an argument is no name.
        """
        given = {"TRITON_RELEASE": release, "TRITON_NAMESPACE": namespace, "KUBE_CONTEXT": context}
        for name, value in given.items():
            if value and (wrong := VARIABLES[name](value)):
                raise TaskFailure(f"--{name.lower().rpartition('_')[2]} {value!r} {wrong}.")
        found = {name: value or settings.get(name) for name, value in given.items()}
        return cls(
            release=found["TRITON_RELEASE"] or RELEASE,
            namespace=found["TRITON_NAMESPACE"] or NAMESPACE,
            context=found["KUBE_CONTEXT"],
        )

    @property
    def options(self) -> str:
        """What a task must be told to find it, each after a blank; empty where it would find it by itself."""
        given = {
            "release": "" if self.release == RELEASE else self.release,
            "namespace": "" if self.namespace == NAMESPACE else self.namespace,
            "context": self.context,
        }
        return "".join(f" --{name} {shlex.quote(value)}" for name, value in given.items() if value)

    @property
    def selector(self) -> str:
        """The labels of the server's Deployment and pods, as kubectl takes them, whatever the values call them.

        Other charts in the same umbrella may have such labels too: `scripts.cluster.pods` tells their pods apart.
        """
        return f"{self.owned},app.kubernetes.io/component=server"

    @property
    def owned(self) -> str:
        """The label of everything that belongs to the release, as kubectl takes it."""
        return f"app.kubernetes.io/instance={self.release}"
