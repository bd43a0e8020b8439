"""The agent's layer: agent and judge, and of boto3's packages what it takes to read a store."""

import tarfile
from pathlib import Path

import pytest

from scripts.host.errors import TaskFailure
from scripts.host.root import ROOT
from scripts.image import agent
from scripts.image.tarball import MTIME
from tests.doubles.runners import Script

NEEDED = (
    *("boto3/session.py", "boto3-1.dist-info/METADATA", "boto3-1.dist-info/licenses/LICENSE", "six.py"),
    *("botocore/cacert.pem", "botocore/data/endpoints.json", "botocore/data/s3/2006-03-01/service-2.json.gz"),
    "botocore/data/sts/2011-06-15/service-2.json.gz",
)
LEFT_OUT = (
    *("bin/jp.py", "boto3/data/s3/resources-1.json", "boto3/examples/s3.rst", "boto3-1.dist-info/RECORD"),
    *("botocore/data/ec2/2016-11-15/service-2.json.gz", "botocore/data/sso/2019-06-10/service-2.json.gz"),
)


def test_the_layer_has_the_agent_and_what_it_needs(tmp_path: Path) -> None:
    """No program, no example, and no service but S3 and STS; every module of the agent, and the licences."""
    for name in (*NEEDED, *LEFT_OUT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = {entry.name.removeprefix(f"{agent.FOLDER}/") for entry in agent.entries(tmp_path)}
    modules = {f"scripts/agent/{path.name}" for path in agent.SOURCES.glob("*.py")}
    assert "scripts/agent/__main__.py" in modules
    assert {*NEEDED, *modules} <= names
    assert all(name.startswith("scripts/") for name in names - {*NEEDED})


def test_the_layer_has_what_the_judge_imports() -> None:
    """With the packages that its modules are in, and none of the tasks, of what models are made with, of the SDK."""
    found = {path.relative_to(ROOT).as_posix() for path in agent.imported(agent.JUDGE)}
    assert {"scripts/__init__.py", "scripts/canary/__main__.py", "scripts/canary/judge.py"} <= found
    assert {"scripts/versions/__init__.py", "scripts/versions/inside.py"} <= found
    rooms = {name.split("/")[1] for name in found - {"scripts/__init__.py"}}
    assert rooms == {"agent", "canary", "cluster", "host", "server", "versions"}
    assert "scripts/versions/release.py" not in found, "it is for a laptop with helm"


def test_an_import_of_a_package_takes_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a function too; what is not ours is left out, and two that import each other end."""
    monkeypatch.setattr(agent, "ROOT", tmp_path)
    files = {"a/b.py": "import os\nfrom scripts.c import d\n", "a/__init__.py": "", "__init__.py": ""}
    files |= {"c/__init__.py": "def f():\n    import scripts.e, attrs\n", "c/d.py": "", "e.py": "import scripts.a.b\n"}
    for name, text in {**files, "other.py": ""}.items():
        (tmp_path / "scripts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scripts" / name).write_text(text, encoding="utf-8")
    found = agent.imported("scripts.a.b")
    assert {path.relative_to(tmp_path / "scripts").as_posix() for path in found} == files.keys()


def test_every_package_has_a_hash_and_is_for_any_machine(tmp_path: Path) -> None:
    """What is unpacked is what was chosen, and one layer fits any Python and processor."""
    runner = Script({"": (0, "")})
    agent.stage(tmp_path / "agent.tar", runner=runner, progress=lambda _: None)
    (command,) = runner.ran
    assert {"--require-hashes", "--no-deps", "--platform=any", "--abi=none"} <= set(command.argv)
    listed = agent.REQUIREMENTS.read_text(encoding="utf-8").replace("\\\n", " ")
    packages = [line for line in listed.splitlines() if line and not line.startswith("#")]
    assert {line.partition("==")[0] for line in packages} == {
        *("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3", "attrs")
    }
    assert all("--hash=sha256:" in line for line in packages)
    with tarfile.open(tmp_path / "agent.tar") as archive:
        assert {member.mtime for member in archive.getmembers()} == {MTIME}


def test_packages_that_cannot_be_fetched_are_one_message(tmp_path: Path) -> None:
    """What pip said last, and where to look."""
    runner = Script({"": (1, "ERROR: No matching distribution")})
    with pytest.raises(TaskFailure, match=r"(?s)No matching distribution.*package index"):
        agent.stage(tmp_path / "agent.tar", runner=runner, progress=lambda _: None)
