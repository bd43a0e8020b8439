"""Follow the plan of one model."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scripts.agent.errors import AgentError, LoadError
from scripts.agent.fetches import Fetches
from scripts.agent.library import Found
from scripts.agent.loading import Loader
from scripts.agent.plan import CANDIDATE, TRIAL, ModelPlan
from scripts.agent.state import ModelState, Phase, VersionState
from scripts.agent.triton import AwayError

Ready = Mapping[str, set[int]]


@dataclass(frozen=True, kw_only=True)
class Following:
    """Brings one model towards its plan.

    Attributes:
        name: The model's name.
        part: Its part of the plan.
        state: What is known of it; guarded by *lock*.
        loader: Brings the server to what lies in its folder.
        fetches: Where versions come from.
        say: Called with a line for each thing that changes.
        lock: Held while *state* is changed.
    """

    name: str
    part: ModelPlan
    state: ModelState
    loader: Loader
    fetches: Fetches
    say: Callable[[str], None]
    lock: threading.RLock

    def step(self, ready: Ready) -> str:
        """Bring one model towards its plan; return what is wrong with the model as a whole."""
        if not self.state.wanted:
            return "the plan names no version of it, and the image holds none"
        served = self._served(ready.get(self.name, set()))
        if served:
            served = self._drop(served)
            for version in sorted(set(self.state.wanted) - served, reverse=True):
                if self.state.versions[version].is_due and self._add(version, served):
                    served = self._drop({*served, version})
        else:
            self._start()
        self._follow_candidate(ready.get(self.name + CANDIDATE, set()))
        for version in served:
            planned, has = self.part.digests.get(version), self.state.versions[version].digest
            if planned not in (None, has):
                return (
                    f"it serves other bytes as version {version} than the plan names (digest {has[:12]}, the plan's "
                    f"{str(planned)[:12]}): a version never changes: give the new one the next number"
                )
        return ""

    def _served(self, ready: set[int]) -> set[int]:
        """Return the versions that answer now, and note them."""
        links = self.loader.served.versions(self.name)
        found = set()
        for version in ready & links.keys():
            one = self.state.versions.get(version, VersionState())
            if one.phase == "failed":
                continue  # its numbers are wrong, and it goes with the next load
            if not one.digest:
                one.digest, one.source = self.fetches.library.describe(links[version])
            found.add(version)
            with self.lock:
                self.state.versions[version] = one
                if one.phase != "serving":
                    one.enter("serving")
        with self.lock:
            for version, one in self.state.versions.items():
                if one.phase == "serving" and version not in found:
                    one.enter("waiting")
        return found

    def _start(self) -> None:
        """Load a model that serves nothing yet: all its versions at once, or, if one of them is bad, one by one."""
        due = [version for version in self.state.wanted if self.state.versions[version].is_due]
        had = {version: self._get(version, self.state.versions[version]) for version in due}
        if any(self.state.versions[version].phase == "fetching" and had[version] is None for version in due):
            return  # a lower version must not answer in the place of one that is about to come
        found = {version: one for version, one in had.items() if one is not None}
        if not found:
            return
        self._compose(found)
        for version in found:
            self._enter(self.state.versions[version], "loading")
        try:
            self.loader.load(self.name, found)
        except LoadError:
            served = set[int]()
        else:
            served = {version for version, one in found.items() if self._is_right(version, one)}
        if served == set(found):
            # All at once: whoever names no version gets the highest from the first answer on.
            with self.lock:
                for version in served:
                    self._serves(version)
        else:
            self._start_one_by_one(found)

    def _start_one_by_one(self, found: dict[int, Found]) -> None:
        """Load what loads, and nothing of what does not or answers wrong."""
        served: set[int] = set()
        for version in sorted(found, reverse=True):
            one = self.state.versions[version]
            if one.phase == "failed":
                continue
            self._enter(one, "loading")
            self.loader.served.set_policy(self.name, {*served, version})
            try:
                self.loader.load(self.name, {*served, version})
            except LoadError as error:
                self._fail(version, one, str(error))
                continue
            if self._is_right(version, found[version]):
                self._serves(version)
                served.add(version)
        if served:
            self.loader.served.set_policy(self.name, served)
            self.loader.load(self.name, served)
        else:
            self.loader.remove(self.name)

    def _compose(self, found: dict[int, Found]) -> None:
        """Let the served folder have the model, which is not loaded, with these versions."""
        served = self.loader.served
        if self.name not in served.models():
            served.put_model(
                self.name,
                shared=found[max(found)].shared,
                versions={version: one.path for version, one in found.items()},
            )
            return
        for version in served.versions(self.name).keys() - found.keys():
            served.unlink(self.name, version)
        for version, one in found.items():
            served.link(self.name, version, one.path)
        served.set_policy(self.name, found)

    def _is_right(self, version: int, found: Found) -> bool:
        """Return whether the golden numbers of a loaded version are right, and note it as failed if they are not."""
        one = self.state.versions[version]
        self._enter(one, "checking")
        try:
            self.loader.check(self.name, version, found)
        except AwayError:
            raise
        except AgentError as error:
            self._fail(version, one, str(error))
            return False
        return True

    def _add(self, version: int, served: set[int]) -> bool:
        """Let a version join those that are served, after it was tried where nobody meets it; return whether it did."""
        one = self.state.versions[version]
        found = self._get(version, one)
        if found is None or not self._tried(version, found):
            return False
        folder = self.loader.served
        self._enter(one, "loading")
        if folder.versions(self.name).get(version) != found.path:
            folder.link(self.name, version, found.path)
        folder.set_policy(self.name, {*served, version})
        try:
            self.loader.load(self.name, {*served, version})
        except LoadError as error:
            folder.set_policy(self.name, served)
            folder.unlink(self.name, version)
            with self.lock:
                one.poisoned = True
            self._fail(version, one, f"it loaded by itself, but not beside the versions that are served: {error}")
            self.loader.load(self.name, served)
            return False
        self._serves(version)
        return True

    def _tried(self, version: int, found: Found) -> bool:
        """Return whether the version loads and answers right as a model of its own, of which nothing is left then."""
        candidate = self.state.candidate
        if candidate is not None and candidate[0] == version and candidate[1].phase == "serving":
            if self.part.candidate != version:  # it makes room for itself
                self._remove_candidate()
            return True
        one = self.state.versions[version]
        try:
            self._enter(one, "loading")
            self.loader.alone(self.name + TRIAL, version, found, loaded=lambda: self._enter(one, "checking"))
            self.loader.remove(self.name + TRIAL)
        except AwayError:
            raise
        except AgentError as error:
            self._fail(version, one, str(error))
            return False
        return True

    def _drop(self, served: set[int]) -> set[int]:
        """Serve planned versions alone, once the highest of them is served; return what is served then."""
        surplus = served - set(self.state.wanted)
        if not surplus or max(self.state.wanted) not in served:
            return served
        kept = served - surplus
        self.loader.served.set_policy(self.name, kept)
        self.loader.load(self.name, kept)
        for version in surplus:
            self.loader.served.unlink(self.name, version)
            self.say(f"{self.name} version {version} is no longer served")
        with self.lock:
            self.state.versions = {version: self.state.versions[version] for version in self.state.wanted}
        return kept

    def _follow_candidate(self, ready: set[int]) -> None:
        """Load, keep or remove the candidate, which is a model of its own."""
        own, version = self.name + CANDIDATE, self.part.candidate
        if version is None or (self.state.candidate is not None and self.state.candidate[0] != version):
            self._remove_candidate()
        if version is None:
            return
        if self.state.candidate is None:
            one = VersionState()
            if version in ready and version in (links := self.loader.served.versions(own)):
                one.digest, one.source = self.fetches.library.describe(links[version])
                if self.part.digests.get(version) in (None, one.digest):
                    one.enter("serving")  # an earlier agent loaded it
            with self.lock:
                self.state.candidate = (version, one)
        one = self.state.candidate[1]
        if one.phase == "serving" and version in ready:
            return
        if not one.is_due or (found := self._get(version, one)) is None:
            return
        try:
            self._enter(one, "loading")
            self.loader.alone(own, version, found, loaded=lambda: self._enter(one, "checking"))
        except AwayError:
            raise
        except AgentError as error:
            self._fail(version, one, str(error))
        else:
            self._enter(one, "serving")
            self.say(f"{self.name} version {version} is served as {own}")

    def _remove_candidate(self) -> None:
        self.loader.remove(self.name + CANDIDATE)
        with self.lock:
            self.state.candidate = None

    def _get(self, version: int, one: VersionState) -> Found | None:
        """Return the version's files on this machine, or None while they are on their way or cannot be had."""

        def moved(count: int) -> None:
            with self.lock:
                one.fetched_bytes += count

        if one.phase != "fetching":
            self._enter(one, "fetching")
        try:
            found = self.fetches.ask(self.name, version, digest=self.part.digests.get(version), moved=moved)
        except AgentError as error:
            self._fail(version, one, str(error))
            return None
        if found is not None:
            with self.lock:
                one.digest, one.source = found.digest, found.source
        return found

    def _serves(self, version: int) -> None:
        self._enter(self.state.versions[version], "serving")
        self.say(f"{self.name} version {version} is served")

    def _enter(self, one: VersionState, phase: Phase) -> None:
        with self.lock:
            one.enter(phase)

    def _fail(self, version: int, one: VersionState, why: str) -> None:
        with self.lock:
            one.fail(why)
        self.say(f"{self.name} version {version}: {why}")
