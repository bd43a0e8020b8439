"""Follow the plan: bring what is served towards it, one step at a time, and never at the cost of what is served."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from scripts.agent.errors import AgentError
from scripts.agent.fetches import Fetches
from scripts.agent.following import Following
from scripts.agent.loading import Loader
from scripts.agent.plan import CANDIDATE, ModelPlan, Plan
from scripts.agent.state import ModelState
from scripts.agent.triton import AwayError, SilentError


@dataclass(kw_only=True)
class Follower:
    """Makes Triton serve a plan.

    Attributes:
        loader: Brings the server to what lies in its folder.
        fetches: Where versions come from.
        say: Called with a line for each thing that changes.
        models: The state of each model, by name; guarded by *lock*.
        followed: The plan of the last whole step; None: there was none yet.
        lock: Held while *models* is read or changed, and never while anybody is waited for.
    """

    loader: Loader
    fetches: Fetches
    say: Callable[[str], None]
    models: dict[str, ModelState] = field(default_factory=dict)
    followed: Plan | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def step(self, plan: Plan) -> bool:
        """Do what can be done now; return whether all that is planned is served.

        Raises:
            AwayError: If Triton does not answer.
        """
        image = self.fetches.library.in_image()
        wanted = {name: plan.models.get(name, ModelPlan()) for name in sorted({*image, *plan.models})}
        try:
            ready = self.loader.triton.ready()
            self._remove_all_but(wanted)
            for name, part in wanted.items():
                with self.lock:
                    state = self.models.setdefault(name, ModelState())
                    state.want(part.serve or image.get(name, ()))
                try:
                    fault = Following(
                        name=name,
                        part=part,
                        state=state,
                        loader=self.loader,
                        fetches=self.fetches,
                        say=self.say,
                        lock=self.lock,
                    ).step(ready)
                except AwayError:
                    raise
                except (AgentError, OSError) as error:  # what is wrong with one model stops no other
                    fault = str(error)
                if fault and fault != state.fault:
                    self.say(f"{name}: {fault}")
                state.fault = fault
        except SilentError:
            raise  # whether it still serves, its health tells
        except AwayError:
            self._forget()
            raise
        self.followed = plan
        with self.lock:
            self.fetches.keep({(name, version) for name, state in self.models.items() for version in state.missing})
        settled = self.has_settled(plan)
        if settled:
            served = self.loader.served
            self.fetches.library.prune({path for name in served.models() for path in served.versions(name).values()})
        return settled

    def has_settled(self, plan: Plan) -> bool:
        """Return whether just what *plan* says is served."""
        with self.lock:
            done = self.followed is not None and self.followed.digest == plan.digest
            return done and bool(self.models) and all(state.settled for state in self.models.values())

    @property
    def restart_needed(self) -> str | None:
        """Why this server needs to be started anew, or None."""
        with self.lock:
            for name, state in self.models.items():
                for version, one in state.versions.items():
                    if one.poisoned:
                        return (
                            f"Triton keeps version {version} of {name} from loading, because it failed once: {one.why}"
                        )
        return self.loader.restart_needed

    def _forget(self) -> None:
        """Note that nothing is known to be served."""
        self.loader.failed = 0
        with self.lock:
            for state in self.models.values():
                for one in (*state.versions.values(), *((state.candidate[1],) if state.candidate else ())):
                    one.poisoned = False
                    if one.phase == "serving":
                        one.enter("waiting")

    def _remove_all_but(self, wanted: Mapping[str, ModelPlan]) -> None:
        """Remove the models that are planned no more, and what was being tried when an earlier agent ended."""
        names = {*wanted, *(name + CANDIDATE for name in wanted)}
        for name in self.loader.served.models():
            if name not in names:
                self.loader.remove(name)
                self.say(f"{name} is no longer served")
        with self.lock:
            self.models = {name: state for name, state in self.models.items() if name in wanted}
