"""Ask the agent beside a server, over HTTP."""

import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import quote, urlsplit

from triton_sdk._flow.traffic import LARGEST

# Longest wait for the connection and for each part of an answer, in seconds.
PATIENCE_S: Final = 1.0


def ask(url: str, path: str, *, model: str, body: bytes | None = None) -> bytes:
    """Ask the agent at *url* about *model*, and return its answer, as much of it as a plan may have; no proxy is asked.

    Args:
        url: ``http://HOST:PORT``, or https, with a path perhaps.
        path: What is asked: ``"/v1/traffic"``.
        model: The name that goes behind it.
        body: What is posted; None gets.

    Raises:
        OSError: If no answer came.
        ValueError: If it was no good one; the message says why.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        made: HTTPConnection = HTTPSConnection(
            host, parts.port, timeout=PATIENCE_S, context=ssl.create_default_context()
        )
    else:
        made = HTTPConnection(host, parts.port, timeout=PATIENCE_S)
    try:
        made.request("GET" if body is None else "POST", f"{parts.path}{path}/{quote(model, safe='')}", body)
        answer = made.getresponse()
        text = answer.read(LARGEST + 1)
    except HTTPException as error:
        raise ValueError(f"it does not speak HTTP: {error!r}") from error
    finally:
        made.close()
    if answer.status != 200:
        raise ValueError(f"it answers {answer.status} {answer.reason}")
    return text
