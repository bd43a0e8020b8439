"""Whether the server answers: by its traffic, or, if there is none, by a real question."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from scripts.agent import golden
from scripts.agent.errors import AgentError
from scripts.agent.follow import Follower

# How often a model is looked at, and how long its answer may take, in seconds.
_EVERY_S = 10.0
_ANSWER_S = 10.0
# A server that has not answered for so long does not recover by itself.
DEAD_AFTER_S = 120.0
# Lies beside the served folder once the server has served all of a plan.
_STARTED = "started"


@dataclass(kw_only=True)
class _Pulse:
    """When a model answered last."""

    version: int = 0
    counted: int = 0
    answered: float = 0.0
    looked: float = 0.0
    why: str = ""


@dataclass(kw_only=True)
class Health:
    """The health of every model's stable version.

    A backend that hangs leaves Triton's own probes green, so a model is healthy if its counter of successes grows, or
    else if it answers a golden image.

    Attributes:
        follower: Knows what is served.
        clock: Gives the monotonic time, in seconds.
    """

    follower: Follower
    clock: Callable[[], float] = time.monotonic
    _pulses: dict[str, _Pulse] = field(default_factory=dict)

    def look(self) -> None:
        """Look at each model that has not been looked at for a while."""
        with self.follower.lock:
            stable = {name: state.stable for name, state in self.follower.models.items()}
        for name in self._pulses.keys() - stable.keys():
            del self._pulses[name]
        for name, version in stable.items():
            pulse = self._pulses.setdefault(name, _Pulse(answered=self.clock()))
            if version is None:
                if pulse.version and not pulse.why:
                    pulse.why = "Triton serves it no more"
            elif version != pulse.version:
                # It has just been checked.
                self._pulses[name] = _Pulse(version=version, answered=self.clock(), looked=self.clock())
            elif pulse.why or self.clock() - pulse.looked >= _EVERY_S:
                pulse.looked = self.clock()
                pulse.why = self._ask(name, version, pulse)
                if not pulse.why:
                    pulse.answered = self.clock()

    def problem(self) -> str:
        """Return why the server should get no traffic; empty: it should."""
        with self.follower.lock:
            if not self.follower.models:
                return "nothing is served yet"
            for name, state in self.follower.models.items():
                if state.stable is None:
                    faults = [f"version {n}: {one.why}" for n, one in state.versions.items() if one.why]
                    return f"{name} serves no version yet{': ' if faults else ''}{'; '.join(faults)}"
        for name, pulse in list(self._pulses.items()):
            if pulse.why:
                return f"{name} version {pulse.version} does not answer: {pulse.why}"
        return ""

    def unstarted(self) -> str:
        """Return why a new server should get no traffic yet; empty: it has started, and has no problem.

        A new server starts by serving every version of its plan, or else an image with a version that does not load
        would replace one that is good. If it has done that once, a later version that fails takes no traffic from the
        others: not even if agent or server are started anew.
        """
        mark = self.follower.loader.served.work / _STARTED
        if not mark.exists():
            if lacks := self._lacks():
                return lacks
            with contextlib.suppress(OSError):  # a full disk: it is asked again
                mark.touch()
        return self.problem()

    def _lacks(self) -> str:
        """Return a version that is planned and not served, or what is wrong with a model; empty: there is none."""
        with self.follower.lock:
            for name, state in self.follower.models.items():
                if state.fault:
                    return f"{name}: {state.fault}"
                for number in sorted(set(state.wanted) - state.serving):
                    one = state.versions[number]
                    return f"{name} version {number} is {one.phase}{': ' if one.why else ''}{one.why}"
            return "" if self.follower.models else "nothing is served yet"

    def dead(self) -> str:
        """Return why the server has to be restarted; empty: it has not."""
        for name, pulse in list(self._pulses.items()):
            silent = self.clock() - pulse.answered
            if pulse.why and silent >= DEAD_AFTER_S:
                return f"{name} version {pulse.version} has not answered for {silent:.0f} s: {pulse.why}"
        return ""

    def _ask(self, name: str, version: int, pulse: _Pulse) -> str:
        """Return why the version does not answer; empty: it does."""
        triton, served = self.follower.loader.triton, self.follower.loader.served
        try:
            counted = triton.successes(name).get(version, (0, 0))[0]
            if counted > pulse.counted:
                pulse.counted = counted
                return ""
            right = golden.load(served.versions(name)[version])
            if right is None:
                return "" if triton.is_ready(name, version) else "Triton says that it is not ready"
            triton.infer(name, version, right.input, 0, batched=served.is_batched(name), timeout_s=_ANSWER_S)
            pulse.counted = counted + 1
        except (AgentError, OSError, KeyError) as error:
            return str(error)
        return ""
