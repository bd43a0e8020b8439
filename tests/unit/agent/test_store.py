"""The model store in a folder and in S3: what is published whole, what is refused."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import moto
import pytest

from scripts.agent import files, s3
from scripts.agent.errors import StoreError, TakenError
from scripts.agent.folder import Folder, folder_of
from scripts.agent.s3 import Bucket, bucket_of
from scripts.agent.store import Objects, Store, StoredVersion

SHARED = frozenset({"config.pbtxt", "labels.txt"})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model's folder with version 3."""
    folder = tmp_path / "cars"
    (folder / "3" / "inner").mkdir(parents=True)
    (folder / "3" / "model.onnx").write_bytes(b"weights" * 1000)
    (folder / "3" / "inner" / "more").write_bytes(b"")
    (folder / "config.pbtxt").write_text('name: "cars"\n', encoding="utf-8")
    (folder / "labels.txt").write_text("a\nb\n", encoding="utf-8")
    return folder


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Objects]:
    """Return an empty store of each kind."""
    if request.param == "folder":
        (tmp_path / "store").mkdir()
        yield Folder(tmp_path / "store")
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="models")
        yield Bucket(client, "models", "team/")


def stored(model: Path, version: int = 3) -> StoredVersion:
    """Describe a version of *model*."""
    return StoredVersion(
        model="cars", version=version, files=files.scan(model / str(version)), shared=files.scan(model, SHARED)
    )


def test_a_published_version_comes_back(objects: Objects, model: Path, tmp_path: Path) -> None:
    """Every byte of the version's files is fetched, and its manifest says the same as before."""
    made = stored(model)
    moved: list[int] = []
    assert Store(objects).publish(made, model, moved.append) is True
    assert sum(moved) == sum(file.size for file in (*made.files.values(), *made.shared.values()))
    found = Store(objects).find("cars", 3)
    assert found == made
    Store(objects).fetch(made, tmp_path / "back", lambda _: None)
    assert files.scan(tmp_path / "back") == made.files
    assert (Store(objects).models(), Store(objects).versions("cars")) == (["cars"], [3])


def test_publishing_again_moves_nothing(objects: Objects, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same version under the same number is there already; nothing is uploaded."""
    Store(objects).publish(stored(model), model, lambda _: None)
    monkeypatch.setattr(type(objects), "put", lambda *_: pytest.fail("uploaded again"))
    assert Store(objects).publish(stored(model), model, lambda _: None) is False


def test_a_number_keeps_its_bytes(objects: Objects, model: Path) -> None:
    """Other bytes under a number that is taken are refused, and what is there stays."""
    first = stored(model)
    Store(objects).publish(first, model, lambda _: None)
    (model / "3" / "model.onnx").write_bytes(b"others")
    with pytest.raises(TakenError, match="A published version never changes"):
        Store(objects).publish(stored(model), model, lambda _: None)
    assert Store(objects).find("cars", 3) == first


def test_a_version_is_not_there_before_its_manifest(objects: Objects, model: Path) -> None:
    """A publication that was broken off is no version, and the next one goes on."""
    made = stored(model)
    file = made.files["model.onnx"]
    objects.put(f"blobs/{file.sha256[:2]}/{file.sha256}", model / "3" / "model.onnx", lambda _: None)
    assert (Store(objects).versions("cars"), Store(objects).find("cars", 3)) == ([], None)
    assert Store(objects).publish(made, model, lambda _: None) is True


def test_a_damaged_object_is_not_taken(objects: Objects, model: Path, tmp_path: Path) -> None:
    """Other bytes under a file's digest are refused, and nothing of them stays."""
    made = stored(model)
    Store(objects).publish(made, model, lambda _: None)
    file = made.files["model.onnx"]
    (tmp_path / "other").write_bytes(b"weighty" * 1000)
    objects.put(f"blobs/{file.sha256[:2]}/{file.sha256}", tmp_path / "other", lambda _: None)
    with pytest.raises(StoreError, match=r"is damaged: it holds 7000 bytes"):
        Store(objects).fetch(made, tmp_path / "back", lambda _: None)
    assert not (tmp_path / "back" / "model.onnx").exists()


def test_a_missing_object_is_told(objects: Objects, model: Path, tmp_path: Path) -> None:
    """The message says what to do."""
    with pytest.raises(StoreError, match=r"is missing\. Publish the version again"):
        Store(objects).fetch(stored(model), tmp_path / "back", lambda _: None)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "", ".", "a//b", "a\\b", "a\0b"])
