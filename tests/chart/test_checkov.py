"""A second opinion on the objects' security: checkov's policies, without the network."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.cases import ALL
from tests.chart.conftest import lack
from tests.chart.engines import Library
from tests.image.ground import Missing

# Every finding that stays, and why. The pod of `helm test` has reasons of its own: it lives for a second.
ACCEPTED = {
    (
        "CKV_K8S_11",
        "Deployment",
    ): "A CPU limit throttles the server in the middle of a batch; the request is the bound.",
    ("CKV_K8S_11", "Pod"): "Likewise.",
    (
        "CKV_K8S_35",
        "Deployment",
    ): "Triton takes the key of its restricted APIs as an argument only, so not from a file.",
    ("CKV_K8S_40", "Deployment"): "1000 is the image's user; runAsUser: null lets the platform choose a high one.",
    ("CKV_K8S_40", "Pod"): "Likewise.",
    ("CKV_K8S_8", "Pod"): "It ends by itself, and at a deadline: nothing to probe.",
    ("CKV_K8S_9", "Pod"): "No Service sends it anything.",
    ("CKV2_K8S_6", "Pod"): "It listens on no port; the server's policy lets it in.",
}
# All flags, with the chart's own resources, and without what is all the user's.
_FOREIGN = {"resources", "initContainers", "extraContainers", "extraObjects"}
DEFAULT_RESOURCES = {name: value for name, value in ALL.items() if name not in _FOREIGN}


@pytest.fixture(scope="module")
def checkov() -> str:
    """Give the program, which needs an environment of its own: it pins an older boto3."""
    found = os.environ.get("CHECKOV") or shutil.which("checkov")
    if not found:
        lack(Missing("no checkov on PATH or in CHECKOV; `nox -s chart` installs it"))
    return found


def _findings(checkov: str, path: Path) -> set[tuple[str, str]]:
    """Return check and kind of each failure."""
    done = subprocess.run(
        [checkov, f"--file={path}", "--framework=kubernetes", "--output=json", "--skip-download"],
        # An address where nothing listens: should it ask the network after all, it fails.
        env={"PATH": os.environ.get("PATH", ""), "HOME": str(path.parent), "HTTPS_PROXY": "http://127.0.0.1:9"},
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    results = json.loads(done.stdout)["results"]
    assert results["parsing_errors"] == []
    return {(check["check_id"], check["resource"].partition(".")[0]) for check in results["failed_checks"]}


@pytest.mark.timeout(150)
def test_checkov_finds_only_what_we_accept(library: Library, checkov: str, tmp_path: Path) -> None:
    """With all flags nothing is found but what stands above with its reason, and all of that still is."""
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(library.render(DEFAULT_RESOURCES).manifests), encoding="utf-8")
    assert _findings(checkov, path) == ACCEPTED.keys()


@pytest.mark.timeout(150)
def test_checkov_is_awake(library: Library, checkov: str, tmp_path: Path) -> None:
    """A server that may write to its root and gain rights is found."""
    rendered = library.render(ALL)
    rendered.container["securityContext"] = {"privileged": True}
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump_all(rendered.manifests), encoding="utf-8")
    found = _findings(checkov, path)
    assert {("CKV_K8S_16", "Deployment"), ("CKV_K8S_22", "Deployment")} <= found
