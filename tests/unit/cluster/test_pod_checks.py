"""Which pods of a deployment are checked, with which key, and what is found beside the server's own checks."""

import base64
import contextlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from scripts.agent.plan import ModelPlan, Plan
from scripts.cluster.admin import ADMIN_HEADER
from scripts.cluster.forward import forward
from scripts.cluster.pod_agent import PodAgent
from scripts.cluster.pod_checks import check_pods, closed
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.server.endpoint import Answer, Endpoint
from scripts.server.result import Result
from scripts.server.seen import State
from tests.doubles.cluster import FORWARDS, SELECTED, TARGET, Cluster, Forwards, items, pod
from tests.unit.versions.test_change import state as seen

SECRET = "kubectl --namespace=triton get secret triton-infer-admin"
KEY = "planted-admin-key"
NO_SECRET = (1, 'Error from server (NotFound): secrets "triton-infer-admin" not found')
EXEC = "kubectl --namespace=triton exec"


def with_pods(*pods: dict[str, Any], secret: tuple[int, str] = NO_SECRET, **more: tuple[int, str]) -> Cluster:
    """Return a cluster in which these pods are deployed."""
    each = {f"kubectl --namespace=triton get pod {p['metadata']['name']}": one(p) for p in pods}
    return Cluster({SELECTED: items(*pods), SECRET: secret, **each, **more})


def keyed(name: str = "a", *, secret: str = "triton-infer-admin") -> dict[str, Any]:
    """Return a pod whose server has the key of its restricted APIs from a Secret."""
    found = pod(name)
    source = {"secretKeyRef": {"name": secret, "key": "key"}}
    own = [{"name": "X", "value": "1"}, {"name": "TRITON_ADMIN_KEY", "valueFrom": source}]
    found["spec"]["containers"][0]["env"] = own
    return found


def one(found: dict[str, Any]) -> tuple[int, str]:
    """Return the answer that is *found*."""
    return 0, json.dumps(found)


def run(
    cluster: Cluster,
    *,
    all_pods: bool = False,
    told: list[str] | None = None,
    forwards: Sequence[Sequence[str]] = (FORWARDS,) * 5,
) -> tuple[list[Result], list[Endpoint]]:
    """Check, with a check of the server that only takes down whom it was to ask."""
    asked: list[Endpoint] = []

    def check(endpoint: Endpoint, *, repository: Path, complete: bool) -> Iterator[Result]:
        assert (repository, complete) == (Path("r"), False)
        asked.append(endpoint)
        yield Result(check="golden", subject="m v1", state="ok", figure="")

    start = Forwards(forwards)
    ports = partial(forward, start=start, lives=lambda _: True)
    progress = (list[str]() if told is None else told).append
    results = list(
        check_pods(
            cluster.kubectl,
            TARGET,
            repository=Path("r"),
            all_pods=all_pods,
            progress=progress,
            forward=ports,
            check=check,
        )
    )
    assert all(kubectl.stopped for kubectl in start.started)
    return results, asked


def brief(results: list[Result]) -> list[tuple[str, str, str]]:
    """Return pod, check and state of each."""
    return [(r.pod, r.check, r.state) for r in results]


def test_one_ready_pod_is_checked() -> None:
    """The first that is ready, and its name stands in what is said."""
    told: list[str] = []
    results, asked = run(with_pods(pod("a", ready=False), pod("b"), pod("c")), told=told)
    assert brief(results) == [("b", "golden", "ok"), ("b", "nvidia-smi", "skipped")]
    assert len(asked) == 1
    assert any("pod b" in line for line in told)


def test_every_pod_is_checked() -> None:
    """One after the other; one that is not ready is a failure with its reason, and hides no other."""
    results, _ = run(with_pods(pod("a", ready=False), pod("b"), pod("c")), all_pods=True)
    assert [(p, s) for p, _, s in brief(results)] == [
        ("a", "failed"), ("b", "ok"), ("b", "skipped"), ("c", "ok"), ("c", "skipped"),
    ]  # fmt: skip
    assert "readiness probe" in results[0].figure


def test_a_pod_that_is_going_is_skipped() -> None:
    """Right after an upgrade the old pods are still there."""
    going = pod("a")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    results, _ = run(with_pods(going, pod("b")), all_pods=True)
    assert brief(results)[0] == ("a", "ready", "skipped")
    assert brief(results)[1] == ("b", "golden", "ok")


def test_a_pod_that_cannot_be_reached_hides_no_other() -> None:
    """Of several it is a failed row; of one alone it is all there is to say."""
    cluster = with_pods(pod("a"), pod("b"))
    gone = (1, 'Error from server (NotFound): pods "a" not found')
    cluster = Cluster({**cluster.answers, "kubectl --namespace=triton get pod a": gone})
    results, _ = run(cluster, all_pods=True)
    assert brief(results)[:2] == [("a", "port-forward", "failed"), ("b", "golden", "ok")]
    with pytest.raises(TaskFailure, match='"a" not found'):
        run(cluster)