def test_a_path_that_leaves_the_folder_is_refused(objects: Objects, model: Path, name: str) -> None:
    """A manifest whose file lies elsewhere is no manifest."""
    data = json.loads(stored(model).to_json())
    data["files"][name] = data["files"].pop("model.onnx")
    objects.create("models/cars/3/manifest.json", json.dumps(data).encode())
    with pytest.raises(StoreError, match="no path below the version's folder"):
        Store(objects).find("cars", 3)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"schema": 2}, "has schema 2"),
        ({"model": "trucks"}, "is the manifest of trucks version 3"),
        ({"version": 4}, "is the manifest of cars version 4"),
        ({"digest": "00" * 32}, "its digest does not belong to its files"),
        ({"files": {}}, "names no files"),
        ({"files": {"a": {"sha256": "x", "size": 1}}}, "has no SHA-256"),
        ({"files": {"a": {"sha256": "ab" * 32, "size": -1}}}, "has no size"),
        ({"files": {"a": {"sha256": "ab" * 32, "size": True}}}, "has no size"),
    ],
)
def test_a_damaged_manifest_is_told(objects: Objects, model: Path, change: dict[str, object], fault: str) -> None:
    """The message names the manifest and what is wrong with it."""
    data = json.loads(stored(model).to_json()) | change
    objects.create("models/cars/3/manifest.json", json.dumps(data).encode())
    with pytest.raises(StoreError, match=f"models/cars/3/manifest.json.*{fault}"):
        Store(objects).find("cars", 3)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 100_000])
def test_what_is_no_manifest_is_told(objects: Objects, text: bytes) -> None:
    """Any other text under a manifest's name is a message."""
    objects.create("models/cars/3/manifest.json", text)
    with pytest.raises(StoreError, match="is no manifest of a published version"):
        Store(objects).find("cars", 3)


def test_a_manifest_without_end_is_not_read(objects: Objects, tmp_path: Path) -> None:
    """Only so many bytes are read as any manifest has."""
    (tmp_path / "long").write_bytes(b" " * (2**20 + 1))
    objects.put("models/cars/3/manifest.json", tmp_path / "long", lambda _: None)
    with pytest.raises(StoreError, match="more than 1048576 bytes"):
        Store(objects).find("cars", 3)


def test_the_second_of_two_creations_is_told(objects: Objects) -> None:
    """An object that is there is not overwritten."""
    assert [objects.create("models/x", b"1"), objects.create("models/x", b"2")] == [True, False]
    assert objects.get("models/x", most=9) == b"1"


def test_a_link_in_the_store_is_refused(model: Path, tmp_path: Path) -> None:
    """Neither a file nor a folder of the store may lead out of it."""
    root = tmp_path / "store"
    root.mkdir()
    made = Store(Folder(root))
    made.publish(stored(model), model, lambda _: None)
    shutil.move(root / "models" / "cars", tmp_path / "elsewhere")
    (root / "models" / "cars").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        made.find("cars", 3)
    assert made.models() == []


def test_a_store_that_is_not_there_is_told(tmp_path: Path, model: Path) -> None:
    """An unmounted folder is not an empty store."""
    away = Store(Folder(tmp_path / "away"))
    for ask in (away.models, lambda: away.find("cars", 3), lambda: away.publish(stored(model), model, lambda _: None)):
        with pytest.raises(StoreError, match=r"is not there\. Mount what holds it, or .*: invoke create-store"):
            ask()
    assert not (tmp_path / "away").exists()


def test_an_unfinished_write_leaves_nothing(tmp_path: Path) -> None:
    """A disk that fills up leaves no half object."""
    root = tmp_path / "store"
    root.mkdir()
    (tmp_path / "source").write_bytes(b"x" * 10)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left"):
        Folder(root).put("blobs/ab/x", tmp_path / "source", full)
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_a_version_has_neither_links_nor_pipes(model: Path) -> None:
    """What is neither file nor folder is no part of a version."""
    (model / "3" / "link").symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match="neither a file nor a folder"):
        files.scan(model / "3")


@pytest.mark.parametrize("address", ["file://server/x", "file:", "file:///", "file:x"])
def test_an_address_without_a_folder_is_told(address: str) -> None:
    """The message shows how a folder is written."""
    with pytest.raises(StoreError, match="file:///FOLDER"):
        folder_of(address)


def test_addresses_name_folders_and_buckets() -> None:
    """Each kind reads its own addresses and leaves the others."""
    assert folder_of("file:///mnt/my%20models") == Path("/mnt/my models")
    assert bucket_of("s3://models/team/a/") == ("models", "team/a/")
    assert bucket_of("s3://models") == ("models", "")
    assert (folder_of("s3://models"), bucket_of("file:///x")) == (None, None)
    with pytest.raises(StoreError, match="names no bucket"):
        bucket_of("s3:///x")


def test_what_s3_refuses_is_one_message(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that is not there is told by its address."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        bucket = Store(s3.Bucket(boto3.client("s3", region_name="us-east-1"), "nowhere", ""))
        with pytest.raises(StoreError, match=r"The store s3://nowhere: cannot .*NoSuchBucket"):
            bucket.publish(stored(model), model, lambda _: None)
