"""Load versions and ask whether they answer right: in their model, or as a model of their own that nobody meets."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from scripts.agent import golden
from scripts.agent.compose import Served
from scripts.agent.errors import AgentError, LoadError
from scripts.agent.library import Found
from scripts.agent.triton import AwayError, Triton

# A server that has failed to load so often has leaked what it took (docs/versions-in-production.md).
RESTART_AFTER = 5
_GOLDEN_S = 60.0


@dataclass(kw_only=True)
class Loader:
    """Brings Triton to what lies in the served folder.

    Attributes:
        triton: The server.
        served: Its folder.
        say: Called with a line for each thing that goes wrong and can be lived with.
        failed: How often a load failed since the server started.
        last: The load that failed last, in words.
    """

    triton: Triton
    served: Served
    say: Callable[[str], None]
    failed: int = 0
    last: str = field(default="")

    @property
    def restart_needed(self) -> str | None:
        """Why this server needs to be started anew, or None."""
        if self.failed < RESTART_AFTER:
            return None
        return (
            f"{self.failed} loads have failed since Triton started, and each may keep memory that it took; the last: "
            f"{self.last}"
        )

    def load(self, name: str, versions: Collection[int]) -> None:
        """Bring Triton to the configuration of *name* on the disk.

        Raises:
            LoadError: If not all *versions* are ready then.
            AwayError: If Triton does not answer.
        """
        try:
            self.triton.load(name)
            missing = [version for version in versions if not self.triton.is_ready(name, version)]
            why = f"version {', '.join(map(str, missing))} is not ready, and Triton's log says why" if missing else ""
        except AwayError:
            raise
        except AgentError as error:
            why = str(error)
        if why:
            self.failed += 1
            self.last = f"{name}: {why}"
            raise LoadError(f"it does not load: {why}")

    def check(self, name: str, version: int, found: Found) -> None:
        """Ask a loaded version its golden images.

        Raises:
            AgentError: If its numbers are wrong, or it does not answer.
            AwayError: If Triton does not answer at all.
        """
        right = golden.load(found.path)
        if right is None:
            return
        on_gpu, batched = self.triton.has_gpu(), self.served.is_batched(name)
        for index in range(right.input.shape[0]):
            scores = self.triton.infer(name, version, right.input, index, batched=batched, timeout_s=_GOLDEN_S)
            if why := right.agrees(index, scores, on_gpu=on_gpu):
                raise AgentError(f"its numbers are wrong: {why}")

    def alone(self, name: str, version: int, found: Found, *, loaded: Callable[[], None]) -> None:
        """Load a version as the model *name* of its own and check it; nothing is left of it if that fails.

        Args:
            name: The model's name, which nothing else has.
            version: The version.
            found: Its files.
            loaded: Called between loading and checking.

        Raises:
            AgentError: If it does not load, or answers wrong.
            AwayError: If Triton does not answer.
        """
        self.remove(name)
        self.served.put_model(name, shared=found.shared, versions={version: found.path})
        try:
            self.load(name, [version])
            loaded()
            self.check(name, version, found)
        except BaseException:
            self.remove(name)
            raise

    def remove(self, name: str) -> None:
        """Unload a model of the agent's own, or one that is planned no more, and remove it from the folder."""
        if name in self.served.models():
            try:
                self.triton.unload(name)
            except AwayError:
                pass  # it comes back without
            except AgentError as error:
                self.say(f"{name} cannot be unloaded: {error}")
            self.served.remove_model(name)
