"""An agent without a process: its folders, a Triton that serves them, and a store in a folder."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from scripts.agent import files
from scripts.agent.compose import Served
from scripts.agent.fetches import Fetches
from scripts.agent.folder import Folder
from scripts.agent.follow import Follower
from scripts.agent.library import Library
from scripts.agent.loading import Loader
from scripts.agent.plan import ModelPlan, Plan
from scripts.agent.store import Store, StoredVersion
from tests.doubles import disk_triton
from tests.doubles.disk_triton import GOOD, DiskTriton


@dataclass
class World:
    """Everything of one agent.

    Attributes:
        root: Holds all its folders; those that must stay as they are lie beside ``work``.
        triton: The server.
        follower: The agent's heart, whose fetches are done at once.
        said: What it said.
    """

    root: Path
    triton: DiskTriton
    follower: Follower
    said: list[str] = field(default_factory=list)

    def plan(self, *serve: int, candidate: int | None = None, generation: int = 1, **digests: str) -> bool:
        """Follow a plan for the one model ``cars`` for a step."""
        by_number = {int(name[1:]): digest for name, digest in digests.items()}
        part = ModelPlan(serve=serve, candidate=candidate, digests=by_number)
        return self.follower.step(Plan(models={"cars": part}, generation=generation))

    def publish(self, version: int, model: bytes = GOOD) -> str:
        """Publish a version that the image does not have; return its digest."""
        folder = self.root / "laptop" / "cars"
        if not folder.is_dir():
            disk_triton.repository(self.root / "laptop", model="cars")
        disk_triton.version(folder / str(version), model)
        shared = files.scan(folder, frozenset({"config.pbtxt", "labels.txt"}))
        made = StoredVersion(model="cars", version=version, files=files.scan(folder / str(version)), shared=shared)
        Store(Folder(self.root / "store")).publish(made, folder, lambda _: None)
        return made.digest

    def why(self, version: int) -> str:
        """Return why a version failed."""
        return self.follower.models["cars"].versions[version].why

    def retry(self) -> None:
        """Let everything that failed be tried again now."""
        for state in self.follower.models.values():
            for one in (*state.versions.values(), *((state.candidate[1],) if state.candidate else ())):
                one.next_try = 0.0


def agent(root: Path, triton: DiskTriton | None = None) -> World:
    """Start an agent on the folders in *root*, beside *triton* or a new one."""
    served = Served(folder=root / "served", work=root / "work")
    served.create()
    library = Library(image=root / "image", fetched=root / "work" / "fetched", store=Store(Folder(root / "store")))
    library.create()
    triton = triton or DiskTriton(served=served)
    said: list[str] = []
    loader = Loader(triton=triton, served=served, say=said.append)
    fetches = Fetches(library=library, run=lambda work: work())
    follower = Follower(loader=loader, fetches=fetches, say=said.append, lock=threading.RLock())
    return World(root, triton, follower, said)


def two_versions(root: Path) -> World:
    """Start an agent whose image has versions 1 and 2 of the model ``cars``, and whose store is empty."""
    disk_triton.repository(root / "image", 1, 2)
    (root / "store").mkdir()
    return agent(root)
