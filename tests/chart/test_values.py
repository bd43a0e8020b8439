"""What the chart refuses, and the words that it has for it."""

from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml

from scripts.cluster.chart_readme import values as commented
from tests.chart.cases import ALL, LEAST, Values, merge
from tests.chart.engines import CHART, Library, Program, Refused

PDB: Values = {"replicas": 3, "podDisruptionBudget": {"maxUnavailable": None}}
HOSTS: Values = {"httpHostnames": ["a.example.com"], "grpcHostnames": ["b.example.com"]}

# Values, and a part of what is said.
BAD: list[tuple[Values, str]] = [
    # What the schema sees: names, types, forms.
    ({"replicaCount": 2}, "additional properties 'replicaCount' not allowed"),
    ({"image": {"sha": "x"}}, "at '/image': additional properties 'sha' not allowed"),
    ({"image": {"digest": "0123"}}, "at '/image/digest': '0123' does not match pattern '^(sha256:[0-9a-f]{64})?$'"),
    ({"image": {"repository": "host/name:tag"}}, "at '/image/repository'"),
    ({"image": {"tag": "a b"}}, "at '/image/tag'"),
    ({"image": {"pullPolicy": "Sometimes"}}, "'IfNotPresent', 'Always', 'Never'"),
    ({"imagePullSecrets": ["pull"]}, "at '/imagePullSecrets/0': got string, want object"),
    ({"replicas": "3"}, "at '/replicas': got string, want integer"),
    ({"replicas": -1}, "at '/replicas': minimum"),
    ({"readiness": {"model": "../x"}}, "at '/readiness/model'"),
    ({"readiness": {"model": "m", "version": "1"}}, "at '/readiness/version': got string"),
    ({"gpu": {"enabled": "no"}}, "at '/gpu/enabled': got string, want boolean"),
    ({"gpu": {"resource": "gpu"}}, "at '/gpu/resource'"),
    ({"models": {"a/b": {}}}, "'a/b'"),
    ({"models": {"m": {"batch": 1}}}, "at '/models/m': additional properties 'batch' not allowed"),
    ({"models": {"m": {"versions": 2}}}, "at '/models/m': additional properties 'versions' not allowed"),
    ({"models": {"m": {"serve": [0]}}}, "at '/models/m/serve/0': minimum"),
    ({"models": {"m": {"serve": [1, 1]}}}, "at '/models/m/serve'"),
    ({"models": {"m": {"candidate": "3"}}}, "at '/models/m/candidate'"),
    ({"models": {"m": {"digests": {"3": "abc"}}}}, "at '/models/m/digests/3'"),
    ({"models": {"../x": {}}}, "'../x'"),
    ({"models": {"m.candidate": {}}}, "'m.candidate'"),
    ({"plan": {"generation": -1}}, "at '/plan/generation': minimum"),
    ({"agent": {"store": "s3:/models"}}, "at '/agent/store'"),
    ({"agent": {"store": "file://models"}}, "at '/agent/store'"),
    ({"modelControl": "explicit"}, "at '/modelControl'"),
    ({"modelControl": "poll"}, "at '/modelControl'"),
    ({"admin": {"restrictedApis": ["everything"]}}, "at '/admin/restrictedApis/0'"),
    ({"rollout": {"surge": "yes"}}, "at '/rollout/surge': got string"),
    ({"preStopSeconds": 1.5}, "at '/preStopSeconds': got number, want integer"),
    ({"exitTimeoutSeconds": 0}, "at '/exitTimeoutSeconds': minimum"),
    ({"resources": {"limits": {"memory": "4GB"}}}, "at '/resources/limits/memory': '4GB' does not match"),
    # Helm writes large numbers as 2.1e+09.
    ({"resources": {"limits": {"memory": 2**31}}}, "at '/resources/limits/memory': got number, want string"),
    ({"resources": {"requests": {"cpu": "many"}}}, "at '/resources/requests/cpu'"),
    ({"resources": {"limits": {"nvidia.com/gpu": 1}}}, "'nvidia.com/gpu' not allowed"),
    ({"shmSize": "lots"}, "at '/shmSize'"),
    ({"runAsUser": 0}, "at '/runAsUser': minimum: got 0, want 1"),
    ({"service": {"type": "ExternalName"}}, "at '/service/type'"),
    ({"extraArgs": ["log-verbose=1"]}, "at '/extraArgs/0'"),
    ({"nodeSelector": {"gpu": True}}, "at '/nodeSelector/gpu': got boolean, want string"),
    ({"podDisruptionBudget": {"minAvailable": "half"}}, "at '/podDisruptionBudget/minAvailable'"),
    ({"autoscaling": {"kind": "vpa"}}, "'hpa', 'keda'"),
    ({"metrics": {"interval": "often"}}, "at '/metrics/interval'"),
    ({"metrics": {"prometheusRule": {"failureRatio": 2}}}, "at '/metrics/prometheusRule/failureRatio': maximum"),
    ({"ingress": {"host": "https://x"}}, "at '/ingress/host'"),
    ({"gateway": {"parentRefs": [{"namespace": "x"}]}}, "missing property 'name'"),
    # What Kubernetes' own schema sees, in what is handed on to it.
    ({"tolerations": [{"key": "a", "efect": "NoSchedule"}]}, "at '/tolerations/0': additional properties 'efect' not"),
    ({"affinity": {"nodeAfinity": {}}}, "at '/affinity': additional properties 'nodeAfinity' not allowed"),
    ({"topologySpreadConstraints": [{"maxSkew": "1"}]}, "at '/topologySpreadConstraints/0'"),
    ({"extraEnv": [{"name": "A", "value": 1}]}, "at '/extraEnv/0/value': got number"),
    ({"envFrom": [{"secret": "x"}]}, "at '/envFrom/0': additional properties 'secret' not allowed"),
    ({"extraVolumes": [{"name": "a", "emptydir": {}}]}, "at '/extraVolumes/0': additional properties 'emptydir'"),
    ({"extraVolumeMounts": [{"name": "a"}]}, "at '/extraVolumeMounts/0': missing property 'mountPath'"),
    ({"extraContainers": [{"image": "x"}]}, "at '/extraContainers/0': missing property 'name'"),
    ({"initContainers": [{"name": "x", "comand": []}]}, "additional properties 'comand' not allowed"),
    ({"dnsConfig": {"nameserver": "x"}}, "at '/dnsConfig': additional properties 'nameserver' not allowed"),
    ({"resourceClaims": [{"claim": "x"}]}, "at '/resourceClaims/0'"),
    ({"autoscaling": {"metrics": [{"resource": {"name": "cpu"}}]}}, "at '/autoscaling/metrics/0'"),
    ({"networkPolicy": {"from": [{"podselector": {}}]}}, "additional properties 'podselector' not allowed"),
    ({"networkPolicy": {"egress": [{"too": []}]}}, "additional properties 'too' not allowed"),
    ({"extraObjects": [{"kind": "ConfigMap"}]}, "at '/extraObjects/0'"),
    ({"podLabels": {"a": True}}, "at '/podLabels/a': got boolean, want string"),
    ({"service": {"loadBalancerSourceRanges": ["10.0.0.0"]}}, "at '/service/loadBalancerSourceRanges/0'"),
    ({"global": {"imagePullSecrets": [1]}}, "at '/global/imagePullSecrets/0'"),
    ({"nameOverride": "2x"}, "at '/nameOverride'"),
    ({"metrics": {"prometheusRule": {"alerts": {"TritonSlo": {}}}}}, "'TritonSlo'"),
    ({"metrics": {"prometheusRule": {"alerts": {"TritonSlow": {"level": "page"}}}}}, "'level' not allowed"),
    # What only the whole tells: all at once, each with a way out.
    ({"image": {"digest": ""}}, "image.digest and image.tag are both empty: set image.digest"),
    ({"image": {"repository": ""}}, "image.repository is empty"),
    ({"readiness": {"version": 1}}, "readiness.version is 1, but of which model? Set readiness.model."),
    ({"agent": {"store": "file:///mnt/models"}}, "add the volume to extraVolumes and its place to extraVolumeMounts"),
    (
        {"agent": {"store": "file:///mnt/m"}, "extraVolumeMounts": [{"name": "x", "mountPath": "/mnt/models"}]},
        "agent.store is the folder /mnt/m, which is in no volume",
    ),
    (
        {"agent": {"store": "s3://models"}, "networkPolicy": {"enabled": True}},
        "to networkPolicy.egress (docs/aws.md)",
    ),
    ({"modelControl": "none", "agent": {"store": "s3://models"}}, "are for modelControl agent; it is none"),
    ({"modelControl": "none", "models": {"m": {"serve": [1]}}}, "models.m has serve or candidate, which only an agent"),
    ({"modelControl": "none", "models": {"m": {"candidate": 2}}}, "Set modelControl to agent, or take them out"),
    (
        {"gpu": {"enabled": False}, "models": {"m": {"serve": [1, 2, 3, 4, 5, 6, 7], "candidate": 8}}},
        "models.m: /dev/shm has room for 8 versions at once, and the plan, with one more that is about to be served, "
        "needs 9. Set shmSize.",
    ),
    (
        {"readiness": {"model": "a"}, "models": {"c": {}, "b": {}}},
        "readiness.model is a, which is not in models (b, c): no pod would get ready.",
    ),
    ({"gpu": {"count": 0}}, "gpu.count is 0 with gpu.enabled: set gpu.enabled to false"),
    ({"rollout": {"recreate": True, "surge": True}}, "rollout.recreate and rollout.surge are both set"),
    (
        {"autoscaling": {"enabled": True, "minReplicas": 5}},
        "autoscaling.minReplicas (5) is above autoscaling.maxReplicas (4)",
    ),
    ({"autoscaling": {"enabled": True, "kind": "keda"}}, "set autoscaling.keda.prometheusUrl"),
    (
        {"autoscaling": {"enabled": True, "keda": {"prometheusUrl": "http://p"}}},
        "but autoscaling.kind is hpa, which does not read it",
    ),
    (merge(PDB, {"podDisruptionBudget": {"minAvailable": 3}}), "minAvailable (3) is all of the 3 replicas"),
    (merge(PDB, {"podDisruptionBudget": {"minAvailable": "67%"}}), "minAvailable (67%) is all of the 3 replicas"),
    (merge(PDB, {"podDisruptionBudget": {"minAvailable": "100%"}}), "no node could be drained"),
    (merge(PDB, {"podDisruptionBudget": {"maxUnavailable": 0}}), "podDisruptionBudget.maxUnavailable is 0"),
    (merge(PDB, {"podDisruptionBudget": {"maxUnavailable": "0%"}}), "podDisruptionBudget.maxUnavailable is 0"),
    (PDB, "podDisruptionBudget: set maxUnavailable or minAvailable"),
    ({"metrics": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}}, "counted twice"),
    (
        {"resources": {"requests": {"memory": "8Gi"}}},
        "resources.requests.memory (8Gi) is above resources.limits.memory (4Gi)",
    ),
    ({"ingress": {"enabled": True}}, "ingress.enabled needs ingress.host"),
    ({"ingress": {"grpc": {"enabled": True, "tlsSecret": "x"}}}, "ingress.grpc.enabled needs ingress.grpc.host"),
    ({"ingress": {"grpc": {"enabled": True, "host": "g"}}}, "ingress.grpc.enabled needs ingress.grpc.tlsSecret"),
    ({"autoscaling": {"enabled": True, "minReplicas": 0}}, "which an HPA cannot do: set autoscaling.kind to keda"),
    (
        {"autoscaling": {"enabled": True, "minReplicas": 0, "kind": "keda", "keda": {"prometheusUrl": "http://p"}}},
        "nothing would start one: add what does",
    ),
    ({"service": {"nodePorts": {"http": 30080}}}, "are for service.type NodePort and LoadBalancer; it is ClusterIP"),
    ({"service": {"type": "NodePort", "loadBalancerClass": "x"}}, "are for service.type LoadBalancer; it is NodePort"),
    ({"serviceAccount": {"create": False, "annotations": {"a": "b"}}}, "serviceAccount.create is false"),
    ({"gateway": {"enabled": True} | HOSTS}, "gateway.enabled needs gateway.parentRefs"),
    (
        {"gateway": {"enabled": True, "parentRefs": [{"name": "g"}]}},
        "needs gateway.httpHostnames and gateway.grpcHostnames",
    ),
    (
        {"gateway": {"enabled": True, "parentRefs": [{"name": "g"}]} | HOSTS | {"grpcHostnames": ["a.example.com"]}},
        "gateway: a.example.com is in httpHostnames and in grpcHostnames",
    ),
]


