"""Settings are checked when they are made, and a secret in them is never shown."""

from typing import Any

import pytest

from triton_sdk import ClientConfig, Coalesce, ConfigurationError, RetryPolicy, Tls
from triton_sdk._addresses import endpoints

TOKEN = "s3cret-t0ken"


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8001",
        "10.0.0.7:8001",
        "[::1]:8001",
        "triton-infer.triton.svc.cluster.local:8001",
        "dns:///triton-infer-headless.triton:8001",
        "ipv4:10.0.0.7:8001",
        "unix:/run/triton.sock",
        "a:8001,b:8001",
        "ipv4:10.0.0.7:8001,10.0.0.8:8001",
    ],
)
def test_an_address_that_grpc_can_use_is_kept(url: str) -> None:
    """Hosts with a port and gRPC's own schemes are taken as they are."""
    assert ClientConfig(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://localhost:8001",
        "https://x:1/",
        "localhost:http",
        "x:0",
        "x:65536",
        ":8001",
        "dns:",
        "a:1,",
        "a:1,b",
    ],
)
def test_an_address_that_grpc_would_misread_is_refused(url: str) -> None:
    """Without a port gRPC would take 443, and with http:// a host of that name: both are told at once."""
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        ClientConfig(url=url)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timeout": 0.0}, "timeout is 0.0"),
        ({"timeout": -1.0}, "timeout is -1"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"timeout": float("inf")}, "timeout is inf"),
        ({"model": ""}, "model is empty"),
        ({"metadata": [("Authorization", TOKEN)]}, "'Authorization' cannot be sent"),
        ({"metadata": [("grpc-timeout", TOKEN)]}, "'grpc-timeout' cannot be sent"),
        ({"metadata": [("authorization", TOKEN + "\n")]}, "value of the metadata entry 'authorization'"),
    ],
)
def test_an_unusable_setting_is_refused_without_its_secret(settings: dict[str, Any], words: str) -> None:
    """The message names the setting, and never repeats the value of a metadata entry."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        ClientConfig(url="localhost:8001", **settings)
    assert TOKEN not in str(caught.value)


def test_metadata_is_not_shown() -> None:
    """The configuration can be logged."""
    config = ClientConfig(url="localhost:8001", metadata=[("authorization", f"Bearer {TOKEN}")])
    assert TOKEN not in repr(config)


@pytest.mark.parametrize(
    "values", [{"max_attempts": 0}, {"base": -0.1}, {"cap": float("inf")}, {"budget": 1.1}, {"burst": -1}]
)
def test_a_retry_policy_out_of_range_is_refused(values: dict[str, Any]) -> None:
    """The message names the value."""
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        RetryPolicy(**values)


@pytest.mark.parametrize("values", [{"certificate": "c.pem"}, {"key": "k.pem"}])
def test_half_a_client_certificate_is_refused(values: dict[str, str]) -> None:
    """A certificate without its key, or the reverse, would fail in the handshake with less clear words."""
    with pytest.raises(ConfigurationError, match="give both or neither"):
        Tls(**values)


class TestFromEnv:
    def test_all_variables_are_read(self) -> None:
        """Each variable lands in its setting."""
        config = ClientConfig.from_env(
            {
                "TRITON_GRPC_URL": "triton:8001",
                "TRITON_MODEL": "mobilenetv2",
                "TRITON_TIMEOUT_S": "2.5",
                "TRITON_MAX_ATTEMPTS": "5",
                "TRITON_TOKEN": TOKEN,
                "TRITON_TLS_CA": "ca.pem",
                "TRITON_TLS_CERTIFICATE": "me.pem",
                "TRITON_TLS_KEY": "me.key",
                "TRITON_TLS_SERVER_NAME": "triton.internal",
            }
        )
        assert config == ClientConfig(
            url="triton:8001",
            model="mobilenetv2",
            timeout=2.5,
            retry=RetryPolicy(max_attempts=5),
            tls=Tls(ca="ca.pem", certificate="me.pem", key="me.key", server_name="triton.internal"),
            metadata=[("authorization", f"Bearer {TOKEN}")],
        )

    def test_the_address_is_enough(self) -> None:
        """What is missing or empty is the default."""
        environ = {"TRITON_GRPC_URL": "triton:8001", "TRITON_MODEL": "", "TRITON_TLS": "0"}
        assert ClientConfig.from_env(environ) == ClientConfig(url="triton:8001")

    def test_tls_with_the_systems_authorities(self) -> None:
        """TRITON_TLS=1 alone turns TLS on."""
        assert ClientConfig.from_env({"TRITON_GRPC_URL": "triton:443", "TRITON_TLS": "1"}).tls == Tls()

    def test_all_problems_are_told_at_once(self) -> None:
        """One error names every variable that is wrong, and shows no token."""
        with pytest.raises(ConfigurationError) as caught:
            ClientConfig.from_env(
                {
                    "TRITON_TIMEOUT_S": "soon",
                    "TRITON_MAX_ATTEMPTS": "0",
                    "TRITON_TLS": "maybe",
                    "TRITON_TLS_KEY": "me.key",
                    "TRITON_TOKEN": TOKEN + "\n",
                }
            )
        for name in ("GRPC_URL", "TIMEOUT_S", "MAX_ATTEMPTS", "TLS:", "TLS_CERTIFICATE", "TOKEN"):
            assert f"TRITON_{name}" in str(caught.value)
        assert TOKEN not in str(caught.value)


def test_several_addresses_are_one_text() -> None:
    """A list of addresses is kept as gRPC's own lists are written; one that is wrong is refused."""
    assert ClientConfig(url=["a:1", "b:2"]).url == "a:1,b:2"
    assert endpoints("a:1, b:2") == ("a:1", "b:2")
    assert endpoints("ipv4:10.0.0.7:1,10.0.0.8:1") == ("ipv4:10.0.0.7:1,10.0.0.8:1",)
    for wrong in ([], ["a:1", "http://b:2"]):
        with pytest.raises(ConfigurationError, match="HOST:PORT"):
            ClientConfig(url=wrong)


@pytest.mark.parametrize("settings", [{"max_batch": 1}, {"max_batch": 2.5}, {"max_wait_s": -1}, {"max_wait_s": "1"}])
def test_a_rule_for_sharing_requests_is_checked(settings: dict[str, Any]) -> None:
    """At least two images, and a wait that is a time."""
    with pytest.raises(ConfigurationError, match="was expected"):
        Coalesce(**settings)
