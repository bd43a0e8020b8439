"""Follow the traffic plan of a model: it decides whom a call goes to, and may be changed at any time."""

import os
from functools import partial
from typing import Any

from triton_sdk import _keys
from triton_sdk._checks import is_url, plan_source, text
from triton_sdk._keys import Key
from triton_sdk._wire.following import Followed, reader, teller
from triton_sdk.errors import ConfigurationError

__all__ = ["TrafficPlan"]


class TrafficPlan:
    """Share the calls out among versions as a traffic plan says, which is read anew while calls are made.

    What it says is in force within 2 s, and calls with the same key go to the same version, as for a `Split` with the
    same weights. A source that is away or half written changes nothing. When the plan's time is over, or there is no
    plan, all calls go to the stable version, which callers get who name none. A version that is gone is passed over
    for the stable one. The first call of a process waits for the plan, for 0.3 s at most; no other call waits for it.

    One plan serves many clients and threads, of either kind; make it once. A copy, and what pickle makes of it in
    another process, reads for itself.

    Args:
        source: Address of the agent beside the server, such as ``http://triton-infer.triton:8003``, or the path of a
            file that holds the plan: one of a mounted ConfigMap, perhaps.
        model: The model whose plan it is; clients that follow it must be for the same one.
        report: Whether the agent is told what became of the calls: how many each version answered and failed, in which
            way, and how long they took; nothing of an image, an answer or a key. A file tells nobody: give the
            address of the agent here instead.

    Raises:
        ConfigurationError: If *source* is neither an address nor a path, or *report* neither a bool nor an address.
    """

    source: str | os.PathLike[str]
    """Where the plan is read."""
    model: str
    """The model whose plan it is."""

    def __init__(self, source: str | os.PathLike[str], *, model: str, report: bool | str = True) -> None:
        self.source = plan_source(source, "source")
        self.model = text(model, "model", "the name of a served model")
        self._report = report
        agent = _agent(self.source, report)
        self._followed = Followed(
            reader(self.source, model),
            tell=teller(agent, model) if agent else None,
            model=model,
            name=os.fspath(self.source),
        )

    def choose(self, key: Key) -> int | None:
        """Return the version that calls with *key* go to by now, without asking anyone; None is the stable version.

        Raises:
            ConfigurationError: If *key* is neither text, bytes nor a whole number.
        """
        shares = self._followed.traffic().shares
        return _keys.choose(shares, key) if shares else None

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), model=self.model, report=self._report), (self.source,)

    def __repr__(self) -> str:
        return f"TrafficPlan({os.fspath(self.source)!r}, model={self.model!r})"


def _agent(source: str | os.PathLike[str], report: bool | str) -> str | None:
    """Return the address to which outcomes go; None: to none."""
    if isinstance(report, bool):
        return source if report and isinstance(source, str) and is_url(source) else None
    if not is_url(report):
        raise ConfigurationError(f"report is {report!r}; True, False or http://HOST:8003 of an agent was expected.")
    return os.fspath(plan_source(report, "report"))
