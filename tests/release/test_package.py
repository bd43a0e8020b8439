"""What `nox -s release` has built in dist/: complete, nothing too much, of the right version, and alive alone."""

import email
import os
import subprocess
import tarfile
import venv
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from triton_sdk import __version__

ROOT = Path(__file__).parent.parent.parent
DIST = Path(os.environ.get("TRITON_TEST_DIST", ROOT / "dist"))
TAG = os.environ.get("TRITON_TEST_TAG", "")


def only(pattern: str) -> Path:
    """Return the one file of dist/ that fits *pattern*."""
    found = list(DIST.glob(pattern))
    assert len(found) == 1, f"{DIST} has {len(found)} files {pattern}: nox -s release makes them"
    return found[0]


@pytest.fixture(scope="module")
def wheel() -> zipfile.ZipFile:
    """Return the wheel."""
    return zipfile.ZipFile(only("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """Return what the wheel says of itself."""
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def in_git(*paths: str) -> set[str]:
    """Return the files below *paths* that git knows."""
    listed = subprocess.run(["git", "ls-files", "-z", *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(filter(None, listed.stdout.split("\0")))


def test_the_wheel_has_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Each file of the SDK that git knows is in it; no test, task, chart or file that lay around is."""
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == in_git("triton_sdk", "triton_sdk_pytest.py")


def test_the_sources_build_the_wheel_and_hold_no_secret() -> None:
    """What the source archive has, beside its metadata, is in git: no `.env`, no model."""
    with tarfile.open(only("*.tar.gz")) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    made = {name for name in packed if ".egg-info/" in name or name == "PKG-INFO"}
    assert packed - made <= in_git()
    assert in_git("triton_sdk", "triton_sdk_pytest.py") | {"LICENSE", "README.md", "setup.cfg"} <= packed


def test_the_metadata_tell_a_stranger_what_it_is(metadata: Message) -> None:
    """Index pages show these; without one of them the page has a hole."""
    assert metadata["Version"] == __version__
    shown = ("Name", "Summary", "Author", "Keywords", "License", "Requires-Python")
    assert [name for name in shown if not metadata[name]] == []
    assert "nox -s smoke" in str(metadata.get_payload())


def test_the_tag_and_the_changelog_name_this_version() -> None:
    """The tag is `v` and the version, and is what is checked out; the changelog's first version is no draft."""
    if not TAG:
        pytest.skip("no tag was given: nox -s release -- v1.2.3")
    assert f"v{__version__}" == TAG
    heading = next(
        line for line in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines() if line[:3] == "## "
    )
    assert heading.split()[1] == __version__
    assert "unreleased" not in heading
    described = subprocess.run(
        ["git", "describe", "--exact-match", "--tags", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert described.stdout.strip() == TAG, described.stdout + described.stderr


def test_the_wheel_works_alone(tmp_path: Path) -> None:
    """In an environment with nothing else, it can be imported, and its program answers."""
    venv.create(tmp_path, with_pip=True)
    python = str(tmp_path / "bin" / "python")
    pinned = ("--constraint", str(ROOT / "constraints.txt"))
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pinned, str(only("*.whl"))], check=True)
    said = subprocess.run(
        [python, "-m", "triton_sdk", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "predict" in said.stdout
    code = "import triton_sdk; print(triton_sdk.__version__)"
    said = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == __version__
