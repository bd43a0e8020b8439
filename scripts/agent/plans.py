"""Which plan is followed: the mounted file's, or one that was posted and that the file has not caught up with yet."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scripts.agent.errors import AgentError, OutdatedPlanError, PlanError
from scripts.agent.plan import LARGEST, Plan

# A ConfigMap reaches a pod's volume after 60 to 90 s. What it has not shown after twice as long, the release lacks.
CATCH_UP_S = 180.0


@dataclass(kw_only=True)
class Plans:
    """The plan that is followed.

    Attributes:
        kept: Where it is kept over restarts.
        file: The file with the plan of the release; None: plans are posted only.
        clock: Gives the monotonic time, in seconds.
        current: The plan that is followed.
        source: Where it came from: ``"default"``, ``"file"`` or ``"post"``.
        fault: What is wrong with the file; empty: nothing.
    """

    kept: Path
    file: Path | None = None
    clock: Callable[[], float] = time.monotonic
    current: Plan = field(default_factory=Plan)
    source: str = "default"
    fault: str = ""
    _seen: Plan | None = None
    _since: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """Take up the plan that an earlier run followed, and that of the file.

        Raises:
            AgentError: If the plan that was kept cannot be read.
        """
        try:
            text = self.kept.read_bytes()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise AgentError(f"{self.kept}: {error.strerror}.") from error
        else:
            self.current, self.source = Plan.parse(text), "post"
        self._since = self.clock()
        self.look()

    def look(self) -> None:
        """Take the file's plan if it is not older than what is followed, or has stayed so for long."""
        if self.file is None:
            return
        try:
            with self.file.open("rb") as file:
                found = Plan.parse(file.read(LARGEST + 1))
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

    def post(self, plan: Plan, *, after: int | None = None) -> None:
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

    def _keep(self, plan: Plan) -> None:
        """Follow *plan*, now and after a restart."""
        if plan != self.current or not self.kept.exists():
            new = self.kept.with_name(f".{self.kept.name}.new")
            with new.open("w", encoding="utf-8") as file:
                file.write(plan.to_json())
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.kept)
        self.current = plan
