"""What Helm renders, as objects: which pods it will make, what differs from before, what in it is secret."""

import base64
import binascii
import contextlib
import difflib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Self

import attrs

from scripts.host.errors import TaskFailure
from scripts.host.secret import MASK, Secret

Object = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Workload:
    """A Deployment, as far as it decides where pods run.

    Attributes:
        name: Its name.
        replicas: How many pods it has; with autoscaling, how many at least.
        surge: How many pods more there may be while it changes.
        unavailable: How many fewer may be ready while it changes.
        selector: The labels by which it knows its pods.
        devices: How many of each device a pod takes: ``{"nvidia.com/gpu": 1}``.
        pod: The specification of its pods.
        most: How many pods its autoscaler makes at most; None without one.
    """

    name: str
    replicas: int
    surge: int
    unavailable: int
    selector: Mapping[str, str]
    devices: Mapping[str, int]
    pod: Object
    most: int | None = None

    @classmethod
    def parse(cls, found: Object, *, least: int | None = None, most: int | None = None) -> Self:
        """Read a Deployment.

        Args:
            found: The Deployment.
            least: How many replicas its autoscaler keeps at least; None without one.
            most: How many it makes at most; None without one.
        """
        spec = found["spec"]
        replicas = spec.get("replicas")
        replicas = (least or 1) if replicas is None else max(replicas, least or 0)
        strategy = spec.get("strategy") or {}
        if strategy.get("type") == "Recreate":
            surge, unavailable = 0, replicas
        else:
            rolling = strategy.get("rollingUpdate") or {}
            surge = _share(rolling.get("maxSurge", "25%"), replicas, math.ceil)
            unavailable = _share(rolling.get("maxUnavailable", "25%"), replicas, math.floor)
            if not surge and not unavailable:
                unavailable = 1  # as Kubernetes does, or nothing could ever change
        pod = spec["template"]["spec"]
        return cls(
            name=found["metadata"]["name"],
            replicas=replicas,
            surge=surge,
            unavailable=unavailable,
            selector=spec["selector"].get("matchLabels") or {},
            devices=devices(pod),
            pod=pod,
            most=most,
        )

    @property
    def image(self) -> str:
        """The image of its server, the first container."""
        return next((str(container.get("image", "")) for container in self.pod.get("containers") or ()), "")

    def beside(self, running: int) -> Self:
        """Return it with as many replicas as its autoscaler leaves it where so many are there already."""
        return self if self.most is None else attrs.evolve(self, replicas=min(max(running, self.replicas), self.most))


@attrs.frozen(kw_only=True)
class Rendered:
    """The objects of a release.

    Attributes:
        objects: Each as the API takes it.
    """

    objects: Sequence[Object]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what Helm renders.

        Raises:
            TaskFailure: If that is no YAML of objects.
        """
        objects = [each for each in _read(text) if not _is_hook(each)]
        scaled = {((each.get("spec") or {}).get("scaleTargetRef") or {}).get("name") for each in objects}
        # How many pods an autoscaler has made by now is no part of what is deployed.
        return cls(objects=[_uncounted(o) if _is_scaled(o, scaled) else o for o in objects])

    @staticmethod
    def parse_hooks(text: str) -> tuple[Object, ...]:
        """Read what Helm makes at certain moments only, such as its tests.

        Raises:
            TaskFailure: If that is no YAML of objects.
        """
        return tuple(_read(text))

    @property
    def deployments(self) -> Mapping[str, Object]:
        """The Deployments, by name."""
        return {each["metadata"]["name"]: each for each in self.objects if each["kind"] == "Deployment"}

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """What its Deployments ask for."""
        found = ((each, *self._bounds(name)) for name, each in self.deployments.items())
        return tuple(Workload.parse(each, least=least, most=most) for each, least, most in found)

    @property
    def kinds(self) -> frozenset[tuple[str, str]]:
        """The API version and the kind of each object."""
        return frozenset((str(each.get("apiVersion", "")), str(each["kind"])) for each in self.objects)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret value in it, as it is and as it is written."""
        found = []
        for each in self.objects:
            if each["kind"] == "Secret":
                found += [Secret(str(value)) for value in (each.get("stringData") or {}).values()]
                for value in (each.get("data") or {}).values():
                    found.append(Secret(str(value)))
                    with contextlib.suppress(binascii.Error, UnicodeDecodeError):
                        found.append(Secret(base64.b64decode(str(value)).decode()))
        return tuple(found)

    @property
    def image(self) -> str:
        """The image of the first container of its Deployments."""
        return next((each.image for each in self.workloads if each.image), "")

    def named(self, kind: str) -> tuple[Object, ...]:
        """Return the objects of *kind*."""
        return tuple(each for each in self.objects if each["kind"] == kind)

    def is_there(self, found: Sequence[Object]) -> bool:
        """Say whether a cluster's objects are these, with the images and the number of pods that are said here.

        Nothing else is compared: the API writes many things in another way than they were given.
        """
        there = {_key(each): each for each in found}
        return all(_key(each) in there and _pods(each) == _pods(there[_key(each)], like=each) for each in self.objects)

    def replaces_pods(self, before: "Rendered | None") -> bool:
        """Say whether pods that run now would be replaced."""
        if before is None:
            return False
        there = before.deployments
        return any(
            name in there and there[name]["spec"]["template"] != each["spec"]["template"]
            for name, each in self.deployments.items()
        )

    def changed(self, before: "Rendered") -> set[str]:
        """Return what differs from *before*, each object as ``KIND NAME``."""
        old, new = ({_key(each): each for each in one.objects} for one in (before, self))
        return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}

    def scaled(self, found: Sequence[Object]) -> dict[str, int]:
        """Return how many pods a cluster's Deployments have where that is not what is said here, by their names."""
        wanted = {name: each["spec"].get("replicas") for name, each in self.deployments.items()}
        there = {each["metadata"]["name"]: each["spec"]["replicas"] for each in found if each["kind"] == "Deployment"}
        return {
            name: there[name] for name, said in wanted.items() if said is not None and there.get(name, said) != said
        }

    def diff(self, before: "Rendered | None") -> list[str]:
        """Return the unified difference to *before*, object by object; of secrets only whether they change."""
        old = {_key(each): each for each in before.objects} if before else {}
        new = {_key(each): each for each in self.objects}
        lines: list[str] = []
        for key in sorted(old.keys() | new.keys()):
            was, will = old.get(key), new.get(key)
            names = (f"deployed {key}" if was else "nothing", key if will else "nothing")
            lines += difflib.unified_diff(_text(was), _text(will, before=was), *names, lineterm="")
        return lines

    def _bounds(self, deployment: str) -> tuple[int, int] | tuple[None, None]:
        """Return how many replicas the Deployment's autoscaler keeps at least, and makes at most."""
        for each in self.objects:
            spec = each.get("spec") or {}
            if (spec.get("scaleTargetRef") or {}).get("name") == deployment:
                # HorizontalPodAutoscalers have the one, ScaledObjects the other.
                least = spec.get("minReplicas", spec.get("minReplicaCount", 1))
                return int(least), int(spec.get("maxReplicas", spec.get("maxReplicaCount", 100)))
        return None, None


