"""Where a version comes from, and how it gets here beside everything else."""

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.agent import library
from scripts.agent.errors import AgentError, StoreError
from scripts.agent.fetches import SILENCE_S, Fetches
from tests.doubles.disk_agent import World

Usage = namedtuple("Usage", "free")


def files_of(folder: Path) -> set[str]:
    """Return every path below *folder*."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def fetch(world: World, version: int, digest: str | None = None) -> library.Found:
    """Fetch a version of ``cars``."""
    return world.follower.fetches.library.from_store("cars", version, digest=digest, moved=lambda _: None)


def test_a_fetched_version_is_whole_and_stays(world: World) -> None:
    """The store is not asked again for a version whose digest the plan names."""
    digest = world.publish(3)
    found = fetch(world, 3)
    assert files_of(found.path) == files_of(world.root / "laptop" / "cars" / "3")
    assert found.shared == world.root / "image" / "cars"
    shutil.rmtree(world.root / "store")
    assert fetch(world, 3, digest) == found


def test_a_model_that_the_image_lacks_brings_its_configuration(world: World) -> None:
    """What lay beside the versions when this one was published is fetched with it."""
    world.publish(3)
    shutil.rmtree(world.root / "image" / "cars")
    found = fetch(world, 3)
    assert files_of(found.shared) == {"config.pbtxt", "labels.txt"}


@pytest.mark.parametrize("harm", ["other bytes", "cut short", "too long", "gone", "a link"])
def test_a_damaged_object_is_never_a_version(world: World, harm: str) -> None:
    """Nothing of it stays on this machine, and the message says what to do."""
    world.publish(3)
    blob = max((world.root / "store" / "blobs").glob("*/*"), key=lambda path: path.stat().st_size)
    content = blob.read_bytes()
    blob.unlink()
    if harm == "a link":
        secret = world.root / "secret"
        secret.write_bytes(content)
        blob.symlink_to(secret)
    elif harm != "gone":
        made = {"other bytes": bytes(len(content)), "cut short": content[:-1], "too long": content * 2}
        blob.write_bytes(made[harm])
    with pytest.raises(StoreError, match=r"Publish the version again|holds plain files"):
        fetch(world, 3)
    assert files_of(world.root / "work" / "fetched") == {".unfinished", "cars"}


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a/../../evil", "..", "a//b", "a\\b", ""])
def test_a_manifest_that_leaves_the_folder_is_refused(world: World, name: str) -> None:
    """Nothing is written, here or outside."""
    world.publish(3)
    path = world.root / "store" / "models" / "cars" / "3" / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["files"][name] = data["files"].pop("model.onnx")
    path.write_text(json.dumps(data), encoding="utf-8")
    before = files_of(world.root)
    with pytest.raises(StoreError, match="no path below the version's folder"):
        fetch(world, 3)
    assert files_of(world.root) == before


def test_a_full_disk_is_seen_before_anything_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what is needed and what is left."""
    world.publish(3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=2**20))
    with pytest.raises(AgentError, match="1 MiB are free in"):
        fetch(world, 3)


def test_fetched_versions_take_no_more_room_than_they_have(world: World) -> None:
    """A volume's limit is seen before it is passed, and what is no longer needed makes room."""
    digests = {version: world.publish(version) for version in (3, 4)}
    library = world.follower.fetches.library
    library.room = 2**26 + 2**10
    found = fetch(world, 3, digests[3])
    with (found.path / "more").open("wb") as file:
        file.truncate(2**11)
    with pytest.raises(AgentError, match=r"Version 4 takes 0 MiB, and \d+ MiB are free in"):
        fetch(world, 4, digests[4])
    library.prune(set())
    assert fetch(world, 4, digests[4]).path.is_dir()


def test_a_disk_that_fills_up_leaves_nothing_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written until then is removed."""
    world.publish(3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scripts.agent.files.measure", full)
    with pytest.raises(AgentError, match="No space left on device"):
        fetch(world, 3)
    assert files_of(world.root / "work" / "fetched") == {".unfinished", "cars"}


def test_without_a_store_the_message_names_the_setting(world: World) -> None:
    """MODEL_STORE is what is missing."""
    world.follower.fetches.library.store = None
    with pytest.raises(AgentError, match="there is no store"):
        fetch(world, 3)
    with pytest.raises(AgentError, match="other bytes as version 2"):
        fetch(world, 2, "0" * 64)


class Later:
    """Does the work that it is given when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.work: list[Callable[[], None]] = []

    def fetches(self, world: World) -> Fetches:
        """Return fetches that this runs."""
        return Fetches(library=world.follower.fetches.library, run=self.work.append, clock=lambda: self.now)

    def do(self) -> None:
        """Do all of it."""
        while self.work:
            self.work.pop(0)()


def test_a_version_on_its_way_holds_nobody_up(world: World) -> None:
    """Whoever asks is told to come again, one thread fetches, and then the version is there."""
    world.publish(3)
    later = Later()
    fetches = later.fetches(world)
    moved: list[int] = []
    assert fetches.ask("cars", 3, digest=None, moved=moved.append) is None
    assert fetches.ask("cars", 3, digest=None, moved=moved.append) is None
    assert len(later.work) == 1
    later.do()
    found = fetches.ask("cars", 3, digest=None, moved=moved.append)
    assert found is not None
    assert found.source == "store"
    assert sum(moved) > 0


def test_a_silent_store_is_told(world: World) -> None:
    """After a minute without a byte the version has failed, and no second thread waits beside the first."""
    world.publish(3)
    later = Later()
    fetches = later.fetches(world)
    fetches.ask("cars", 3, digest=None, moved=lambda _: None)
    later.now += SILENCE_S
    for _ in range(3):
        with pytest.raises(StoreError, match="has not moved a byte"):
            fetches.ask("cars", 3, digest=None, moved=lambda _: None)
    assert len(later.work) == 1
    later.do()
    assert fetches.ask("cars", 3, digest=None, moved=lambda _: None) is not None


def test_what_nobody_wants_any_more_is_broken_off(world: World) -> None:
    """A fetch ends when the plan has changed; asked for again, the version comes."""
    world.publish(3)
    later = Later()
    fetches = later.fetches(world)
    fetches.ask("cars", 3, digest=None, moved=lambda _: None)
    fetches.keep(set())
    later.do()
    with pytest.raises(AgentError, match="no longer planned"):
        fetches.ask("cars", 3, digest=None, moved=lambda _: None)
    assert fetches.ask("cars", 3, digest=None, moved=lambda _: None) is None
    later.do()
    assert fetches.ask("cars", 3, digest=None, moved=lambda _: None) is not None


def test_a_stalled_store_delays_no_drop(world: World) -> None:
    """While a version is on its way, another plan's drop is done in one step."""
    later = Later()
    world.plan(1, 2)
    world.follower.fetches = later.fetches(world)
    world.plan(2, 3)
    assert world.follower.models["cars"].versions[3].phase == "fetching"
    assert world.plan(1) is True
    assert world.triton.loaded == {"cars": {1}}


def test_a_start_waits_for_the_highest_version(world: World) -> None:
    """A lower version does not answer in the place of one that is about to come, and does if that one cannot come."""
    later = Later()
    world.follower.fetches = later.fetches(world)
    world.publish(3)
    world.plan(1, 3)
    later.work.pop(0)()
    world.plan(1, 3)
    assert world.triton.loaded == {}
    later.now += SILENCE_S + 1
    world.plan(1, 3)
    assert world.triton.loaded == {"cars": {1}}
