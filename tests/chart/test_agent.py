"""The agent beside each server: what it is told, what it may do, and what changes without a restart."""

import http.server
import json
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scripts.agent.plan import ModelPlan, Plan
from scripts.cluster.release.stored import Stored
from tests.chart.cases import CPU, LEAST, NO_AGENT, Values, merge
from tests.chart.engines import Library, Program, Refused
from tests.waiting import wait_until

DIGEST = "0123456789abcdef" * 4
PLANNED: Values = {
    "plan": {"generation": 7},
    "models": {"m": {"serve": [2, 3], "candidate": 4, "digests": {"3": DIGEST}, "instances": 2}, "n": {}},
}


def _mounts(container: Mapping[str, Any]) -> dict[str, str]:
    return {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}


def test_the_agent_runs_beside_the_server_and_starts_before_it(library: Library) -> None:
    """It is a sidecar of Kubernetes' own kind from the server's image, last of what starts first."""
    own = {"name": "fetch", "image": "x"}
    rendered = library.render(merge(LEAST, {"initContainers": [own]}))
    before, agent = rendered.pod["initContainers"]
    assert before == own
    assert (agent["name"], agent["restartPolicy"]) == ("agent", "Always")
    assert agent["image"] == rendered.container["image"]
    assert agent["startupProbe"]["httpGet"] == {"path": "/v1/state", "port": "agent"}
    assert rendered.container["startupProbe"]["httpGet"] == {"path": "/startz", "port": 8003}
    assert not library.render(merge(LEAST, NO_AGENT)).pod.get("initContainers")


def test_the_server_serves_what_the_agent_composes(library: Library) -> None:
    """The server reads one volume that only the agent writes, and loads nothing by itself."""
    rendered = library.render(LEAST)
    server, agent = rendered.container, rendered.agent
    assert {"name": "MODEL_REPOSITORY", "value": "/served/models"} in server["env"]
    assert "--served=/served/models" in agent["args"]
    assert "--model-control-mode=explicit" in server["args"]
    assert not [argument for argument in server["args"] if argument.startswith(("--load-model", "--model-config"))]
    assert _mounts(server)["/served"] == _mounts(agent)["/served"] == "served"
    (mount,) = (mount for mount in server["volumeMounts"] if mount["name"] == "served")
    assert mount["readOnly"] is True
    assert "served" not in library.render(merge(LEAST, NO_AGENT)).text


def test_the_judge_of_a_canary_changes_a_release_as_helm_would(library: Library) -> None:
    """A pod has no Helm: the objects of the revision that it makes are those that the chart renders of its values."""
    tried = Plan(models={"m": ModelPlan(serve=(2, 3), candidate=12, digests={12: DIGEST})}, generation=8)
    promoted = Plan(models={"m": ModelPlan(serve=(3, 12)), "o": ModelPlan(serve=(1,))}, generation=1_000_001)
    values = merge(LEAST, PLANNED)
    info = {"status": "deployed"}
    body = {"name": "r", "version": 1, "info": info, "config": values, "manifest": library.render(values).text}
    stored = Stored(labels={}, body=body)
    for plan in (tried, promoted):
        stored = stored.with_plan(plan, now=datetime.now(UTC), description="")
        rendered = library.render(dict(stored.values))
        assert stored.body["manifest"] == rendered.text
        assert Plan.parse(stored.plan_text) == plan


@pytest.mark.parametrize(("size", "room"), [("10Gi", 10 * 2**30), ("500M", 477 * 2**20), ("1.5Gi", 1536 * 2**20)])
def test_the_agent_fetches_no_more_than_its_volume_takes(library: Library, size: str, room: int) -> None:
    """Kubernetes ends a pod whose volume is larger than its limit, so the agent is told that limit."""
    rendered = library.render(merge(LEAST, {"agent": {"size": size}}))
    (volume,) = (volume for volume in rendered.pod["volumes"] if volume["name"] == "served")
    assert volume["emptyDir"] == {"sizeLimit": size}
    assert f"--room={room}" in rendered.agent["args"]