@pytest.mark.parametrize(("values", "said"), BAD, ids=[said[:60] for _, said in BAD])
def test_bad_values_are_refused_with_a_reason(library: Library, values: Values, said: str) -> None:
    """Each mistake is refused, and the message names the value."""
    with pytest.raises(Refused) as refused:
        library.render(merge(LEAST, values))
    assert said in str(refused.value)


def test_everything_that_is_wrong_is_said_at_once(library: Library, helm: Program) -> None:
    """Three contradictions come as three lines of one message, from the programs too."""
    values: Values = {"gpu": {"count": 0}, "readiness": {"version": 2}, "image": {"tag": ""}}
    values = merge(values, {"admin": LEAST["admin"]})
    for engine in (library, helm):
        with pytest.raises(Refused) as refused:
            engine.render(values)
        lines = [line for line in str(refused.value).splitlines() if line.startswith("  - ")]
        assert len(lines) == 4


def test_a_name_that_is_too_long_is_refused(library: Library) -> None:
    """A name of 47 characters would have pods whose names are cut."""
    with pytest.raises(Refused, match="has 47 characters; 46 are the most"):
        library.render(LEAST, release="r" * 40)


def _names(schema: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the names of all values that a schema knows, down to where any key may stand."""
    names = set()
    for name, inner in schema.get("properties", {}).items():
        below = _names(inner, f"{prefix}{name}.")
        names |= below or {prefix + name}
    return names


def test_the_schema_knows_the_values_and_no_more() -> None:
    """Every default is in the schema, everything in the schema has a default, and no object takes unknown keys."""
    with helm_python.Chart.load(CHART) as chart:
        schema = chart.schema
    assert schema is not None
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    known = _names(schema)
    told = {value.name for value in commented(text)}
    blocks = {name for name in told if any(other.startswith(f"{name}.") for other in known)}
    inside = {other for other in known for block in blocks if other.startswith(f"{block}.")}
    assert known - inside == told - blocks

    def closed(part: dict[str, Any]) -> bool:
        inner = part.get("properties", {})
        return (not inner or part["additionalProperties"] is False) and all(map(closed, inner.values()))

    # What an umbrella says to all of its charts is no business of this one's.
    assert closed({**schema, "properties": {n: p for n, p in schema["properties"].items() if n != "global"}})
    # Kubernetes' definitions with no properties at all take anything.
    assert all(map(closed, schema["definitions"].values()))


def test_every_value_does_something() -> None:
    """No value is read by no template: each name stands in one, or in what the templates include."""
    text = "".join(
        path.read_text(encoding="utf-8") for path in sorted((CHART / "templates").rglob("*")) if path.is_file()
    )
    for value in commented((CHART / "values.yaml").read_text(encoding="utf-8")):
        assert value.name.rpartition(".")[2] in text, f"{value.name} is used nowhere"


def test_the_all_case_sets_every_part() -> None:
    """The case with all flags touches every top-level value that is not left at its default by choice."""
    default = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    by_choice = {"runAsUser", "podDisruptionBudget", "replicas", "enabled", "modelControl"}
    assert default.keys() - ALL.keys() == by_choice | {"nameOverride", "fullnameOverride", "resourceClaims"}
    assert ALL.keys() <= default.keys()


def test_a_file_with_other_keys_is_told_by_the_programs(helm: Program, tmp_path: Path) -> None:
    """A typing mistake in a values file stops the programs with the name of the key."""
    path = tmp_path / "values.yaml"
    path.write_text("gpus: {enabled: false}\n", encoding="utf-8")
    done = helm.run("template", "triton-infer", str(CHART), f"--values={path}", "--kube-version=1.33")
    assert done.returncode != 0
    assert "additional properties 'gpus' not allowed" in done.stderr