def test_the_admin_key_goes_along_and_is_never_shown() -> None:
    """It is read from the chart's Secret and sent in its header; no text of ours has it."""
    secret = one({"data": {"key": base64.b64encode(KEY.encode()).decode()}})
    told: list[str] = []
    results, asked = run(with_pods(keyed(), secret=secret), told=told)
    assert asked[0].headers[ADMIN_HEADER].reveal() == KEY
    assert KEY not in f"{results}{asked}{told}"


def test_the_key_is_read_from_the_secret_that_the_server_has_it_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one of the user's own (`admin.existingSecret`)."""
    answering(monkeypatch, shut=403, opened=200)
    mine = one({"data": {"key": base64.b64encode(KEY.encode()).decode()}})
    _, asked = run(with_pods(keyed(secret="mine"), **{"kubectl --namespace=triton get secret mine": mine}))
    assert asked[0].headers[ADMIN_HEADER].reveal() == KEY


def test_without_the_right_to_the_key_the_rest_is_checked() -> None:
    """It is said, and the checks are made without it."""
    refused = (1, 'Error from server (Forbidden): secrets "triton-infer-admin" is forbidden')
    told: list[str] = []
    results, asked = run(with_pods(keyed(), secret=refused), told=told)
    assert asked[0].headers == {}
    assert ("a", "golden", "ok") in brief(results)
    assert any("admin key" in line for line in told)


@pytest.mark.parametrize(
    ("answer", "state", "figure"),
    [
        ((0, "NVIDIA L4, 23034 MiB, 580.1\n"), "ok", "NVIDIA L4, 23034 MiB, 580.1"),
        ((9, "NVIDIA-SMI has failed because it couldn't communicate"), "failed", "couldn't communicate"),
        ((0, ""), "failed", "of the 1 that it asked for"),
    ],
    ids=["there", "broken", "silent"],
)
def test_gpus_are_asked_for_in_the_pod(answer: tuple[int, str], state: str, figure: str) -> None:
    """Where the pod asked for one, nvidia-smi must answer in it."""
    cluster = with_pods(pod("a", gpus=1), **{EXEC: answer})
    results, _ = run(cluster)
    assert (results[-1].check, results[-1].state) == ("nvidia-smi", state)
    assert figure in results[-1].figure
    command = cluster.asked()[-1]
    assert command.startswith(f"{EXEC} a --container=triton -- nvidia-smi --query-gpu=")
    assert command.endswith("--format=csv,noheader")


def test_nothing_deployed_says_what_to_do() -> None:
    """The release and the namespace are named, and the next command."""
    with pytest.raises(TaskFailure, match=r"(?s)triton-infer has no pods.*invoke deploy-triton"):
        run(with_pods())


@pytest.mark.parametrize("all_pods", [False, True])
def test_no_ready_pod_says_why(all_pods: bool) -> None:
    """With the reason of each."""
    with pytest.raises(TaskFailure, match=r"(?s)release triton-infer is ready.*a: running, the readiness probe"):
        run(with_pods(pod("a", ready=False)), all_pods=all_pods)


def test_a_port_forward_that_is_given_up_is_a_failure() -> None:
    """What was checked through it is shown, and so is why the rest could not be."""

    @contextlib.contextmanager
    def broken(*arguments: Any, **options: Any) -> Iterator[Any]:
        with forward(*arguments, **options, start=Forwards([FORWARDS]), lives=lambda _: True) as forwarding:
            forwarding.trouble = "the pod is gone"
            yield forwarding

    found = check_pods(
        with_pods(pod("a")).kubectl,
        TARGET,
        repository=Path("r"),
        all_pods=False,
        progress=list[str]().append,
        forward=broken,
        check=lambda *_, **__: iter(()),
    )
    assert brief(list(found))[0] == ("a", "port-forward", "failed")


@pytest.mark.parametrize("times", [1, 3], ids=["once", "each time"])
def test_what_fails_because_the_port_forward_broke_is_checked_anew(times: int) -> None:
    """Where that works again, and not for ever; what was checked before is not told twice."""
    runs: list[Endpoint] = []
    start = Forwards([FORWARDS] * 4)

    def check(endpoint: Endpoint, **_: object) -> Iterator[Result]:
        runs.append(endpoint)
        yield Result(check="live", subject="server", state="ok", figure="")
        broke = len(runs) <= times
        if broke:
            start.started[-1].printed.put("error: lost connection to pod")
        yield Result(check="golden", subject="m v1", state="failed" if broke else "ok", figure="")

    results = check_pods(
        with_pods(pod("a")).kubectl,
        TARGET,
        repository=Path("r"),
        all_pods=False,
        progress=list[str]().append,
        forward=partial(forward, start=start, lives=lambda _: True),
        check=check,
    )
    assert brief(list(results)) == [
        ("a", "live", "ok"), ("a", "golden", "ok" if times == 1 else "failed"), ("a", "nvidia-smi", "skipped"),
    ]  # fmt: skip
    assert len(runs) == min(times + 1, 3)


