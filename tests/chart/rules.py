"""What Kubernetes' schemas do not see: names that must meet, numbers that must fit, secrets that must not show."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from tests.chart.engines import Manifest

LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
FACTORS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
FACTORS |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def quantity(value: object) -> float:
    """Read a quantity of Kubernetes.

    Raises:
        ValueError: If it is none.
    """
    found = QUANTITY.fullmatch(str(value))
    if not found:
        raise ValueError(f"{value!r} is no quantity")
    return float(found[1]) * FACTORS[found[2] or ""]


def problems(manifests: Sequence[Manifest]) -> list[str]:
    """Return a sentence for everything that is wrong with the objects of one release."""
    found = [*_identities(manifests), *_selectors(manifests), *_ports(manifests), *_secrets(manifests)]
    for manifest, pod in _pods(manifests):
        where = f"{manifest['kind']} {manifest['metadata']['name']}"
        checks = (_volumes(pod, manifests), _resources(pod), _security(pod), _shutdown(pod))
        found += [f"{where}: {problem}" for check in checks for problem in check]
    return found


def _pods(manifests: Sequence[Manifest]) -> Iterator[tuple[Manifest, dict[str, Any]]]:
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest, manifest["spec"]
        elif manifest["kind"] == "Deployment":
            yield manifest, manifest["spec"]["template"]["spec"]


def _pod_labels(manifests: Sequence[Manifest]) -> Iterator[tuple[str, Mapping[str, str]]]:
    for manifest, _ in _pods(manifests):
        inner = manifest if manifest["kind"] == "Pod" else manifest["spec"]["template"]
        yield manifest["kind"], inner["metadata"]["labels"]


def _identities(manifests: Sequence[Manifest]) -> Iterator[str]:
    seen = set()
    for manifest in manifests:
        kind, metadata = manifest["kind"], manifest["metadata"]
        name, labels = metadata["name"], metadata["labels"]
        if (kind, name) in seen:
            yield f"{kind} {name} is there twice"
        seen.add((kind, name))
        if not NAME.fullmatch(name):
            yield f"{kind} {name}: no DNS label"
        if not metadata.get("namespace"):
            yield f"{kind} {name}: without its namespace"
        if "app.kubernetes.io/instance" not in labels or "helm.sh/chart" not in labels:
            yield f"{kind} {name}: without the recommended labels"
        for key, value in (labels | metadata.get("annotations", {})).items():
            if not KEY.fullmatch(key) or not isinstance(value, str):
                yield f"{kind} {name}: {key} is no label or annotation"
        for key, value in labels.items():
            if not LABEL.fullmatch(str(value)):
                yield f"{kind} {name}: {key} cannot be {value!r}"


def _selectors(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Everything that selects pods selects the server's, and no other."""
    labels = list(_pod_labels(manifests))
    for manifest in manifests:
        kind, spec = manifest["kind"], manifest.get("spec", {})
        if kind == "Service":
            selector = spec["selector"]
        elif kind in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
            selector = spec["selector"]["matchLabels"]
        elif kind == "NetworkPolicy":
            selector = spec["podSelector"]["matchLabels"]
        else:
            continue
        selected = [where for where, own in labels if selector.items() <= own.items()]
        if not selector or selected != ["Deployment"]:
            yield f"{kind} {manifest['metadata']['name']} selects {selected or 'nothing'}"
        if kind == "Deployment" and {"app.kubernetes.io/version", "helm.sh/chart"} & selector.keys():
            yield "Deployment selects by a label that changes"


