"""What the server's pods are told, value by value."""

import subprocess
from typing import Any

import pytest

from scripts.canary.manifests import COMPONENT
from tests.chart.cases import CPU, DIGEST, LEAST, NO_AGENT, Values, merge
from tests.chart.engines import Library, Program
from tests.chart.rules import quantity

SURGE = {"maxSurge": 1, "maxUnavailable": 0}
NO_SURGE = {"maxSurge": 0, "maxUnavailable": 1}


@pytest.mark.parametrize(
    ("values", "strategy"),
    [
        ({}, NO_SURGE),
        ({"replicas": 3}, NO_SURGE),
        (CPU, SURGE),
        ({"rollout": {"surge": True}}, SURGE),
        (merge(CPU, {"rollout": {"surge": False}}), NO_SURGE),
    ],
)
def test_the_strategy_fits_what_is_scarce(library: Library, values: Values, strategy: dict[str, int]) -> None:
    """With GPUs an upgrade asks for none that may not be there; without, or when told so, it starts one pod more."""
    spec = library.render(merge(LEAST, values)).one("Deployment")["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": strategy}


def test_recreate_ends_all_first(library: Library) -> None:
    """Downtime is only there for those who ask for it."""
    spec = library.render(merge(LEAST, {"rollout": {"recreate": True}})).one("Deployment")["spec"]
    assert spec["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("readiness", "path"),
    [
        ({}, "/v2/health/ready"),
        ({"model": "resnet50"}, "/v2/models/resnet50/ready"),
        ({"model": "resnet50", "version": 2}, "/v2/models/resnet50/versions/2/ready"),
    ],
)
def test_the_probes_ask_for_the_stable_version(library: Library, readiness: Values, path: str) -> None:
    """Without an agent startup and readiness ask for the stable version, and liveness never for readiness."""
    container = library.render(merge(LEAST, NO_AGENT, {"readiness": readiness})).container
    assert container["readinessProbe"]["httpGet"] == {"path": path, "port": "http"}
    assert container["startupProbe"]["httpGet"] == {"path": path, "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/v2/health/live", "port": "http"}


@pytest.mark.parametrize(("seconds", "tries"), [(600, 300), (1805, 903), (10, 5)])
def test_startup_has_its_time(library: Library, seconds: int, tries: int) -> None:
    """The startup probe asks every 2 s for as long as was given, and Kubernetes waits longer for the rollout."""
    rendered = library.render(merge(LEAST, {"startup": {"seconds": seconds}}))
    probe = rendered.container["startupProbe"]
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (2, tries)
    assert rendered.one("Deployment")["spec"]["progressDeadlineSeconds"] > seconds


@pytest.mark.parametrize(("stop", "ending", "grace"), [(10, 30, 60), (0, 30, 50), (45, 300, 365)])
def test_the_grace_period_is_the_sum(library: Library, stop: int, ending: int, grace: int) -> None:
    """A pod is killed 20 s after its pause and the server's own limit, which the server is told."""
    rendered = library.render(merge(LEAST, {"preStopSeconds": stop, "exitTimeoutSeconds": ending}))
    assert rendered.pod["terminationGracePeriodSeconds"] == grace
    assert f"--exit-timeout-secs={ending}" in rendered.container["args"]
    pause = {"preStop": {"sleep": {"seconds": stop}}} if stop else None
    assert rendered.container.get("lifecycle") == pause


def test_the_server_tells_its_percentiles(library: Library) -> None:
    """`invoke status` shows them of each pod."""
    assert "--metrics-config=summary_latencies=true" in library.render(LEAST).container["args"]


@pytest.mark.parametrize(("stop", "age"), [(10, ["2500"]), (45, ["11250"]), (0, [])])
def test_connections_end_before_the_server_does(library: Library, stop: int, age: list[str]) -> None:
    """A client that holds a connection has looked for other pods before the pause is over."""
    args = library.render(merge(LEAST, {"preStopSeconds": stop})).container["args"]
    assert [arg.partition("=")[2] for arg in args if arg.startswith("--grpc-max-connection-age=")] == age


@pytest.mark.parametrize(
    ("kubernetes", "pause"),
    [("1.29.9", {"exec": {"command": ["sleep", "10"]}}), ("1.30.0", {"sleep": {"seconds": 10}})],
)
def test_older_clusters_get_a_sleep_program(helm: Program, kubernetes: str, pause: dict[str, Any]) -> None:
    """Before Kubernetes 1.30 the pause is a program of the image."""
    assert helm.render(LEAST, kubernetes=kubernetes).container["lifecycle"]["preStop"] == pause