def test_the_agent_listens_on_all_addresses_of_its_pod(library: Library, helm: Program) -> None:
    """YAML reads a word that ends in a colon as a key, so this one is quoted."""
    for engine in (library, helm):
        assert "--host=::" in engine.render(LEAST).agent["args"]


def test_the_plan_is_what_the_agent_reads(library: Library, helm: Program) -> None:
    """The values become a plan that the agent's own parser takes; a model without versions is not in it."""
    for engine in (library, helm):
        rendered = engine.render(merge(LEAST, PLANNED))
        read = Plan.parse(json.dumps(rendered.plan))
        assert read == Plan(generation=7, models={"m": ModelPlan(serve=(2, 3), candidate=4, digests={3: DIGEST})})
    assert Plan.parse(json.dumps(library.render(LEAST).plan)) == Plan()
    assert _mounts(rendered.agent)["/plan"] == "plan"
    assert not [mount for mount in rendered.agent["volumeMounts"] if "subPath" in mount], "it would not follow a change"
    assert {"--plan=/plan/plan.json", "--traffic=/plan"} <= set(rendered.agent["args"])
    assert "plan.json" not in library.render(merge(LEAST, NO_AGENT)).text


@pytest.mark.parametrize("more", [{}, CPU], ids=["gpu", "cpu"])
@pytest.mark.parametrize(
    "change",
    [
        {"plan": {"generation": 8}},
        {"models": {"m": {"serve": [1, 2, 3, 4]}}},
        {"models": {"m": {"candidate": None}}},
        {"models": {"m": {"digests": {"2": DIGEST}}}},
        {"models": {"n": {"serve": [1]}}},
    ],
)
def test_no_pod_is_restarted_for_a_plan(library: Library, more: Values, change: Values) -> None:
    """Another plan is another ConfigMap, and the Deployment is the very same."""
    before, after = (library.render(merge(LEAST, more, PLANNED, values)) for values in ({}, change))
    assert before.plan != after.plan
    assert before.one("Deployment") == after.one("Deployment")


def test_older_clusters_are_told_what_to_do(helm: Program) -> None:
    """Before Kubernetes 1.29 the chart says that there can be no agent, and the way out works."""
    with pytest.raises(Refused, match=r"needs Kubernetes 1\.29 .*; this is v1\.28\.4\. Set modelControl to none"):
        helm.render(LEAST, kubernetes="1.28.4")
    assert not helm.render(merge(LEAST, NO_AGENT), kubernetes="1.28.4").pod.get("initContainers")
    assert helm.render(LEAST, kubernetes="1.29.0").agent


def test_a_base_without_python_takes_another_image(library: Library) -> None:
    """The agent comes from an image of its own, and both read a copy of the models of the server's."""
    values: Values = {"agent": {"image": "registry.example.com/agent:1"}, "global": {"imageRegistry": "mirror.io"}}
    rendered = library.render(merge(LEAST, values))
    copy, agent = rendered.pod["initContainers"]
    assert agent["image"] == "mirror.io/agent:1"
    assert (copy["image"], copy["command"]) == (rendered.container["image"], ["cp", "-r", "/models/.", "/copy"])
    assert _mounts(copy) == {"/copy": "image"}
    assert _mounts(agent)["/models"] == _mounts(rendered.container)["/models"] == "image"


def test_what_the_store_needs_reaches_the_agent_alone(library: Library) -> None:
    """Address and variables are the agent's; a folder is mounted where the server has it too."""
    variable = {"name": "AWS_REGION", "value": "eu-central-1"}
    rendered = library.render(merge(LEAST, {"agent": {"store": "s3://models/production", "env": [variable]}}))
    assert {"name": "MODEL_STORE", "value": "s3://models/production"} in rendered.agent["env"]
    assert variable in rendered.agent["env"]
    assert "s3://" not in json.dumps(rendered.container)
    assert variable not in rendered.container["env"]
    folder: Values = {
        "agent": {"store": "file:///mnt/models/production"},
        "extraVolumes": [{"name": "nfs", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "nfs", "mountPath": "/mnt/models"}],
    }
    assert _mounts(library.render(merge(LEAST, folder)).agent)["/mnt/models"] == "nfs"


