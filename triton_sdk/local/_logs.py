"""Read Triton's log: what it says about models that did not load, and about ports."""

import re
from collections.abc import Iterable

import attrs

# E1122 17:21:42.371330 15369 model_lifecycle.cc:642] "failed to load 'tiny' version 2: Internal: ..."
_LINE = re.compile(r"^(?P<level>[EFIW])\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] (?P<text>.*)$")
_VERSION = re.compile(r"failed to load '(?P<model>[^']+)' version (?P<version>\d+): (?P<reason>.*)")
_MODEL = re.compile(r"(?:failed to load model|Poll failed for model directory) '(?P<model>[^']+)': (?P<reason>.*)")
_PORT = re.compile(r"failed to start .*Socket '(?P<address>[^']+)' already in use")
# Where the reason ends and the Python stub's traceback begins.
_TRACEBACK = re.compile(r"(\\n|\n)+At:.*", re.DOTALL)
# Said by every server that has no GPU.
_EXPECTED = ("pinned memory", "CudaDriverHelper", "NVML", "DCGM")


@attrs.frozen
class LoadFailure:
    """A model that did not load.

    Attributes:
        model: Its name.
        version: The version, or None where the failure is the whole model's.
        reason: What Triton or its backend says.
    """

    model: str
    version: int | None
    reason: str

    def __str__(self) -> str:
        return f"model {self.model!r}{'' if self.version is None else f' version {self.version}'}: {self.reason}"


def load_failures(log: str) -> list[LoadFailure]:
    """Return the models that *log* says did not load, each once."""
    failures = []
    for line in log.splitlines():
        text = _text(line)
        if found := _VERSION.search(text):
            failures.append(LoadFailure(found["model"], int(found["version"]), plain(found["reason"])))
        elif found := _MODEL.search(text):
            failures.append(LoadFailure(found["model"], None, plain(found["reason"])))
    return list(dict.fromkeys(failures))


def unavailable(index: Iterable[dict[str, str]]) -> list[LoadFailure]:
    """Return the models that Triton's repository *index* reports as failed; none while others are still loading."""
    entries = list(index)
    if any(entry.get("state") in ("LOADING", "UNLOADING") for entry in entries):
        return []
    return [
        LoadFailure(entry["name"], int(entry["version"]) if entry.get("version") else None, plain(entry["reason"]))
        for entry in entries
        if entry.get("state") == "UNAVAILABLE" and entry.get("reason") not in (None, "", "unloaded")
    ]


def plain(reason: str) -> str:
    """Return *reason* without a traceback, quotes and the words that all reasons share."""
    return _TRACEBACK.sub("", reason).strip().removesuffix('"').removeprefix("Internal: ").strip()


def taken_address(log: str) -> str | None:
    """Return the address that *log* says another program listens on, or None."""
    found = _PORT.search(log)
    return found["address"] if found else None


def relevant(log: str, *, lines: int) -> list[str]:
    """Return the last *lines* of *log* that say what went wrong: no tables, and errors only where there are any."""
    told = [line for line in log.splitlines() if line and line[0] not in "|+" and not any(e in line for e in _EXPECTED)]
    wrong = [line for line in told if (found := _LINE.match(line)) is None or found["level"] in "EF"]
    return (wrong or told)[-lines:]


def _text(line: str) -> str:
    found = _LINE.match(line)
    return found["text"] if found else line