def test_too_old_clusters_are_told(helm: Program) -> None:
    """A cluster before 1.25 is refused by name, not by an unknown kind."""
    done = helm.run("template", "x", "helm/triton", "--kube-version=1.24", "--set=image.repository=a,image.tag=b")
    assert "requires kubeVersion: >=1.25.0-0" in done.stderr


def test_the_digest_wins_over_the_tag(library: Library) -> None:
    """With both, the image is taken by its digest; with a tag alone, by the tag."""
    both = library.render(merge(LEAST, {"image": {"tag": "x"}}))
    assert both.container["image"] == f"registry.example.com/triton-infer@{DIGEST}"
    tag = library.render(merge(LEAST, {"image": {"tag": "x", "digest": ""}}))
    assert tag.container["image"] == "registry.example.com/triton-infer:x"
    assert tag.one("Deployment")["metadata"]["labels"]["app.kubernetes.io/version"] == "x"


@pytest.mark.parametrize(
    ("values", "mebibytes"),
    [
        # Formula: 32 + the sum of 8 versions x instances x GPUs x (1 + 0.625 x batch), up to the next 16, at least 128.
        ({}, 128),
        ({"models": {"m": {"maxBatchSize": 8}}}, 128),
        ({"models": {"m": {}}}, 208),
        ({"models": {"m": {"serve": [1, 2, 3, 4], "candidate": 5}}}, 208),
        ({"models": {"m": {"instances": 3}, "n": {"maxBatchSize": 64}}}, 864),
        ({"models": {"m": {"maxBatchSize": 16}}, "gpu": {"count": 2}}, 208),
        ({"models": {"m": {"maxBatchSize": 16}}, "gpu": {"enabled": False, "count": 2}}, 128),
        ({"models": {"m": {"instances": 50}}, "shmSize": "1Gi"}, 1024),
    ],
)
def test_shared_memory_fits_the_models(library: Library, values: Values, mebibytes: int) -> None:
    """/dev/shm holds every instance's largest batch, and the pod's memory has room for it beside the server's."""
    rendered = library.render(merge(LEAST, {"pythonBackend": True}, values))
    (volume,) = (v for v in rendered.pod["volumes"] if v["name"] == "shm")
    assert volume["emptyDir"]["medium"] == "Memory"
    assert quantity(volume["emptyDir"]["sizeLimit"]) == mebibytes * 2**20
    for kind in ("requests", "limits"):
        assert quantity(rendered.container["resources"][kind]["memory"]) == (4096 + mebibytes) * 2**20


@pytest.mark.parametrize(("given", "mebibytes"), [("1.5Gi", 1536), ("2000M", 1908), ("4194304Ki", 4096), ("1G", 954)])
def test_quantities_of_memory_are_added_up(library: Library, given: object, mebibytes: int) -> None:
    """Whatever the unit of the memory, /dev/shm's 128 MiB come on top, and nothing is rounded down."""
    resources = {"requests": {"memory": given}, "limits": {"memory": given}}
    container = library.render(merge(LEAST, CPU, {"resources": resources})).container
    assert container["resources"]["limits"]["memory"] == f"{mebibytes + 128}Mi"


@pytest.mark.parametrize(
    ("values", "there"),
    [
        ({}, False),
        (CPU, True),
        ({"pythonBackend": True}, True),
        (merge(CPU, {"pythonBackend": False}), False),
        ({"shmSize": "64Mi"}, True),
    ],
)
def test_shared_memory_is_only_where_it_is_used(library: Library, values: Values, there: bool) -> None:
    """A GPU pod whose models need no /dev/shm asks for no memory for it, however many versions it serves."""
    rendered = library.render(merge(LEAST, {"models": {"m": {"instances": 4, "maxBatchSize": 512}}}, values))
    assert ("shm" in {volume["name"] for volume in rendered.pod["volumes"]}) is there
    assert (rendered.container["resources"]["limits"]["memory"] == "4Gi") is not there


def test_gpus_are_asked_for_and_tolerated(library: Library) -> None:
    """A GPU pod has request and limit and tolerates the GPU nodes' taint; a CPU pod knows nothing of GPUs."""
    gpu = library.render(merge(LEAST, {"gpu": {"count": 2}}))
    assert gpu.container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert gpu.container["resources"]["requests"]["nvidia.com/gpu"] == "2"
    assert gpu.pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    cpu = library.render(merge(LEAST, CPU))
    assert "tolerations" not in cpu.pod
    assert "nvidia.com" not in cpu.text


