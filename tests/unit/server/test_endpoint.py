"""Where a server listens, and reading its metrics."""

import pytest

from scripts.host.errors import TaskFailure
from scripts.host.settings import Settings
from scripts.server.endpoint import Counters, Endpoint, choose

PAGE = """\
# HELP nv_inference_count Number of inferences
# TYPE nv_inference_count counter
nv_inference_count{model="a",version="1"} 3
nv_inference_count{model="a",version="2"} 4
nv_inference_count{model="b",version="1"} 50
"""


@pytest.mark.parametrize(
    ("url", "http", "grpc"),
    [
        ("localhost", "http://localhost:8000", "localhost:8001"),
        ("localhost:8000", "http://localhost:8000", "localhost:8001"),
        ("triton-infer:9", "http://triton-infer:9", "triton-infer:10"),
        ("10.1.2.3:9000", "http://10.1.2.3:9000", "10.1.2.3:9001"),
        ("http://triton.example:80/", "http://triton.example:80", "triton.example:81"),
        ("[::1]:8000", "http://[::1]:8000", "[::1]:8001"),
    ],
)
def test_one_address_gives_all_three(url: str, http: str, grpc: str) -> None:
    """gRPC is the port after HTTP, metrics the one after that."""
    endpoint = Endpoint.parse(url)
    assert (endpoint.http, endpoint.grpc) == (http, grpc)
    assert endpoint.metrics.endswith("/metrics")


@pytest.mark.parametrize("url", ["", "https://host", "host:notaport", "host/path", "ftp://host"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """The message says what an address looks like."""
    with pytest.raises(TaskFailure, match="HOST:HTTP_PORT"):
        Endpoint.parse(url)


def test_the_versions_that_have_figures() -> None:
    """Each model and version once; other metrics have none."""
    counters = Counters(text=PAGE)
    assert counters.versions("nv_inference_count") == [("a", "1"), ("a", "2"), ("b", "1")]
    assert counters.versions("nv_gpu_utilization") == []


def test_counters_are_summed_over_the_labels_that_are_not_named() -> None:
    """A total takes every sample that carries the labels asked for."""
    counters = Counters(text=PAGE)
    assert counters.total("nv_inference_count", model="a") == 7
    assert counters.total("nv_inference_count", model="a", version="2") == 4
    assert counters.total("nv_inference_count") == 57
    assert counters.samples("nv_gpu_utilization") == []


NOTHING = Settings(values={}, problems=(), secrets={})
URL_SET = Settings(values={"TRITON_URL": "set:9000"}, problems=(), secrets={})
BROKEN = Settings(values={"TRITON_URL": "set:9000"}, problems=("AWS_REGION is wrong.",), secrets={})


@pytest.mark.parametrize(
    ("local", "url", "cluster", "settings", "chosen"),
    [
        (True, "", False, BROKEN, "local"),
        (False, "given:1", False, BROKEN, Endpoint.parse("given:1")),
        (False, "given:1", False, URL_SET, Endpoint.parse("given:1")),
        (False, "", True, URL_SET, "cluster"),
        (False, "", False, URL_SET, Endpoint.parse("set:9000")),
        (False, "", False, NOTHING, "cluster"),
    ],
)
def test_flags_go_before_the_setting(
    local: bool, url: str, cluster: bool, settings: Settings, chosen: Endpoint | str
) -> None:
    """TRITON_URL counts where no flag is given, and the cluster is meant where it is not set either."""
    assert choose(local=local, url=url, cluster=cluster, settings=settings) == chosen


@pytest.mark.parametrize(
    ("local", "url", "cluster"), [(True, "h", False), (True, "", True), (False, "h", True), (True, "h", True)]
)
def test_two_servers_at_once_are_refused(local: bool, url: str, cluster: bool) -> None:
    """The message names the flags of each."""
    with pytest.raises(TaskFailure, match="give one of the three"):
        choose(local=local, url=url, cluster=cluster, settings=NOTHING)


def test_settings_that_cannot_be_used_are_said_where_they_count() -> None:
    """And not taken for an address that is not set."""
    with pytest.raises(TaskFailure, match="AWS_REGION is wrong"):
        choose(local=False, url="", cluster=False, settings=BROKEN)
