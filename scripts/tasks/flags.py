"""The flags that several tasks have, and how their text becomes a value."""

import re

from scripts.host.errors import TaskFailure

REPOSITORY = "model_repository"
# The options by which the tasks for a cluster find the deployment.
WHERE = {
    "release": "Name of the release (default: TRITON_RELEASE, or triton-infer).",
    "namespace": "Its namespace (default: TRITON_NAMESPACE, or triton).",
    "context": "Context of the kubeconfig (default: KUBE_CONTEXT, or the current one).",
}


def number(text: str, *, name: str, least: int = 1, most: int = 2**31 - 1) -> int:
    """Parse an integer here, since Invoke answers a wrong one with a traceback.

    Raises:
        TaskFailure: If *text* is no whole number from *least* to *most*; the message names the flag *name*.
    """
    if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) <= most:
        upper = f"to {most}" if most < 2**31 - 1 else "on"
        raise TaskFailure(f"--{name} takes a whole number from {least} {upper}, not {text!r}.")
    return int(text)


def optional_number(text: str, *, name: str) -> int | None:
    """Parse a whole number from 1 on; None where the flag is not given.

    Raises:
        TaskFailure: If *text* is something else.
    """
    return number(text, name=name) if text else None


def colour(text: str, *, name: str) -> tuple[float, float, float] | None:
    """Parse a number for each of red, green and blue; None where the flag is not given.

    Raises:
        TaskFailure: If *text* is not three numbers with commas between them.
    """
    if not text:
        return None
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError as error:
        raise TaskFailure(f"--{name} takes three numbers, for example 0.485,0.456,0.406, not {text!r}.") from error
    return red, green, blue