def test_slices_of_gpus_tolerate_the_taint_of_whole_ones(library: Library) -> None:
    """Nodes have the taint that docs/operations.md puts on them, whatever the device plugin calls their slices."""
    for resource in ("nvidia.com/mig-1g.10gb", "nvidia.com/gpu.shared"):
        pod = library.render(merge(LEAST, {"gpu": {"resource": resource}})).pod
        assert [toleration["key"] for toleration in pod["tolerations"]] == ["nvidia.com/gpu", resource]


def test_the_model_control_api_is_closed(library: Library) -> None:
    """The APIs that change the server ask for a key, which comes from a Secret and stands in no argument."""
    rendered = library.render(LEAST)
    apis = "model-repository,shared-memory,trace,logging:triton-admin-key=$(TRITON_ADMIN_KEY)"
    assert f"--http-restricted-api={apis}" in rendered.container["args"]
    assert f"--grpc-restricted-protocol={apis}" in rendered.container["args"]
    source = {"secretKeyRef": {"name": "triton-infer-admin", "key": "key"}}
    for container in (rendered.container, rendered.agent):
        assert [one for one in container["env"] if "valueFrom" in one] == [
            {"name": "TRITON_ADMIN_KEY", "valueFrom": source}
        ]


def test_an_own_secret_takes_the_place_of_the_generated_one(library: Library) -> None:
    """With an existing Secret none is made; with no closed API there is no key at all."""
    own = library.render(merge(LEAST, {"admin": {"existingSecret": "vault"}}))
    assert not own.all("Secret")
    for container in (own.container, own.agent):
        (source,) = (one["valueFrom"] for one in container["env"] if one["name"] == "TRITON_ADMIN_KEY")
        assert source["secretKeyRef"]["name"] == "vault"
    none = library.render(merge(LEAST, {"admin": {"restrictedApis": []}}))
    assert not none.all("Secret")
    assert "triton-admin-key" not in none.text
    assert "TRITON_ADMIN_KEY" not in none.text


def test_a_configuration_of_ones_own_restarts_the_pods(library: Library) -> None:
    """A model's config lies beside the image's, the server is told its name, and another text is another pod."""
    texts = ('name: "m"\nmax_batch_size: 8\n', 'name: "m"\nmax_batch_size: 16\n')
    first, second = (
        library.render(merge(LEAST, CPU, NO_AGENT, {"models": {"m": {"config": text}, "n": {}}})) for text in texts
    )
    assert first.one("ConfigMap")["data"] == {"m.pbtxt": texts[0]}
    (mount,) = (m for m in first.container["volumeMounts"] if m["name"] == "models")
    assert mount["mountPath"] == "/models/m/configs/release.pbtxt"
    assert "--model-config-name=release" in first.container["args"]
    sums = [
        r.one("Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/models"] for r in (first, second)
    ]
    assert sums[0] != sums[1]
    assert not library.render(merge(LEAST, CPU, NO_AGENT, {"models": {"m": {"config": ""}}})).all("ConfigMap")


def test_on_gpus_the_models_configurations_for_them_are_taken(library: Library) -> None:
    """Triton takes one name: there a configuration of one's own lies in the place of the image's for GPUs."""
    plain = library.render(merge(LEAST, NO_AGENT))
    assert "--model-config-name=gpu" in plain.container["args"]
    assert not plain.all("ConfigMap")
    own = library.render(merge(LEAST, NO_AGENT, {"models": {"m": {"config": 'name: "m"'}}}))
    names = [argument for argument in own.container["args"] if argument.startswith("--model-config-name")]
    assert names == ["--model-config-name=gpu"]
    (mount,) = (m for m in own.container["volumeMounts"] if m["name"] == "models")
    assert mount["mountPath"] == "/models/m/configs/gpu.pbtxt"


def test_more_arguments_come_last(library: Library) -> None:
    """The user's arguments stand behind ours, so theirs win."""
    args = library.render(merge(LEAST, {"extraArgs": ["--exit-timeout-secs=5"]})).container["args"]
    assert args[-1] == "--exit-timeout-secs=5"


