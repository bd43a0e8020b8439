"""Get versions beside everything else: a store that is slow or silent holds up nothing that is served."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from scripts.agent.errors import AgentError, StoreError
from scripts.agent.library import Found, Library

# A store that has not moved a byte for so long is taken for one that is away, in seconds.
SILENCE_S = 60.0
# Each takes memory for its parts, and the agent has little.
_AT_ONCE = 2

_Key = tuple[str, int, str | None]


def beside(work: Callable[[], None]) -> None:
    """Do *work* in a thread that ends with the process."""
    threading.Thread(target=work, daemon=True).start()


@dataclass
class _Fetch:
    """One version that is on its way.

    Attributes:
        asked: When it was asked for, on the monotonic clock.
        found: The version, once it is here.
        fault: Why it cannot be had, once that is known.
        dropped: Whether nobody wants it any more.
    """

    asked: float
    found: Found | None = None
    fault: str = ""
    dropped: bool = False


@dataclass(kw_only=True)
class Fetches:
    """Versions that are on their way.

    Attributes:
        library: Where they come from.
        ended: Called in another thread when there is news of one.
        run: Does work beside the caller's.
        clock: Gives the monotonic time, in seconds.
    """

    library: Library
    ended: Callable[[], None] = lambda: None
    run: Callable[[Callable[[], None]], None] = beside
    clock: Callable[[], float] = time.monotonic
    _alive: float = 0.0
    _under_way: dict[_Key, _Fetch] = field(default_factory=dict)
    _turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE))

    def ask(self, model: str, version: int, *, digest: str | None, moved: Callable[[int], None]) -> Found | None:
        """Return a version that is on this machine, or None while it is on its way.

        Args:
            model: The model's name.
            version: Its number.
            digest: What its bytes must have; None: any.
            moved: Told of each part's bytes while it is fetched.

        Raises:
            AgentError: If it cannot be had. Whoever asks again has it tried again.
        """
        key = (model, version, digest)
        fetch = self._under_way.get(key)
        if fetch is None:
            fetch = self._under_way[key] = _Fetch(self.clock())
            self.run(lambda: self._get(key, fetch, moved))
        fetch.dropped = False
        if fetch.found is None and not fetch.fault:
            # It keeps its place: a thread that hangs in a dead file system cannot be ended, and needs no second one.
            if self.clock() - max(fetch.asked, self._alive) >= SILENCE_S:
                raise StoreError(f"The store has not moved a byte of version {version} for {SILENCE_S:.0f} s.")
            return None
        if fetch.found is None:
            del self._under_way[key]
            raise AgentError(fetch.fault)
        return fetch.found

    def keep(self, wanted: set[tuple[str, int]]) -> None:
        """Break off what is on its way and is none of *wanted*, models and versions."""
        for key, fetch in list(self._under_way.items()):
            if key[:2] not in wanted:
                fetch.dropped = True
                if fetch.found or fetch.fault:
                    del self._under_way[key]

    def _get(self, key: _Key, fetch: _Fetch, moved: Callable[[int], None]) -> None:
        model, version, digest = key

        def step(count: int) -> None:
            if fetch.dropped:
                raise AgentError("It is no longer planned.")
            self._alive = self.clock()
            moved(count)

        try:
            fetch.found = self.library.in_image_as(model, version, digest=digest)
            if fetch.found is None:
                with self._turn:
                    step(0)
                    fetch.found = self.library.from_store(model, version, digest=digest, moved=step)
        except AgentError as error:
            fetch.fault = str(error)
        except Exception as error:  # whatever a store may answer: nothing that is served depends on it
            fetch.fault = f"it cannot be fetched: {error!r}"
        self.ended()
