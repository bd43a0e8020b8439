"""The key of what the chart closes: Triton's API that loads and lists models, and the agents' plan."""

import base64
from collections.abc import Callable, Mapping, Sequence

from scripts.cluster.kubectl import Kubectl
from scripts.cluster.pods import Pod
from scripts.cluster.says import ClusterFailure
from scripts.host.secret import Secret

# The chart restricts the API that loads and lists models: who asks sends this header with the Secret's value.
ADMIN_HEADER = "triton-admin-key"


def admin_headers(kubectl: Kubectl, pods: Sequence[Pod], *, progress: Callable[[str], None]) -> Mapping[str, Secret]:
    """Return the header that opens the restricted API; none where there is no key, or it is not for us."""
    if (name := next((pod.key for pod in pods if pod.key), None)) is None:
        return {}
    try:
        answer = kubectl.json("get", "secret", name, doing="read the key of the models' API")
    except ClusterFailure as error:
        if error.cause == "forbidden":
            progress("Note: this login may not read the admin key; only versions that are packaged here are looked for")
        elif error.cause != "not found":
            raise
        return {}
    key = (answer.get("data") or {}).get("key")
    return {ADMIN_HEADER: Secret(base64.b64decode(key).decode())} if key else {}