def test_the_configurations_of_a_release_go_through_the_agent(library: Library) -> None:
    """It composes from those for GPUs, and from the release's own, which win."""
    assert "--config-name=gpu" in library.render(LEAST).agent["args"]
    own = library.render(merge(LEAST, CPU, {"models": {"m": {"config": 'name: "m"'}}}))
    assert "--config-name=gpu" not in own.agent["args"]
    assert "--overrides=/overrides" in own.agent["args"]
    assert _mounts(own.agent)["/overrides"] == "models"
    assert "models" not in _mounts(own.container).values()
    assert own.one("ConfigMap", "triton-infer-models")["data"] == {"m.pbtxt": 'name: "m"'}
    assert "checksum/models" in own.one("Deployment")["spec"]["template"]["metadata"]["annotations"]


def test_the_agent_sees_no_gpu(library: Library) -> None:
    """Where NVIDIA's runtime is the default, an image that asks for all GPUs would get them unasked."""
    agent = library.render(LEAST).agent
    assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"} in agent["env"]
    assert "nvidia.com/gpu" not in json.dumps(agent["resources"])


def test_the_agents_port_is_for_the_inside(library: Library) -> None:
    """Clients inside reach it by both names, Prometheus by a third; a Service that the world reaches has it not."""
    rendered = library.render(merge(LEAST, {"networkPolicy": {"enabled": True}}))
    ports = {
        service["metadata"]["name"]: {port["name"]: port["targetPort"] for port in service["spec"]["ports"]}
        for service in rendered.all("Service")
    }
    assert ports["triton-infer"]["agent"] == ports["triton-infer-headless"]["agent"] == 8003
    assert ports["triton-infer-metrics"]["agent-metrics"] == 8003
    assert all({"port": 8003} in rule["ports"] for rule in rendered.one("NetworkPolicy")["spec"]["ingress"])
    for kind in ("LoadBalancer", "NodePort"):
        outside = library.render(merge(LEAST, {"service": {"type": kind}})).one("Service", "triton-infer")
        assert [port["name"] for port in outside["spec"]["ports"]] == ["http", "grpc"]