@pytest.mark.parametrize(
    ("values", "budget"),
    [
        ({"replicas": 2}, {"maxUnavailable": 1}),
        ({"replicas": 4, "podDisruptionBudget": {"minAvailable": "50%"}}, {"minAvailable": "50%"}),
        ({"autoscaling": {"enabled": True, "minReplicas": 2}}, {"maxUnavailable": 1}),
        ({"replicas": 1}, None),
        ({"replicas": 5, "autoscaling": {"enabled": True}}, None),
        ({"replicas": 3, "podDisruptionBudget": {"enabled": False}}, None),
    ],
)
def test_a_disruption_budget_needs_two_pods(library: Library, values: Values, budget: Values | None) -> None:
    """From two pods on one may be away at a time; a single pod can always be evicted."""
    found = [m["spec"] for m in library.render(merge(LEAST, values)).all("PodDisruptionBudget")]
    shown = [{k: v for k, v in spec.items() if k in ("minAvailable", "maxUnavailable")} for spec in found]
    assert shown == ([budget] if budget else [])


def test_the_network_is_closed_but_for_those_who_are_named(library: Library) -> None:
    """Inference is open to the namespace or those named, metrics to the monitoring; out go only look-ups of names."""
    spec = library.render(merge(LEAST, NO_AGENT, {"networkPolicy": {"enabled": True}})).one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    inference, metrics = spec["ingress"]
    assert inference == {"from": [{"podSelector": {}}], "ports": [{"port": "http"}, {"port": "grpc"}]}
    assert metrics["ports"] == [{"port": "metrics"}]
    (out,) = spec["egress"]
    assert {(port["port"], port["protocol"]) for port in out["ports"]} == {(53, "UDP"), (53, "TCP")}
    named = merge(LEAST, {"networkPolicy": {"enabled": True, "from": [{"podSelector": {"matchLabels": {"a": "b"}}}]}})
    peers = library.render(named).one("NetworkPolicy")["spec"]["ingress"][0]["from"]
    own = {"app.kubernetes.io/name": "triton", "app.kubernetes.io/instance": "triton-infer"}
    parts = {"key": "app.kubernetes.io/component", "operator": "In", "values": ["test", COMPONENT]}
    assert peers == [
        {"podSelector": {"matchLabels": {"a": "b"}}},
        {"podSelector": {"matchLabels": own, "matchExpressions": [parts]}},
    ]
    test_pod = library.render(merge(named, {"helmTest": {"enabled": True}})).one("Pod")
    assert (own | {"app.kubernetes.io/component": "test"}).items() <= test_pod["metadata"]["labels"].items()


def test_the_outside_reaches_only_the_inference_protocol(library: Library) -> None:
    """Ingress and HTTPRoute lead to /v2 on the HTTP port, the GRPCRoute to the gRPC port."""
    values = {
        "ingress": {"enabled": True, "host": "t.example.com", "tlsSecret": "tls", "className": "nginx"},
        "gateway": {
            "enabled": True,
            "parentRefs": [{"name": "g"}],
            "httpHostnames": ["h.example.com"],
            "grpcHostnames": ["g.example.com"],
        },
    }
    rendered = library.render(merge(LEAST, values))
    ingress = rendered.one("Ingress")["spec"]
    assert ingress["tls"] == [{"secretName": "tls", "hosts": ["t.example.com"]}]
    assert [path["path"] for path in ingress["rules"][0]["http"]["paths"]] == ["/v2"]
    http, grpc = rendered.one("HTTPRoute")["spec"], rendered.one("GRPCRoute")["spec"]
    assert http["hostnames"] == ["h.example.com"]
    assert http["rules"][0]["matches"] == [{"path": {"type": "PathPrefix", "value": "/v2"}}]
    assert grpc["hostnames"] == ["g.example.com"]
    assert grpc["rules"][0]["backendRefs"] == [{"name": "triton-infer", "port": 8001}]


def test_helm_test_asks_through_the_service(library: Library) -> None:
    """The test's pod needs no GPU and no other image, and asks the Service for what makes a pod ready."""
    asked: Values = NO_AGENT | {"readiness": {"model": "resnet50", "version": 1}, "helmTest": {"enabled": True}}
    rendered = library.render(merge(LEAST, asked))
    pod = rendered.one("Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (container,) = pod["spec"]["containers"]
    assert container["image"] == rendered.container["image"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    assert given == {"SERVICE": "triton-infer", "READY": "/v2/models/resnet50/versions/1/ready"}
    done = subprocess.run(["bash", "-n", "-c", container["args"][0]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
