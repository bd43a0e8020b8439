"""The ways in which an owner gives pictures, and what is wrong with some."""

import json
from pathlib import Path

import numpy as np
import pytest

from scripts.host.errors import TaskFailure
from scripts.packaging.trial.pictures import check, read

NAMES = ("Red car", "dog", "cat")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with five files that are called pictures, two of them in folders of classes."""
    for name in ("a.jpg", "b.PNG", "notes.txt", "red_car/c.jpg", "CAT/d.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_folders_are_named_by_class(folder: Path) -> None:
    """Names count without case and with underscores for blanks; loose pictures beside them have no class."""
    found = read(folder, names=NAMES, classes=3)
    assert [path.name for path in found.paths] == ["d.webp", "c.jpg"]
    assert found.labels is not None
    assert found.labels.tolist() == [2, 0]


def test_folders_may_be_named_by_index(folder: Path) -> None:
    """Without names, or beside them, an index is understood."""
    (folder / "CAT").rename(folder / "2")
    (folder / "red_car").rename(folder / "0")
    found = read(folder, names=None, classes=3)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 2]


def test_as_many_folders_as_classes_are_taken_in_order(folder: Path) -> None:
    """Without names, two folders for two classes are numbered as torchvision and Keras do; for three they are asked."""
    found = read(folder, names=None, classes=2)
    assert found.labels is not None
    assert (found.ordered, [path.name for path in found.paths], found.labels.tolist()) == (
        True,
        ["d.webp", "c.jpg"],
        [0, 1],
    )
    with pytest.raises(TaskFailure, match="--labels FILE"):
        read(folder, names=None, classes=3)


def test_a_folder_of_pictures_has_no_classes(folder: Path) -> None:
    """Loose pictures alone are taken without classes, and other files are left out."""
    for inner in ("red_car", "CAT"):
        (next((folder / inner).iterdir())).unlink()
    found = read(folder, names=NAMES, classes=3)
    assert ([path.name for path in found.paths], found.labels, found.outputs) == (["a.jpg", "b.PNG"], None, None)


@pytest.mark.parametrize("title", ["", "file,label\n"])
def test_a_csv_names_a_picture_and_its_class(folder: Path, title: str) -> None:
    """With or without a line of titles, relative to the list, quoted where there is a comma."""
    (folder / "list.csv").write_text(f'{title}a.jpg,dog\n\n"b.PNG",1\nCAT/d.webp,Red car\n', encoding="utf-8-sig")
    found = read(folder / "list.csv", names=NAMES, classes=3)
    assert found.labels is not None
    assert ([path.name for path in found.paths], found.labels.tolist()) == (["a.jpg", "b.PNG", "d.webp"], [1, 1, 0])


@pytest.mark.parametrize("kind", ["json", "npz"])
def test_the_owner_s_outputs_are_taken(folder: Path, kind: str) -> None:
    """Probabilities by file, as JSON or as arrays."""
    rows = {"a.jpg": [0.7, 0.2, 0.1], "b.PNG": [0.0, 0.0, 1.0]}
    path = folder / f"mine.{kind}"
    if kind == "json":
        path.write_text(json.dumps(rows))
    else:
        np.savez(path, files=np.array(list(rows)), outputs=np.array(list(rows.values()), np.float32))
    found = read(path, names=None, classes=3)
    assert found.outputs is not None
    assert [path.name for path in found.paths] == ["a.jpg", "b.PNG"]
    np.testing.assert_allclose(found.outputs, list(rows.values()), atol=1e-7)


def test_what_the_client_reads_is_a_picture(tmp_path: Path) -> None:
    """TIFF, AVIF and HEIC as well as JPEG."""
    for suffix in ("tif", "TIFF", "avif", "heic", "heif"):
        (tmp_path / f"a.{suffix}").touch()
    assert len(read(tmp_path, names=None, classes=3).paths) == 5


def test_a_folder_without_pictures_is_refused_before_the_work(folder: Path) -> None:
    """Before minutes of packaging, and before a server is started to compare on; pictures may lie in a class's."""
    check(folder)
    for name in ("a.jpg", "b.PNG", "red_car/c.jpg"):
        (folder / name).unlink()
    check(folder)
    (folder / "CAT" / "d.webp").unlink()
    with pytest.raises(TaskFailure, match="there is no picture in it"):
        check(folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone", None, "no such folder or file"),
        ("list.txt", b"a.jpg dog", "neither a folder"),
        ("list.csv", b"a.jpg\n", "has no class"),
        ("list.csv", b"a.jpg,horse\n", "'horse' is neither the name of one class nor an index from 0 to 2"),
        ("list.csv", b"a.jpg,3\n", "'3' is neither"),
        ("list.csv", b"a.jpg,dog\ngone.jpg,dog\n", r"gone\.jpg, which is not there"),
        ("list.csv", b"\xff\xfe\x00", "cannot be read as CSV"),
        ("list.csv", b"", "no picture in it"),
        ("mine.json", b"{", "cannot be read as JSON"),
        ("mine.json", b"[1]", "no outputs by file"),
        ("mine.json", b'{"a.jpg": [0.5, 0.5]}', "no list of 3 probabilities"),
        ("mine.json", b'{"a.jpg": [9.0, -3.0, 1.0]}', "Give probabilities"),
        ("mine.json", b'{"a.jpg": "sure"}', "no list of 3"),
        ("mine.json", b'{"gone.jpg": [1, 0, 0]}', "which is not there"),
        ("mine.npz", b"PK", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_told(folder: Path, name: str, content: bytes | None, words: str) -> None:
    """Each is one message that names the file and says what was expected."""
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(TaskFailure, match=words):
        read(folder / name, names=NAMES, classes=3)


def test_a_folder_of_an_unknown_class_is_refused(folder: Path) -> None:
    """Skipping it would leave pictures out in silence."""
    (folder / "horse").mkdir()
    (folder / "horse" / "e.jpg").write_bytes(b"e")
    with pytest.raises(TaskFailure, match=r"horse.*Classes are Red car, dog, cat\. Name it so, or give the names with"):
        read(folder, names=NAMES, classes=3)
