"""Follow the plan: bring what is served towards it, one step at a time, and never at the cost of what is served."""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from scripts.agent import golden
from scripts.agent.compose import Served
from scripts.agent.errors import AgentError
from scripts.agent.library import Found, Library
from scripts.agent.plan import CANDIDATE, TRIAL, ModelPlan, Plan
from scripts.agent.state import RESTART_AFTER, ModelState, Phase, VersionState
from scripts.agent.triton import AwayError, Triton


@dataclass(kw_only=True)
class Follower:
    """Makes Triton serve a plan.

    Attributes:
        triton: The server.
        served: Its folder.
        library: Where versions come from.
        say: Called with a line for each thing that changes.
        models: The state of each model, by name; guarded by *lock*.
        followed: The plan of the last whole step; None: there was none yet.
        lock: Held while *models* is read or changed.
    """

    triton: Triton
    served: Served
    library: Library
    say: Callable[[str], None]
    models: dict[str, ModelState] = field(default_factory=dict)
    followed: Plan | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def step(self, plan: Plan) -> bool:
        """Do what can be done now; return whether all that is planned is served.

        Raises:
            AwayError: If Triton does not answer.
        """
        image = self.library.in_image()
        wanted = {name: plan.models.get(name, ModelPlan()) for name in sorted({*image, *plan.models})}
        for name, part in wanted.items():
            with self.lock:
                state = self.models.setdefault(name, ModelState())
                state.wanted = part.serve or image.get(name, ())
                for version in state.wanted:
                    state.versions.setdefault(version, VersionState())
            try:
                self._follow(name, part, state)
            except AwayError:
                with self.lock:
                    self._forget(state)
                raise
        self.followed = plan
        return self.has_settled(plan)

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
                candidate = [state.candidate] if state.candidate else []
                for version, one in (*state.versions.items(), *candidate):
                    if one.failures >= RESTART_AFTER:
                        return f"{name} version {version} failed {one.failures} times: {one.why}"
        return None

    def _forget(self, state: ModelState) -> None:
        """Note that nothing is known to be served."""
        for one in (*state.versions.values(), *((state.candidate[1],) if state.candidate else ())):
            if one.phase == "serving":
                one.enter("waiting")

    def _follow(self, name: str, part: ModelPlan, state: ModelState) -> None:
        """Bring one model towards its plan."""
        served = self._served(name, state)
        if not served:
            served = self._start(name, part, state)
        for version in state.wanted:
            if version not in served and served and state.versions[version].is_due:
                served = self._add(name, version, part, state, served)
        if served and set(state.wanted) <= served and served != set(state.wanted):
            self._drop(name, state, served)
        self._follow_candidate(name, part, state)

    def _served(self, name: str, state: ModelState) -> set[int]:
        """Return the versions that answer now, and note them."""
        found = {version for version in self.served.policy(name) if self.triton.is_ready(name, version)}
        with self.lock:
            for version in found:
                one = state.versions.setdefault(version, VersionState())
                if not one.digest:
                    one.digest, one.source = self.library.describe(self.served.versions(name)[version])
                if one.phase != "serving":
                    one.enter("serving")
            for version, one in state.versions.items():
                if one.phase == "serving" and version not in found:
                    one.enter("waiting")
        return found

    def _start(self, name: str, part: ModelPlan, state: ModelState) -> set[int]:
        """Load a model that serves nothing yet: all its versions at once, or, if one of them is bad, one by one."""
        due = [version for version in state.wanted if state.versions[version].is_due]
        had = {version: self._get(name, version, part, state.versions[version]) for version in due}
        found = {version: one for version, one in had.items() if one is not None}
        if not found:
            return set()
        self._compose(name, found)
        if self._load(name, found, state):
            served = self._checked(name, found, state)
            if served == set(found):
                return served
        served = set()
        for version in sorted(found, reverse=True):
            if state.versions[version].phase == "failed":
                continue
            self.served.set_policy(name, {*served, version})
            if self._load(name, {*served, version}, state, blame=version) and self._checked(
                name, {version: found[version]}, state
            ):
                served.add(version)
        if served:
            self.served.set_policy(name, served)
            self._load(name, served, state)
        return served

    def _compose(self, name: str, found: dict[int, Found]) -> None:
        """Let the served folder have the model with these versions."""
        shared = found[max(found)].shared
        if self.served.versions(name):
            for version, one in found.items():
                if self.served.versions(name).get(version) != one.path:
                    self.served.link(name, version, one.path)
            self.served.set_policy(name, found)
        else:
            self.served.put_model(name, shared=shared, versions={number: one.path for number, one in found.items()})

    def _load(self, name: str, versions: Collection[int], state: ModelState, *, blame: int | None = None) -> bool:
        """Bring Triton to the configuration on the disk; return whether all *versions* are ready then."""
        for version in versions:
            if state.versions[version].phase != "serving":
                self._enter(state.versions[version], "loading")
        try:
            self.triton.load(name)
            missing = [version for version in versions if not self.triton.is_ready(name, version)]
            why = "Triton does not say why: see its log"
        except AwayError:
            raise
        except AgentError as error:
            missing, why = list(versions), str(error)
        if missing and blame is not None:
            self._fail(name, blame, state.versions[blame], f"it does not load: {why}")
        return not missing

    def _checked(self, name: str, found: dict[int, Found], state: ModelState) -> set[int]:
        """Return those of the loaded versions whose golden numbers are right, and note them as served."""
        right = set()
        for version, one in found.items():
            self._enter(state.versions[version], "checking")
            if why := self._wrong(name, version, one):
                self._fail(name, version, state.versions[version], why)
                continue
            self._enter(state.versions[version], "serving")
            self.say(f"{name} version {version} is served")
            right.add(version)
        return right

    def _add(self, name: str, version: int, part: ModelPlan, state: ModelState, served: set[int]) -> set[int]:
        """Let a version join those that are served, after it was tried where nobody meets it."""
        one = state.versions[version]
        found = self._get(name, version, part, one)
        if found is None or not self._tried(name, version, found, one, state):
            return served
        before = set(self.served.policy(name))
        if self.served.versions(name).get(version) != found.path:
            self.served.link(name, version, found.path)
        self.served.set_policy(name, {*served, version})
        if self._load(name, {*served, version}, state):
            self._enter(one, "serving")
            self.say(f"{name} version {version} is served")
            return {*served, version}
        self.served.set_policy(name, before)
        self.served.unlink(name, version)
        self._load(name, served, state)
        self._fail(name, version, one, "it loaded by itself, but not beside the versions that are served")
        return served

    def _tried(self, name: str, version: int, found: Found, one: VersionState, state: ModelState) -> bool:
        """Return whether the version loads and answers right as a model of its own."""
        if state.candidate is not None and state.candidate[0] == version and state.candidate[1].phase == "serving":
            return True
        trial = name + TRIAL
        try:
            self._remove(trial)
            why = self._alone(trial, version, found, one)
        finally:
            self._remove(trial)
        if why:
            self._fail(name, version, one, why)
        return not why

    def _alone(self, name: str, version: int, found: Found, one: VersionState) -> str:
        """Load the version as the model *name*, ask its golden images, and return what is wrong; empty: nothing."""
        self._enter(one, "loading")
        self.served.put_model(name, shared=found.shared, versions={version: found.path})
        try:
            self.triton.load(name)
        except AwayError:
            raise
        except AgentError as error:
            return f"it does not load: {error}"
        if not self.triton.is_ready(name, version):
            return "it does not load: see Triton's log"
        self._enter(one, "checking")
        return self._wrong(name, version, found)

    def _wrong(self, name: str, version: int, found: Found) -> str:
        """Return what is wrong with the golden numbers of a loaded version; empty: nothing."""
        try:
            right = golden.load(found.path)
            on_gpu, batched = self.triton.has_gpu(), self.served.is_batched(name)
            for index in range(right.input.shape[0] if right else 0):
                assert right is not None
                scores = self.triton.infer(name, version, right.input, index, batched=batched, timeout_s=60)
                if why := right.agrees(index, scores, on_gpu=on_gpu):
                    return f"its numbers are wrong: {why}"
        except AwayError:
            raise
        except AgentError as error:
            return f"it cannot be checked: {error}"
        return ""

    def _drop(self, name: str, state: ModelState, served: set[int]) -> None:
        """Serve the planned versions alone, once all of them are served."""
        self.served.set_policy(name, state.wanted)
        self.triton.load(name)
        for version in served - set(state.wanted):
            self.served.unlink(name, version)
            self.say(f"{name} version {version} is no longer served")
        with self.lock:
            state.versions = {version: state.versions[version] for version in state.wanted}

    def _follow_candidate(self, name: str, part: ModelPlan, state: ModelState) -> None:
        """Load, keep or remove the candidate, which is a model of its own."""
        if state.candidate is not None and state.candidate[0] != part.candidate:
            self._remove(name + CANDIDATE)
            with self.lock:
                state.candidate = None
        if part.candidate is None:
            if self.served.versions(name + CANDIDATE):
                self._remove(name + CANDIDATE)
            return
        if state.candidate is None:
            with self.lock:
                state.candidate = (part.candidate, VersionState())
        version, one = state.candidate
        if one.phase == "serving" and self.triton.is_ready(name + CANDIDATE, version):
            return
        if not one.is_due:
            return
        found = self._get(name, version, part, one)
        if found is None:
            return
        self._remove(name + CANDIDATE)
        if why := self._alone(name + CANDIDATE, version, found, one):
            self._remove(name + CANDIDATE)
            self._fail(name + CANDIDATE, version, one, why)
        else:
            self._enter(one, "serving")
            self.say(f"{name} version {version} is served as {name}{CANDIDATE}")

    def _remove(self, name: str) -> None:
        """Unload a model that only the agent loaded, and remove it."""
        if self.served.versions(name):
            try:
                self.triton.unload(name)
            except AwayError:
                raise
            except AgentError as error:
                self.say(f"{name} cannot be unloaded: {error}")
            self.served.remove_model(name)

    def _get(self, name: str, version: int, part: ModelPlan, one: VersionState) -> Found | None:
        """Return the version's files on this machine, or None after a failure was noted."""

        def moved(count: int) -> None:
            with self.lock:
                one.fetched_bytes += count

        self._enter(one, "fetching")
        try:
            found = self.library.get(name, version, digest=part.digests.get(version), moved=moved)
        except AgentError as error:
            self._fail(name, version, one, str(error))
            return None
        with self.lock:
            one.digest, one.source = found.digest, found.source
        return found

    def _enter(self, one: VersionState, phase: Phase) -> None:
        with self.lock:
            one.enter(phase)

    def _fail(self, name: str, version: int, one: VersionState, why: str) -> None:
        with self.lock:
            one.fail(why)
        self.say(f"{name} version {version}: {why}")
