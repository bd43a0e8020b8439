"""Requests to a local Triton, and the traces that it leaves on this machine."""

import http.client
import json
import re
from pathlib import Path
from typing import Any

from triton_sdk.local import LocalTriton
from triton_sdk.local._checks import SHARED_MEMORY

ROOT = Path(__file__).parents[3]


def post(url: str, path: str, body: Any) -> tuple[int, Any]:
    """Send *body* as JSON on a connection of its own; return the status and the answer."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    try:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def infer(
    server: LocalTriton,
    data: list[Any],
    *,
    model: str = "tiny",
    version: int | None = None,
    datatype: str = "FP32",
    shape: list[int] | None = None,
    outputs: tuple[str, ...] = ("y",),
) -> tuple[int, Any]:
    """Ask for *outputs* of *model* for ``x``: the status, and the answer's data by output, or the error's text."""
    path = f"/v2/models/{model}{'' if version is None else f'/versions/{version}'}/infer"
    tensor = {"name": "x", "datatype": datatype, "shape": shape or [1, len(data)], "data": data}
    status, answer = post(server.http_url, path, {"inputs": [tensor], "outputs": [{"name": name} for name in outputs]})
    if status != 200:
        return status, answer["error"]
    return status, {output["name"]: output["data"] for output in answer["outputs"]}


def metric(server: LocalTriton, name: str) -> float:
    """Return the sum of the counter *name* over all models and versions."""
    connection = http.client.HTTPConnection(server.metrics_url.split("/")[2], timeout=20)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return sum(float(value) for value in re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE))


def identity_of(pid: int) -> str:
    """Return the mark that the server *pid*, its stubs, its supervisor and its shared memory bear."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return next(word.removeprefix("--id=") for word in words if word.startswith("--id="))


def traces(identity: str) -> list[str]:
    """Return the processes and the shared-memory files that bear *identity*."""
    found = [str(file) for file in SHARED_MEMORY.glob(f"{identity}*")]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(identity in word for word in words):
            found.append(f"{process.name} {words[0]}")
    return found
