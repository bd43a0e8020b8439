"""The flags that several tasks have, and how their text becomes a value."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.host import root
from scripts.host.errors import TaskFailure

REPOSITORY, INPUT = str(root.REPOSITORY), str(root.INPUT)
# The options by which the tasks for a cluster find the deployment.
WHERE = {
    "release": "Name of the release (default: TRITON_RELEASE, or triton-infer).",
    "namespace": "Namespace of the release (default: TRITON_NAMESPACE, or triton).",
    "context": "Context of the kubeconfig (default: KUBE_CONTEXT, or the current one).",
}


def path(text: str) -> Path:
    """Return the whole path that a person typed, as a message shows it; a shell leaves the ~ in ``--flag=~/x``.

    Raises:
        TaskFailure: If *text* is a URL.
    """
    # What stands behind the scheme may hold a password or a signature.
    if scheme := re.match("[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise TaskFailure(
            f"A URL, {scheme[0]}..., was given, but a path on this machine is needed. If the file or the folder is "
            "elsewhere, fetch it first; then give its path."
        )
    return Path(text).expanduser().absolute()


def writable(text: str, *, name: str, suffix: str = "") -> Path | None:
    """Return the path of a file that will be written; None where the flag is not given.

    Raises:
        TaskFailure: If that can be seen to fail, before any work is done for it.
    """
    if not text:
        return None
    file = path(text)
    if suffix and file.suffix.lower() != suffix:
        raise TaskFailure(f"--{name} takes a file whose name ends in {suffix}, not {text!r}.")
    if file.is_dir():
        raise TaskFailure(f"--{name} {file} is a folder. Name a file in it.")
    if not file.parent.is_dir():
        raise TaskFailure(f"--{name} {file} cannot be written: there is no folder {file.parent}. Make it first.")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise TaskFailure(f"--{name} {file} cannot be written: this user may not write there.")
    return file


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


def channels(text: str, *, name: str) -> tuple[float, ...] | None:
    """Parse one number, or one for each of three channels; None where the flag is not given.

    Raises:
        TaskFailure: If *text* is something else.
    """
    if not text:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise TaskFailure(
            f"--{name} takes one number, or three with commas between them, for example 0.485,0.456,0.406, not "
            f"{text!r}."
        )
    return numbers


def fraction(text: str, *, name: str) -> float | None:
    """Parse a number, or one divided by another: ``1/255``; None where the flag is not given.

    Raises:
        TaskFailure: If *text* is something else.
    """
    if not text:
        return None
    above, _, below = text.partition("/")
    try:
        value = float(above) / float(below or "1")
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise TaskFailure(f"--{name} takes a number or a fraction, for example 1/255, not {text!r}.")
    return value


def numbers(text: str, *, name: str) -> tuple[int, ...] | None:
    """Parse whole numbers from 1 on with commas between them; None where the flag is not given.

    Raises:
        TaskFailure: If *text* is something else.
    """
    return tuple(number(part, name=name) for part in text.split(",")) if text else None


def seconds(text: str, *, name: str) -> float:
    """Parse a time: ``90s``, ``30m``, ``2h`` or ``1d``.

    Raises:
        TaskFailure: If *text* is something else, or no time at all.
    """
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text.strip().lower())
    if found is None or not int(found[1]):
        raise TaskFailure(f"--{name} takes a time, for example 90s, 30m or 2h, not {text!r}.")
    return int(found[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}[found[2]]


def share(text: str, *, name: str) -> float | None:
    """Parse a number from 0 to 1; None where the flag is not given.

    Raises:
        TaskFailure: If *text* is something else.
    """
    value = fraction(text, name=name)
    if value is not None and not 0 <= value <= 1:
        raise TaskFailure(f"--{name} takes a number from 0 to 1, for example 0.9, not {text!r}.")
    return value


def size(text: str, *, name: str) -> tuple[int, int] | None:
    """Parse a height and a width with an x between them; None where the flag is not given.

    Raises:
        TaskFailure: If *text* is something else.
    """
    if not text:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})", text)
    if found is None:
        raise TaskFailure(f"--{name} takes a height and a width in pixels, for example 224x224, not {text!r}.")
    return int(found[1]), int(found[2])


def word(text: str, known: Sequence[str], *, name: str) -> Any:
    """Return *text* if it is one of the words *known*; None where the flag is not given.

    Raises:
        TaskFailure: If it is another one.
    """
    if text and text not in known:
        raise TaskFailure(f"--{name} takes {', '.join(known[:-1])} or {known[-1]}, not {text!r}.")
    return text or None


def assignments(texts: Sequence[str], *, name: str) -> dict[str, tuple[float, ...]]:
    """Parse numbers by name: ``keep_prob=1`` or ``anchor=0,0.5``.

    Raises:
        TaskFailure: If a text is something else, or a name comes twice.
    """
    found = dict[str, tuple[float, ...]]()
    for text in texts:
        key, _, values = text.rpartition("=")
        try:
            numbers = tuple(float(part) for part in values.split(","))
        except ValueError:
            numbers = ()
        if not key or not numbers or key in found:
            raise TaskFailure(f"--{name} takes INPUT=VALUE once for each input, for example keep_prob=1, not {text!r}.")
        found[key] = numbers
    return found


def named(model: str, asked: str) -> None:
    """Check that a model is named.

    Raises:
        TaskFailure: If none is.
    """
    if not model:
        raise TaskFailure(f"Which model? For example: invoke {asked} --model resnet50")