def answering(monkeypatch: pytest.MonkeyPatch, *, shut: int, opened: int) -> tuple[Endpoint, Endpoint]:
    """Return a server as it is asked without the key and with it, that answers each with a status."""
    without = Endpoint(http="http://h:1", grpc="h:2", metrics="http://h:3")
    with_key = attrs.evolve(without, headers={ADMIN_HEADER: Secret(KEY)})

    def post(self: Endpoint, path: str, body: bytes, *, timeout_s: float = 60.0) -> Answer:
        assert (path, body, timeout_s > 0) == ("/v2/repository/index", b"{}", True)
        return Answer(status=opened if self.headers else shut, body={})

    monkeypatch.setattr(Endpoint, "post", post)
    return without, with_key


@pytest.mark.parametrize(
    ("shut", "opened", "state", "figure"),
    [
        (403, 200, "ok", "closed without the key, open with it"),
        (200, 200, "failed", "answers without the key (HTTP 200)"),
        (403, 403, "failed", "closed even with the key (HTTP 403)"),
    ],
)
def test_a_closed_api_is_closed_without_the_key_and_open_with_it(
    monkeypatch: pytest.MonkeyPatch, shut: int, opened: int, state: str, figure: str
) -> None:
    """Both ways are asked: a key that no server takes is as bad as an API that anybody can call."""
    found = closed(*answering(monkeypatch, shut=shut, opened=opened))
    assert (found.state, figure in found.figure) == (state, True)


def test_without_the_key_only_the_closed_side_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """This login may not read it, which is no failure."""
    without, _ = answering(monkeypatch, shut=403, opened=500)
    assert closed(without, None).figure == "closed without the key; the key is not ours"


@pytest.mark.parametrize("gone", [True, False])
def test_a_pod_that_was_deleted_meanwhile_is_the_cause_that_is_told(gone: bool) -> None:
    """The failures before it follow from that."""
    there = one(pod("a"))
    after = (1, 'Error from server (NotFound): pods "a" not found') if gone else there
    cluster = with_pods(pod("a"))

    def fails(*_: object, **__: object) -> Iterator[Result]:
        cluster.answers["kubectl --namespace=triton get pod a"] = after  # type: ignore[index]
        yield Result(check="golden", subject="m v1", state="failed", figure="connection refused")

    ports = partial(forward, start=Forwards([FORWARDS]), lives=lambda _: True)
    found = list(
        check_pods(
            cluster.kubectl, TARGET, repository=Path("r"), all_pods=False, progress=lambda _: None, forward=ports,
            check=fails,
        )
    )  # fmt: skip
    assert ("the pod was deleted while it was checked" in found[-1].figure) is gone


def test_every_pod_that_gets_requests_must_serve_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those whose server is not checked; a pod that starts is left out, and one that gives no answer is told.

    Each by the plan that it reads: in an umbrella there may be several.
    """
    pods = [pod(name, ready=name != "d") for name in "abcde"]
    for each in pods:
        each["spec"]["initContainers"] = [{"name": "agent"}]
        name = "q" if each["metadata"]["name"] == "e" else "p"
        each["spec"]["volumes"] = [{"name": "served"}, {"name": "plan", "configMap": {"name": name}}]
    plans = [
        {"kind": "ConfigMap", "metadata": {"name": name}, "data": {"plan.json": plan.to_json()}}
        for name, plan in {
            "p": Plan(models={"cars": ModelPlan(serve=(2, 3))}, generation=5),
            "q": Plan(models={"cars": ModelPlan(serve=(1, 2))}, generation=4),
        }.items()
    ]
    asked = f"kubectl --namespace=triton get configmaps --selector={TARGET.owned}"
    cluster = with_pods(*pods, **{asked: items(*plans)})

    def state(agent: PodAgent) -> State:
        if agent.pod == "c":
            raise TaskFailure("no answer")
        return seen(2, 3, generation=5) if agent.pod == "a" else seen(1, 2, generation=4)

    monkeypatch.setattr(PodAgent, "state", state)
    results, _ = run(cluster, forwards=[FORWARDS, *[[*FORWARDS[:1], "Forwarding from 127.0.0.1:41003 -> 8003"]] * 5])
    found = [(r.pod, r.state, r.figure) for r in results if r.check == "serving plan"]
    assert [each[:2] for each in found] == [("a", "ok"), ("b", "failed"), ("c", "failed"), ("e", "ok")]
    assert found[0][2] == "serves generation 5"
    assert "another plan, of generation 4" in found[1][2]
