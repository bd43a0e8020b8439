"""Follow a traffic plan in the background: read now and then while calls are made, and never while one waits."""

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from triton_sdk._checks import is_url
from triton_sdk._files import opened
from triton_sdk._flow.outcomes import Outcomes
from triton_sdk._flow.traffic import LARGEST, Traffic, parse
from triton_sdk._log import LOG

EVERY_S: Final = 2.0
# So long the first call waits for the plan, in seconds; no other one waits.
FIRST_S: Final = 0.3
# A source that has shown nothing but an older plan for so long has gone back to it, in seconds.
OLDER_S: Final = 60.0


def teller(url: str, model: str) -> Callable[[bytes], object]:
    """Return what tells the agent at *url* of the outcomes of calls of *model*."""
    from triton_sdk._wire import agent

    return lambda body: agent.ask(url, "/v1/outcomes", model=model, body=body)


def reader(source: str | os.PathLike[str], model: str) -> Callable[[], bytes]:
    """Return what reads the text of the plan for *model* from a URL or a file, as `plan_source` returns it."""
    if isinstance(source, str) and is_url(source):
        from triton_sdk._wire import agent  # HTTP is for those alone who need it

        return lambda: agent.ask(source, "/v1/traffic", model=model)

    def read() -> bytes:
        with opened(source) as file:
            return file.read(LARGEST + 1)

    return read


class Followed:
    """A plan that is followed: `begin` stands at the beginning of each call, and costs it nothing that can be measured.

    A thread reads the plan anew every 2 s while calls begin, tells what became of them, and ends when none does.

    Args:
        read: Reads the text of the plan.
        tell: Tells an agent what became of the calls, or fails: then that is dropped. None: nothing is noted.
        model: The model that it has to be for.
        name: What the source is called in the log.
        clock: Gives the monotonic time, in seconds.
        wall: Gives the time since 1970, in seconds.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        *,
        tell: Callable[[bytes], object] | None = None,
        model: str,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._read, self._model, self._name, self._clock, self._wall = read, model, name, clock, wall
        # What is followed, and until when; replaced as a whole.
        self._traffic = (Traffic(), 0.0)
        self._tell, self.outcomes = tell, None if tell is None else Outcomes(model, clock, self._wake)
        self._confirmed: float | None = None
        self._problem = ""
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Begin with nothing under way: in a process of its own."""
        self._pid, self._lock, self._known = os.getpid(), threading.Lock(), threading.Event()
        self._calls, self._working = 0, False

    def begin(self) -> bool:
        """Note that a call begins; return whether the plan is not known yet, so that the call should `wait`."""
        if self._pid != os.getpid():
            # The thread stayed in the parent, which tells of its own calls.
            self._begin_anew()
            if self.outcomes is not None:
                self.outcomes.take()
        self._calls += 1
        self._wake()
        return not self._known.is_set()

    def wait(self) -> None:
        """Wait until the plan has been read, but not for long; whoever comes later does not wait again."""
        self._known.wait(FIRST_S)
        self._known.set()

    def traffic(self) -> Traffic:
        """Return what holds now: all to the stable version where nothing is known, or the plan is over."""
        traffic, until = self._traffic
        return traffic if self._clock() < until else Traffic(generation=traffic.generation)

    def look(self) -> None:
        """Read the plan; a source that is away, half written or of another model changes nothing."""
        begin = self._clock()
        try:
            found = parse(self._read(), model=self._model, now=self._wall())
        except (OSError, ValueError) as error:
            if str(error) != self._problem:
                LOG.warning("The traffic plan for %s in %s cannot be read: %s", self._model, self._name, error)
            self._problem = str(error)
            return
        self._problem = ""
        newer = self._confirmed is None or found.generation >= self._traffic[0].generation
        if newer or begin - (self._confirmed or 0.0) >= OLDER_S:
            # The pods behind one address get a change one after the other.
            self._traffic = (found, begin + (found.left_s or 0.0))
            self._confirmed = begin

    def report(self) -> None:
        """Tell what has become of the calls since the last time; it is told once or never."""
        if self.outcomes is None or self._tell is None or (told := self.outcomes.take()) is None:
            return
        try:
            self._tell(json.dumps(told).encode())
        except (OSError, ValueError) as error:
            LOG.debug("The outcomes of calls of %s were not told: %s", self._model, error)

    def _claim(self) -> bool:
        """Return whether nobody else reads the plan; then it is for the caller to do."""
        with self._lock:
            free, self._working = not self._working, True
            return free

    def _wake(self) -> None:
        if not self._working and self._claim():
            self._start()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, name="triton-sdk-traffic", daemon=True).start()
        except RuntimeError as error:  # the program is ending, or has too many threads
            LOG.debug("The traffic plan is not read: %s", error)
            self._working = False
            self._known.set()

    def _work(self) -> None:
        """Read the plan while calls are made."""
        while True:
            calls = self._calls
            try:
                self.look()
                self._known.set()
                self.report()
            except Exception:  # no plan is worth a thread that is gone
                LOG.exception("A traffic plan cannot be followed")
            self._known.set()
            time.sleep(EVERY_S)
            if self._calls != calls or (self.outcomes and self.outcomes.untold()):
                continue
            self._working = False
            # A call may have begun before it could see that this thread ends.
            if self._calls == calls or not self._claim():
                return