def test_helm_test_asks_the_agent_too(library: Library) -> None:
    """The server lives, and the agent says that every stable version answers."""
    asked: Values = {"readiness": {"model": "resnet50", "version": 1}, "helmTest": {"enabled": True}}
    (container,) = library.render(merge(LEAST, asked)).one("Pod")["spec"]["containers"]
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    assert given == {"SERVICE": "triton-infer", "READY": "/v2/health/live"}
    assert "/dev/tcp/$SERVICE-headless/8003" in container["args"][0]
    done = subprocess.run(["bash", "-n", "-c", container["args"][0]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("runs_s", "starts", "status"), [(0, 3, 7), (10, 1, 7)], ids=["a former life", "no start"])
def test_an_agent_that_ends_is_started_again_in_its_container(
    library: Library, tmp_path: Path, runs_s: int, starts: int, status: int
) -> None:
    """Twice it ended after it had run; one that cannot run ends the container with its own exit status."""
    agent = tmp_path / "python3"
    agent.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/starts\n[ $(wc -l < {tmp_path}/starts) -lt 3 ] || sleep 1\nexit 7\n'
    )
    agent.chmod(0o755)
    (shell, option, script, name), arguments = (library.render(LEAST).agent[key] for key in ("command", "args"))
    # Each life lasts for less than a second, but for the third.
    script = script.replace("/opt/triton-agent", str(tmp_path)).replace(
        "-ge 10 ]", f"-ge {runs_s} ] && [ $(wc -l < starts) -lt 3 ]"
    )
    done = subprocess.run(
        [shell, option, script, name, *arguments],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == status, done
    lines = (tmp_path / "starts").read_text(encoding="utf-8").splitlines()
    assert lines == [f"-m scripts.agent {' '.join(arguments)}"] * starts


def test_an_image_without_an_agent_is_told(library: Library, tmp_path: Path) -> None:
    """The container's log says what to do, and the container ends."""
    shell, option, script, name = library.render(LEAST).agent["command"]
    script = script.replace("/opt/triton-agent", str(tmp_path / "none"))
    done = subprocess.run([shell, option, script, name], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("This image has no agent. Build it anew with `invoke build-image`")


def test_the_agent_ends_with_its_pod(library: Library, tmp_path: Path) -> None:
    """SIGTERM goes on to the agent, which is not started again."""
    agent = tmp_path / "python3"
    agent.write_text(
        f"#!/bin/sh\ntrap 'echo ended >> {tmp_path}/said; exit 0' TERM\n"
        f"echo up >> {tmp_path}/said\nwhile :; do sleep 0.05; done\n"
    )
    agent.chmod(0o755)
    shell, option, script, name = library.render(LEAST).agent["command"]
    script = script.replace("/opt/triton-agent", str(tmp_path))
    said = tmp_path / "said"
    with subprocess.Popen([shell, option, script, name], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}) as process:
        wait_until(said.exists, "the agent", within_s=10, every_s=0.05)
        process.terminate()
        assert process.wait(10) == 0
    assert said.read_text(encoding="utf-8") == "up\nended\n"


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers each path with a status and words."""

    def do_GET(self) -> None:
        """Answer."""
        status, words = self.server.answers[self.path]  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(words.encode())

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class _OnIPv6(http.server.ThreadingHTTPServer):
    """Listens on IPv6 alone."""

    address_family = socket.AF_INET6


@pytest.fixture(params=["127.0.0.1", "::1"])
def asked(request: pytest.FixtureRequest) -> Iterator[http.server.HTTPServer]:
    """Give a server that answers as its attribute ``answers`` says, on a loopback address."""
    kind = _OnIPv6 if ":" in request.param else http.server.ThreadingHTTPServer
    try:
        server = kind((request.param, 0), _Answers)
    except OSError as error:
        pytest.skip(f"this machine has no {request.param}: {error}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("probe", "path"), [("readinessProbe", "/healthz"), ("livenessProbe", "/livez")])
@pytest.mark.parametrize(
    ("agent", "server", "passes"),
    [(200, None, True), (503, 200, False), (None, 200, True), (None, 503, False), (None, None, False)],
)
def test_the_agents_word_counts_and_its_absence_harms_nobody(
    library: Library,
    asked: http.server.HTTPServer,
    probe: str,
    path: str,
    agent: int | None,
    server: int | None,
    passes: bool,
) -> None:
    """A probe passes if the agent says so or, where the agent is away, if the server lives; else it says why not."""
    host = str(asked.server_address[0])
    rendered = library.render(merge(LEAST, {"extraArgs": ["--http-address=ipv6:::"]} if ":" in host else {}))
    assert f"--http-host={host}" in rendered.agent["args"]
    bash, option, script = rendered.container[probe]["exec"]["command"]
    answers = {path: (agent, "m version 1 is silent"), "/v2/health/live": (server, "")}
    asked.answers = {where: answer for where, answer in answers.items() if answer[0]}  # type: ignore[attr-defined]
    port = str(asked.server_address[1])
    for place, is_there in (("8003", agent), ("8000", server)):
        script = script.replace(f"ask {place} ", f"ask {port if is_there else '1'} ")
    done = subprocess.run([bash, option, script], capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode == 0) is passes, done
    if agent == 503:
        assert done.stdout == "m version 1 is silent"