def devices(pod: Object) -> dict[str, int]:
    """Return how many of each device (GPUs, most of all) a pod takes.

    Init containers run before the others, so the most counts; but those that run beside the others (sidecars) add up.
    """
    together: dict[str, int] = {}
    first: dict[str, int] = {}
    for container in pod.get("containers") or ():
        for name, count in _limits(container):
            together[name] = together.get(name, 0) + count
    for container in pod.get("initContainers") or ():
        for name, count in _limits(container):
            if container.get("restartPolicy") == "Always":
                together[name] = together.get(name, 0) + count
            else:
                first[name] = max(first.get(name, 0), count)
    names = together.keys() | first.keys()
    return {name: most for name in names if (most := max(together.get(name, 0), first.get(name, 0)))}


def _is_scaled(found: Object, scaled: Collection[str | None]) -> bool:
    return found["kind"] == "Deployment" and found["metadata"]["name"] in scaled


def _uncounted(deployment: Object) -> Object:
    spec = {key: value for key, value in deployment["spec"].items() if key != "replicas"}
    return {**deployment, "spec": spec}


def _read(text: str) -> list[Object]:
    import yaml  # the judge of a canary in a pod has none, and reads no YAML

    # libyaml's, where it is there: ten times as quick.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = [each for each in yaml.load_all(text, Loader=loader) if each]
    except yaml.YAMLError as error:
        raise TaskFailure(f"The chart renders something that is no YAML: {error}") from error
    if any(not isinstance(each, dict) or "kind" not in each for each in found):
        raise TaskFailure("The chart renders something that is no object of Kubernetes.")
    return found


def _limits(container: Object) -> Iterator[tuple[str, int]]:
    resources = container.get("resources") or {}
    for name, count in {**(resources.get("requests") or {}), **(resources.get("limits") or {})}.items():
        if "/" in name and str(count).isdecimal():  # Kubernetes counts devices in whole numbers
            yield name, int(count)


def _share(value: object, replicas: int, rounded: Any) -> int:
    text = str(value)
    return int(rounded(int(text.removesuffix("%")) * replicas / 100)) if text.endswith("%") else int(text)


def _pods(found: Object, *, like: Object | None = None) -> tuple[object, list[object]]:
    """Return the replicas and the images of a Deployment; replicas only where *like* says them itself."""
    if found["kind"] != "Deployment":
        return None, []
    spec, said = found["spec"], (like or found)["spec"]
    images = [each.get("image") for each in spec["template"]["spec"]["containers"]]
    return spec.get("replicas") if "replicas" in said else None, images


def _is_hook(found: Object) -> bool:
    return "helm.sh/hook" in ((found.get("metadata") or {}).get("annotations") or {})


def _key(found: Object) -> str:
    return f"{found['kind']} {found['metadata']['name']}"


def _text(found: Object | None, *, before: Object | None = None) -> list[str]:
    import yaml

    if found is None:
        return []
    if found["kind"] == "Secret":
        found = {**found, **{part: _masked(found, before, part) for part in ("data", "stringData") if part in found}}
    return str(yaml.safe_dump(dict(found), sort_keys=True, width=200)).splitlines()


def _masked(found: Object, before: Object | None, part: str) -> dict[str, str]:
    old = (before or {}).get(part) or {}
    values = found.get(part) or {}
    return {k: f"{MASK} (changed)" if k in old and old[k] != v else MASK for k, v in values.items()}
