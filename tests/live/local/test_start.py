"""A local Triton starts on ports that are free, or says why it does not."""

import secrets
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import tiny
from tests.live.local.scene import infer, traces
from triton_sdk.errors import LocalServerError
from triton_sdk.local import LocalTriton, Runtime, _ports


def test_a_model_that_does_not_load_ends_the_start_with_its_reason(
    repository: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the model, the version and what ONNX Runtime says of it, and nothing is left behind."""
    tiny.write_model(repository, version=1)
    folder = tiny.write_model(repository, version=2)
    (folder / "model.onnx").write_bytes(b"garbage")
    # Its shared memory bears it; other servers may run on this machine.
    mark = secrets.token_hex(6)
    monkeypatch.setattr(secrets, "token_hex", lambda _: mark)
    server = LocalTriton(repository, runtime=runtime)
    with pytest.raises(LocalServerError, match=r"model 'tiny' version 2: .*Protobuf parsing failed") as caught:
        server.start()
    assert "log" in str(caught.value)
    assert "failed to load" in server.log_tail(200)
    assert traces(f"triton-sdk-{mark}") == []
    server.stop()


def test_a_configuration_that_does_not_fit_is_explained(repository: Path, runtime: Runtime) -> None:
    """What the production backend would refuse at load is refused here with its reason."""
    tiny.write_model(repository)
    file = repository / "tiny" / "config.pbtxt"
    file.write_text(file.read_text().replace('"z"', '"nonesuch"'))
    with pytest.raises(LocalServerError, match=r"model 'tiny' version 1: .*unexpected output 'nonesuch'"):
        LocalTriton(repository, runtime=runtime).start()


def test_a_failed_version_is_reported_while_the_server_stays(repository: Path, runtime: Runtime) -> None:
    """Where the server goes on with the good models, the start does not wait for ones that never come."""
    tiny.write_model(repository, "good")
    (tiny.write_model(repository, "bad") / "model.onnx").unlink()
    with pytest.raises(LocalServerError, match="could not load model 'bad' version 1"):
        LocalTriton(repository, runtime=runtime, args=("--exit-on-error=false",), start_timeout=50).start()


def test_a_start_that_takes_too_long_is_ended(repository: Path, runtime: Runtime) -> None:
    """The time limit holds, and the server is gone afterwards."""
    tiny.write_model(repository)
    server = LocalTriton(repository, runtime=runtime, start_timeout=0.01)
    with pytest.raises(LocalServerError, match=r"not ready after 0\.01 s"):
        server.start()
    with pytest.raises(LocalServerError, match="not running"):
        _ = server.pid


@pytest.mark.parametrize("which", ["http_port", "grpc_port", "metrics_port"])
def test_a_given_port_that_is_taken_is_named(repository: Path, runtime: Runtime, which: str) -> None:
    """The error says which port, before anything is started."""
    tiny.write_model(repository)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        arguments: dict[str, Any] = {which: port}
        with pytest.raises(LocalServerError, match=f"Port {port} on 127.0.0.1 cannot be used"):
            LocalTriton(repository, runtime=runtime, **arguments).start()


def test_a_free_port_that_was_lost_is_chosen_anew(
    repository: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another program takes the chosen port before the server does, the start goes on with another one."""
    tiny.write_model(repository)
    with socket.create_server(("127.0.0.1", 0)) as other:
        choose, choices = _ports.Ports.chosen, []

        def unlucky_at_first(self: _ports.Ports) -> _ports.Ports:
            choices.append(choose(self))
            lost = _ports.Ports(http=choices[-1].http, grpc=choices[-1].grpc, metrics=other.getsockname()[1])
            return lost if len(choices) == 1 else choices[-1]

        monkeypatch.setattr(_ports.Ports, "chosen", unlucky_at_first)
        told: list[str] = []
        with LocalTriton(repository, runtime=runtime, progress=told.append) as server:
            assert infer(server, [1, 2, 3, 4])[0] == 200
    assert len(choices) == 2
    assert any("quicker" in line for line in told)


def test_the_same_ports_serve_again(repository: Path, runtime: Runtime) -> None:
    """A server can be stopped and started on its ports, with closed connections a moment old."""
    tiny.write_model(repository)
    server = LocalTriton(repository, runtime=runtime).start()
    given = [int(url.split(":")[-1].split("/")[0]) for url in (server.http_url, server.grpc_url, server.metrics_url)]
    server.stop()
    server.stop()
    again = LocalTriton(repository, runtime=runtime, http_port=given[0], grpc_port=given[1], metrics_port=given[2])
    for _ in range(2):
        with again:
            assert infer(again, [1, 2, 3, 4])[0] == 200
            assert int(again.http_url.split(":")[-1]) == given[0]


def test_two_servers_run_side_by_side(tmp_path: Path, runtime: Runtime) -> None:
    """Servers share nothing, and the end of one is not felt by the other."""
    repositories = [tmp_path / name for name in ("one", "two")]
    for factor, folder in enumerate(repositories, start=2):
        tiny.write_model(folder, model=tiny.scaler(factor))
    with LocalTriton(repositories[0], runtime=runtime) as one:
        with LocalTriton(repositories[1], runtime=runtime) as two:
            assert infer(two, [1, 1, 1, 1]) == (200, {"y": [3, 3, 3, 3]})
        assert infer(one, [1, 1, 1, 1]) == (200, {"y": [2, 2, 2, 2]})
