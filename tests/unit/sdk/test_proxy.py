"""Which proxy gRPC would take from the environment, as its own rules have it."""

import pytest

from triton_sdk._wire import proxy

DIRECT = [("grpc.enable_http_proxy", 0)]


@pytest.mark.parametrize(
    "target",
    [
        *("localhost:8001", "LOCALHOST:8001", "localhost.:8001", "api.localhost:8001", "localhost.localdomain:8001"),
        *("127.0.0.1:8001", "127.9.8.7:8001", "0.0.0.0:8001", "[::1]:8001", "[::ffff:127.0.0.1]:8001"),
        *("dns:localhost:8001", "dns:///localhost", "dns://1.1.1.1/localhost:8001", "ipv6:[::1]:8001"),
        *("ipv4:127.0.0.1:1,127.0.0.2:2", "unix:/run/triton.sock", "unix-abstract:triton"),
    ],
)
def test_this_machine_is_asked_directly(target: str) -> None:
    """Whatever the environment says."""
    assert proxy.options(target) == DIRECT
    assert proxy.named(target, {"http_proxy": "http://p:1"}) == ""


@pytest.mark.parametrize(
    "target",
    [
        *(
            "triton:8001",
            "notlocalhost:8001",
            "localhost.example.com:8001",
            "127.0.0.1.example.com:8001",
            "10.0.0.7:80",
        ),
        *("dns:///triton.internal:8001", "ipv4:127.0.0.1:1,10.0.0.7:2", "[2001:db8::1]:8001", "128.0.0.1:8001"),
    ],
)
def test_another_machine_is_asked_as_the_environment_says(target: str) -> None:
    """What only looks like this machine is another one."""
    assert proxy.options(target) == []
    assert "proxy http://p:1, which the variable http_proxy names" in proxy.named(target, {"http_proxy": "http://p:1"})
    assert proxy.named(target, {}) == ""


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"https_proxy": "http://a:1", "http_proxy": "http://b:1"}, "http://a:1"),
        ({"grpc_proxy": "c:1", "https_proxy": "http://a:1"}, "the proxy c:1,"),
        ({"https_proxy": "", "http_proxy": "http://me:pa@ss@b:1/"}, "the proxy http://b:1,"),
        ({"HTTPS_PROXY": "http://a:1", "ALL_PROXY": "http://a:1"}, None),
        ({"http_proxy": "http://a:1", "no_proxy": "other, .internal"}, None),
        ({"http_proxy": "http://a:1", "no_proxy": "other", "no_grpc_proxy": "triton.internal"}, None),
        ({"http_proxy": "http://a:1", "no_proxy": "triton.internal", "no_grpc_proxy": "other"}, "http://a:1"),
        ({"http_proxy": "http://a:1", "no_proxy": ","}, "http://a:1"),
    ],
)
def test_the_variables_are_read_as_grpc_reads_them(environ: dict[str, str], named: str | None) -> None:
    """Lower case only, its own variables first, and no password in the words."""
    said = proxy.named("triton.internal:8001", environ)
    assert (named in said) if named else said == ""
    assert "pa@ss" not in said
    assert "me:" not in said


@pytest.mark.parametrize(("entry", "direct"), [("10.0.0.0/8", True), ("10.0.0.7", True), ("11.0.0.0/8", False)])
def test_networks_are_passed_over(entry: str, direct: bool) -> None:
    """As gRPC takes them in no_proxy."""
    assert (proxy.named("10.0.0.7:8001", {"http_proxy": "p:1", "no_proxy": entry}) == "") is direct