def _ports(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Everything that names a port means one that exists."""
    containers = [
        c for _, pod in _pods(manifests) for c in (*pod.get("initContainers", ()), *pod["containers"]) if _is_ours(c)
    ]
    # A name is known in its own container only; a number everywhere.
    numbers = {port["containerPort"] for c in containers for port in c.get("ports", ())}
    for container in containers:
        own = {port["name"] for port in container.get("ports", ())} | numbers
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container.get(probe, {})
            ports = [asked["httpGet"]["port"]] if "httpGet" in asked else _asked(asked)
            yield from (f"{probe} asks the unknown port {port}" for port in ports if port not in own)
    triton = next(c for c in containers if c["name"] == "triton")
    # Not every Kubernetes looks for names in a sidecar.
    named = {port["name"] for port in triton["ports"]} | numbers
    services = {m["metadata"]["name"]: m["spec"]["ports"] for m in manifests if m["kind"] == "Service"}
    for name, ports in services.items():
        yield from (f"Service {name}: unknown port {p['targetPort']}" for p in ports if p["targetPort"] not in named)
    for manifest in manifests:
        for service, port in _references(manifest):
            known = {value for entry in services.get(service, ()) for value in (entry["name"], entry["port"])}
            if port not in known:
                yield f"{manifest['kind']} leads to {service}:{port}, which there is not"
        if manifest["kind"] == "NetworkPolicy":
            told = [port["port"] for rule in manifest["spec"]["ingress"] for port in rule["ports"]]
            yield from (f"NetworkPolicy opens the unknown port {port}" for port in told if port not in named)
        offered = [port["name"] for ports in services.values() for port in ports]
        opened = [port["name"] for container in containers for port in container.get("ports", ())]
        for key, names in (("endpoints", offered), ("podMetricsEndpoints", opened)):
            for endpoint in manifest.get("spec", {}).get(key, ()):
                if names.count(endpoint["port"]) != 1:
                    yield f"{manifest['kind']} reads the unknown port {endpoint['port']}"


def _is_ours(container: Mapping[str, Any]) -> bool:
    return container["name"] in ("triton", "agent", "models", "test")


def _asked(probe: Mapping[str, Any]) -> list[int]:
    """Return the ports that the text of a probe asks."""
    text = " ".join(probe.get("exec", {}).get("command", ()))
    return [int(port) for port in re.findall(r"ask (\d+) ", text)]


def _references(manifest: Manifest) -> Iterator[tuple[str, str | int]]:
    for rule in manifest.get("spec", {}).get("rules", ()) if isinstance(manifest.get("spec"), dict) else ():
        for path in rule.get("http", {}).get("paths", ()):
            service = path["backend"]["service"]
            yield service["name"], service["port"].get("name", service["port"].get("number"))
        for backend in rule.get("backendRefs", ()):
            yield backend["name"], backend["port"]


def _secrets(manifests: Sequence[Manifest]) -> Iterator[str]:
    for secret in (m for m in manifests if m["kind"] == "Secret"):
        for value in secret["data"].values():
            plain = base64.b64decode(value).decode()
            if len(plain) < 32:
                yield f"Secret {secret['metadata']['name']}: {len(plain)} characters can be guessed"
            for other in manifests:
                if other is not secret and (value in (text := yaml.safe_dump(other)) or plain in text):
                    yield f"{other['kind']} {other['metadata']['name']} shows the secret"


def _volumes(pod: Mapping[str, Any], manifests: Sequence[Manifest]) -> Iterator[str]:
    volumes = {volume["name"]: volume for volume in pod.get("volumes", ())}
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    mounted = [mount for container in containers for mount in container.get("volumeMounts", ())]
    if unknown := {mount["name"] for mount in mounted} - volumes.keys():
        yield f"mounts {sorted(unknown)} without a volume"
    if unused := volumes.keys() - {mount["name"] for mount in mounted}:
        yield f"has volumes {sorted(unused)} that nothing mounts"
    for container in containers:
        paths = [mount["mountPath"] for mount in container.get("volumeMounts", ())]
        if len(paths) != len(set(paths)):
            yield "mounts two volumes at one place"
    data = {m["metadata"]["name"]: m.get("data", {}).keys() for m in manifests if m["kind"] == "ConfigMap"}
    for mount in mounted:
        name = volumes.get(mount["name"], {}).get("configMap", {}).get("name")
        if name and (mount["subPath"] not in data.get(name, ()) if "subPath" in mount else name not in data):
            yield f"mounts {mount.get('subPath')} of ConfigMap {name}, which there is not"
    own = {m["metadata"]["name"]: m["data"].keys() for m in manifests if m["kind"] == "Secret"}
    for container in containers:
        for variable in container.get("env", ()):
            wanted = variable.get("valueFrom", {}).get("secretKeyRef", {})
            if own and wanted and wanted["key"] not in own.get(wanted["name"], ()):
                yield f"takes {variable['name']} from Secret {wanted['name']}, which there is not"


def _resources(pod: Mapping[str, Any]) -> Iterator[str]:
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        limits, requests = (container["resources"].get(kind, {}) for kind in ("limits", "requests"))
        for name, value in [*limits.items(), *requests.items()]:
            if not QUANTITY.fullmatch(str(value)):
                yield f"{name} cannot be {value!r}"
                return
        for name in limits.keys() | requests.keys():
            if "/" in name and limits.get(name) != requests.get(name):
                yield f"{name}: request and limit differ"
            if name in limits and name in requests and quantity(requests[name]) > quantity(limits[name]):
                yield f"{name}: the request is above the limit"
        mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
        memory = sum(
            quantity(volume["emptyDir"]["sizeLimit"])
            for volume in pod.get("volumes", ())
            if volume.get("emptyDir", {}).get("medium") == "Memory" and volume["name"] in mounted
        )
        if "memory" in limits and memory and quantity(limits["memory"]) - memory < 2.0**28:
            yield "its memory volumes leave the server less than 256 MiB of its limit"


def _security(pod: Mapping[str, Any]) -> Iterator[str]:
    """What Pod Security's level ``restricted`` asks, and a root that cannot be written."""
    if pod.get("automountServiceAccountToken") is not False:
        yield "mounts a token of the cluster"
    if not pod["securityContext"].get("runAsNonRoot") or pod["securityContext"].get("runAsUser") == 0:
        yield "may run as root"
    if pod["securityContext"].get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "runs without a seccomp profile"
    if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield "shares the node's namespaces"
    for volume in pod.get("volumes", ()):
        if not volume.keys() & {"emptyDir", "configMap", "secret", "projected"}:
            yield f"volume {volume['name']} is of a kind that is not allowed"
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        context = container["securityContext"]
        if context.get("capabilities") != {"drop": ["ALL"]} or context.get("allowPrivilegeEscalation") is not False:
            yield f"container {container['name']} may gain rights"
        if context.get("readOnlyRootFilesystem") is not True:
            yield f"container {container['name']} can write to its root"


def _shutdown(pod: Mapping[str, Any]) -> Iterator[str]:
    for container in pod["containers"]:
        given = re.findall(r"--exit-timeout-secs=(\d+)", " ".join(container.get("args", ())))
        if container["name"] != "triton" or not given:
            continue
        stop = container.get("lifecycle", {}).get("preStop", {})
        pause = stop.get("sleep", {}).get("seconds") or stop.get("exec", {}).get("command", ["", 0])[1]
        if pod["terminationGracePeriodSeconds"] < int(pause) + int(given[-1]) + 10:
            yield "is killed before it has finished its requests"
