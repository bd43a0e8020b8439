"""Ask the Triton beside the agent, over HTTP."""

import contextlib
import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from scripts.agent.errors import AgentError
from scripts.agent.golden import Tensor
from scripts.agent.plan import is_version

KEY_HEADER = "triton-admin-key"
_LOAD_S = 600.0
_ASK_S = 10.0
_REASON = 500


class AwayError(AgentError):
    """Triton does not answer."""


class SilentError(AwayError):
    """Triton is there, and does not answer in time."""


class RefusedError(AgentError):
    """Triton refuses; the message is its own."""


@dataclass(frozen=True, kw_only=True)
class Triton:
    """A Triton server.

    Attributes:
        host: Where its HTTP API is.
        port: Its port.
        metrics_port: The port of its metrics.
        key: The admin key of restricted APIs; empty: none is needed.
    """

    host: str
    port: int
    metrics_port: int
    key: str = field(default="", repr=False)

    def is_ready(self, model: str, version: int) -> bool:
        """Return whether this version answers.

        Raises:
            AwayError: If Triton does not answer at all.
        """
        return self._ask("GET", f"/v2/models/{quote(model)}/versions/{version}/ready")[0] == 200

    def ready(self) -> dict[str, set[int]]:
        """Return the versions that answer, by model.

        Raises:
            RefusedError: If Triton does not say.
            AwayError: If Triton does not answer.
        """
        status, _, body = self._ask("POST", "/v2/repository/index", b'{"ready": true}')
        if status != 200:
            raise RefusedError(f"Triton does not say what it serves: {_reason(body)}")
        found: dict[str, set[int]] = {}
        for entry in json.loads(body):
            if entry.get("state") == "READY" and is_version(str(entry.get("version", ""))):
                found.setdefault(entry["name"], set()).add(int(entry["version"]))
        return found

    def load(self, model: str) -> None:
        """Load a model as its configuration on the disk says, or bring it up to that.

        Raises:
            RefusedError: If it does not load.
            AwayError: If Triton does not answer.
        """
        self._must("POST", f"/v2/repository/models/{quote(model)}/load", b"{}", timeout_s=_LOAD_S)

    def unload(self, model: str) -> None:
        """Unload a model that nobody is served by.

        Raises:
            RefusedError: If Triton refuses.
            AwayError: If Triton does not answer.
        """
        self._must("POST", f"/v2/repository/models/{quote(model)}/unload", b"{}", timeout_s=_LOAD_S)

    def infer(
        self, model: str, version: int, image: Tensor, index: int, *, batched: bool, timeout_s: float = _ASK_S
    ) -> bytes:
        """Return the FP32 scores of one image, as bytes.

        Args:
            model: Who is asked.
            version: Its version.
            image: The images, of which one is sent.
            index: Which one.
            batched: Whether a batch axis goes in front.
            timeout_s: Longest wait, in seconds.

        Raises:
            RefusedError: If it gives no scores.
            AwayError: If Triton does not answer in time.
        """
        contract = self._json("GET", f"/v2/models/{quote(model)}/versions/{version}")
        sent = {
            "name": contract["inputs"][0]["name"],
            "datatype": image.dtype,
            "shape": [*([1] if batched else []), *image.shape[1:]],
            "parameters": {"binary_data_size": len(image.row(index))},
        }
        wanted = {"name": contract["outputs"][0]["name"], "parameters": {"binary_data": True}}
        head = json.dumps({"inputs": [sent], "outputs": [wanted]}).encode()
        path = f"/v2/models/{quote(model)}/versions/{version}/infer"
        headers = {"Inference-Header-Content-Length": str(len(head))}
        status, answer, body = self._ask("POST", path, head + image.row(index), headers=headers, timeout_s=timeout_s)
        if status != 200:
            raise RefusedError(_reason(body))
        length = int(answer.get("inference-header-content-length", len(body)))
        kind = json.loads(body[:length])["outputs"][0]["datatype"]
        if kind != "FP32":
            raise RefusedError(f"it answers {kind}, not FP32")
        return body[length:]

    def successes(self, model: str) -> dict[int, tuple[int, int]]:
        """Return how many requests each loaded version has answered and failed, since it was loaded.

        Raises:
            AwayError: If Triton does not answer.
        """
        status, _, body = self._ask("GET", f"/v2/models/{quote(model)}/stats")
        if status != 200:
            return {}
        return {
            int(entry["version"]): (
                int(entry["inference_stats"]["success"]["count"]),
                int(entry["inference_stats"]["fail"]["count"]),
            )
            for entry in json.loads(body)["model_stats"]
        }

    def answered(self) -> dict[tuple[str, int], tuple[int, int]]:
        """Return how many requests each loaded version of each model has answered, and the ns that they took together.

        Raises:
            RefusedError: If Triton does not say.
            AwayError: If Triton does not answer.
        """
        found = {}
        for entry in self._json("GET", "/v2/models/stats")["model_stats"]:
            success = entry["inference_stats"]["success"]
            found[entry["name"], int(entry["version"])] = (int(success["count"]), int(success["ns"]))
        return found

    def has_gpu(self) -> bool:
        """Return whether its metrics name a GPU."""
        with contextlib.suppress(AwayError):
            return b"nv_gpu_" in self._ask("GET", "/metrics", port=self.metrics_port)[2]
        return False

    def _json(self, method: str, path: str) -> Any:
        status, _, body = self._ask(method, path)
        if status != 200:
            raise RefusedError(_reason(body))
        return json.loads(body)

    def _must(self, method: str, path: str, body: bytes, *, timeout_s: float) -> None:
        status, _, answer = self._ask(method, path, body, timeout_s=timeout_s)
        if status != 200:
            raise RefusedError(_reason(answer))

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: dict[str, str] | None = None,
        timeout_s: float = _ASK_S,
        port: int | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request on a connection of its own; no proxy is asked."""
        connection = http.client.HTTPConnection(self.host, port or self.port, timeout=timeout_s)
        key = {KEY_HEADER: self.key} if self.key else {}
        try:
            connection.request(method, path, body, {**key, **(headers or {})})
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        except TimeoutError as error:
            raise SilentError(f"Triton on {self.host}:{self.port} has not answered for {timeout_s:g} s.") from error
        except (OSError, http.client.HTTPException) as error:
            raise AwayError(f"Triton on {self.host}:{self.port} does not answer: {error}.") from error
        finally:
            connection.close()


def _reason(body: bytes) -> str:
    """Return what Triton says, short."""
    try:
        text = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace")
    return text[:_REASON].strip() or "no reason given"
