"""A plan that is followed: the mounted file's, or one that was posted and that the file has not caught up with yet."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from scripts.agent.errors import AgentError, OutdatedPlanError, PlanError
from scripts.agent.plan import LARGEST

# A ConfigMap reaches a pod's volume after 60 to 90 s. What it has not shown after twice as long, the release lacks.
CATCH_UP_S = 180.0


class Document(Protocol):
    """A plan of either kind."""

    @property
    def generation(self) -> int:
        """Grows with each change."""

    @property
    def digest(self) -> str:
        """What names its content, whatever its generation."""

    def to_json(self) -> str:
        """Return its text."""


_D = TypeVar("_D", bound=Document)


@dataclass(kw_only=True)
class Kept(Generic[_D]):
    """The plan that is followed.

    Attributes:
        kept: Where it is kept over restarts.
        parse: Reads the text of one.
        current: The plan that is followed.
        file: The file with the plan of the release; None: plans are posted only.
        clock: Gives the monotonic time, in seconds.
        source: Where it came from: ``"default"``, ``"file"`` or ``"post"``.
        fault: What is wrong with the file; empty: nothing.
    """

    kept: Path
    parse: Callable[[bytes], _D]
    current: _D
    file: Path | None = None
    clock: Callable[[], float] = time.monotonic
    source: str = "default"
    fault: str = ""
    _seen: _D | None = None
    _since: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """Take up the plan that an earlier run followed, and that of the file.

        Raises:
            AgentError: If the plan that was kept cannot be read.
        """
        if (kept := self._read(self.kept)) is not None:
            self.current, self.source = kept, "post"
        self._since = self.clock()
        self.look()

    def look(self) -> None:
        """Take the file's plan if it is not older than what is followed, or has stayed so for long."""
        if self.file is None:
            return
        try:
            with self.file.open("rb") as file:
                found = self.parse(file.read(LARGEST + 1))
        except FileNotFoundError:
            return
        except OSError as error:
            self.fault = f"{self.file}: {error.strerror}."
            return
        except PlanError as error:
            self.fault = f"{self.file}: {error}"
            return
        self.fault = ""
        with self._lock:
            if found != self._seen:
                self._seen, self._since = found, self.clock()
            if found.digest == self.current.digest:
                self.source = "file"
                if found.generation > self.current.generation:
                    self._keep(found)
            elif found.generation >= self.current.generation or self.clock() - self._since >= CATCH_UP_S:
                self._keep(found)
                self.source = "file"

    def post(self, plan: _D, *, after: int | None = None) -> None:
        """Follow *plan* from now on.

        Args:
            plan: The plan.
            after: The generation that must be followed until now; None: any lower one.

        Raises:
            OutdatedPlanError: If another one than *after* is followed, or one that is not older than *plan*.
        """
        with self._lock:
            followed = self.current.generation
            same = plan == self.current
            if after is not None and after != followed and not same:
                raise OutdatedPlanError(f"Generation {followed} is followed, not {after}: somebody else was faster.")
            if plan.generation <= followed and not same:
                raise OutdatedPlanError(
                    f"Generation {followed} is followed; a new plan needs a higher one than {plan.generation}."
                )
            self._keep(plan)
            self.source, self._since = "post", self.clock()

    def _keep(self, plan: _D) -> None:
        """Follow *plan*, now and after a restart."""
        if plan != self.current or not self.kept.exists():
            write(self.kept, plan)
        self.current = plan

    def _read(self, path: Path) -> _D | None:
        """Return a plan that was kept; None: none was.

        Raises:
            AgentError: If it cannot be read.
        """
        try:
            return self.parse(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AgentError(f"{path}: {error.strerror}.") from error
        except PlanError as error:
            raise AgentError(f"{path}: {error} Remove the file, then give its plan again.") from error


def write(path: Path, plan: Document) -> None:
    """Keep a plan, whole or not at all.

    Raises:
        AgentError: If it cannot be written.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(plan.to_json())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise AgentError(f"The plan cannot be kept in {path}: {error.strerror}.") from error
