"""The bound that a comparison gives to a canary, and files that give none."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from scripts.canary.compared import Compared, told
from scripts.canary.settings import Settings
from scripts.compare.verdict import Limits
from scripts.host.errors import TaskFailure
from tests.shown import Shown
from tests.test_pages import check
from tests.unit.canary.scene import SETTINGS, Behaviour, Scene
from tests.unit.compare.scene import comparison, pair

OLD, NEW = "a" * 64, "b" * 64
Change = Callable[[dict[str, Any]], object]


def nothing(_: dict[str, Any]) -> None:
    """Change nothing."""


def written(folder: Path, change: Change = nothing, *, pictures: int = 137, limits: Limits | None = None) -> Path:
    """Write what compare prints of versions 2 and 3 of cars, which answer alike, after a *change*."""
    pairs = [pair(0, 0, sure=0.95)] * pictures
    found = attrs.evolve(comparison(pairs, limits=limits), model="cars", versions=(2, 3), digests={2: OLD, 3: NEW})
    data = json.loads(found.as_json())
    change(data)
    path = folder / "compared.json"
    path.write_text(json.dumps(data))
    return path


def test_what_compare_prints_gives_the_bound(tmp_path: Path) -> None:
    """With the figures that it comes from; the other settings stay."""
    found = Compared.read(written(tmp_path))
    assert (found.versions, found.digests, found.changed, found.sure) == ((2, 3), (OLD, NEW), 0, 137)
    how = found.bounding(Settings(), model="cars", version=3)
    assert how == attrs.evolve(Settings(), limits=attrs.evolve(Settings().limits, most_disagreement=0.0496))
    assert told(how, found, stable=2) == (
        "Of the images of which version 2 is 90% sure, at most 4.96% may get another class. That comes from "
        f"{tmp_path}/compared.json: 0 of 137 such pictures got another class, so up to 3.31% of others like them do "
        "(with 99% certainty). The limit is 1.5 times that, and at least one point more."
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "most_disagreement = 0.05",
            "at most 5% may get another class: most_disagreement of canary.toml",
        ),
        ("most_disagreement = 1", "are not judged: most_disagreement = 1 allows every answer"),
        ("[top]", "are not judged: with shadow = 0 nothing is compared"),
    ],
)
def test_without_a_comparison_the_configuration_says_it(text: str, words: str) -> None:
    """Whatever it says, that is told."""
    text = "shadow = 0" if text == "[top]" else f"[limits]\n{text}"
    assert words in told(Settings.parse(text, where="f"), None, stable=2)


def set_to(*path: str | int, to: Any) -> Change:
    """Return what puts a value somewhere into a comparison."""

    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_to("versions", to=[]),
        set_to("versions", 0, "version", to="two"),
        set_to("versions", 0, "sha256", to=7),
        set_to("model", to=None),
        set_to("exit_status", to=None),
        set_to("bound_for_canary", to=None),
        set_to("bound_for_canary", "most_disagreement", to="all"),
        set_to("bound_for_canary", "most_disagreement", to=float("nan")),
        set_to("bound_for_canary", "most_disagreement", to=1.5),
        set_to("bound_for_canary", "sure_pictures", to=None),
        lambda data: data.pop("bound_for_canary"),
        lambda data: data["bound_for_canary"].pop("upper_limit"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, change: Change) -> None:
    """One message, with the command that makes a right one."""
    path = written(tmp_path, change)
    with pytest.raises(TaskFailure, match=r"^--compared .* is not what `invoke compare --json` .* prints.*invoke comp"):
        Compared.read(path)


@pytest.mark.parametrize("text", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 100_000, b'{"versions": [1, 2]}'])
def test_a_file_that_is_no_comparison_is_refused(tmp_path: Path, text: bytes) -> None:
    """Also the empty one that a shell leaves if compare has failed."""
    path = tmp_path / "compared.json"
    path.write_bytes(text)
    with pytest.raises(TaskFailure, match="is not what `invoke compare --json` of this release prints"):
        Compared.read(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """One that is not there, and a folder."""
    with pytest.raises(TaskFailure, match=r"--compared .*none cannot be read: No such file"):
        Compared.read(tmp_path / "none")
    with pytest.raises(TaskFailure, match="cannot be read: Is a directory"):
        Compared.read(tmp_path)


@pytest.mark.parametrize(("limits", "status"), [(Limits(disagreement=0.02), 3), (Limits(disagreement=0.0), 0)])
def test_a_comparison_that_could_not_tell_gives_no_bound(tmp_path: Path, limits: Limits, status: int) -> None:
    """What is open is no pass; what is kept is one."""
    path = written(tmp_path, limits=limits)
    if not status:
        assert Compared.read(path).most == 0.0496
        return
    with pytest.raises(TaskFailure, match=r"could not tell \(exit status 3\)"):
        Compared.read(path)


def test_too_few_pictures_give_no_bound(tmp_path: Path) -> None:
    """How many would is said."""
    with pytest.raises(TaskFailure, match=r"12 of its pictures are ones of which version 2 .* about 90 such pictures"):
        Compared.read(written(tmp_path, pictures=12))


@pytest.mark.parametrize(("model", "version"), [("pets", 3), ("cars", 4)])
def test_a_comparison_of_something_else_is_refused(tmp_path: Path, model: str, version: int) -> None:
    """Of another model or candidate; the command for the right one is said."""
    found = Compared.read(written(tmp_path))
    words = rf"is about version 3 of cars, .* tries version {version} of {model}\. .* --candidate {version} --images"
    with pytest.raises(TaskFailure, match=words) as told:
        found.bounding(Settings(), model=model, version=version)
    command = str(told.value).partition("Compare that one: ")[2]
    check(Shown(place="the message", text=command))
    assert shlex.split(command)[-2:] == [">", "compared.json"]


def test_without_a_shadow_a_bound_is_of_no_use(tmp_path: Path) -> None:
    """That is said before any server is asked."""
    found = Compared.read(written(tmp_path))
    with pytest.raises(TaskFailure, match="shadow = 0 says that nobody compares answers: set shadow"):
        found.bounding(attrs.evolve(Settings(), shadow=0.0), model="cars", version=3)


def test_the_bytes_have_to_be_those_that_were_compared(tmp_path: Path) -> None:
    """As far as both are known; a candidate that is not published has to be the one that was compared."""
    found = Compared.read(written(tmp_path))
    assert found.candidate_digest(None) == found.candidate_digest(NEW) == NEW
    with pytest.raises(TaskFailure, match=r"other bytes of version 3 of cars \(sha256 bbbbbbbbbbbb\) than the store"):
        found.candidate_digest(OLD)
    found.check_stable(2, None)
    found.check_stable(2, OLD)
    with pytest.raises(TaskFailure, match=r"other bytes of version 2 of cars .* than the server has"):
        found.check_stable(2, NEW)
    unknown = attrs.evolve(found, digests=(None, None))
    assert unknown.candidate_digest(OLD) == OLD
    unknown.check_stable(2, NEW)


def known(scene: Scene, pictures: int = 137) -> Compared:
    """Return a comparison of the versions of a scene."""
    return attrs.evolve(Compared.read(written(scene.folder, pictures=pictures)), digests=(None, None))


def test_a_canary_goes_by_the_bound_and_says_so(scene: Scene) -> None:
    """Three of a hundred answers change: beyond what the configuration allows, and within what compare has seen."""
    found = known(scene)
    scene.served.behaves[3] = Behaviour(flips=0.03)
    limits = found.bounding(SETTINGS, model="cars", version=3).limits
    done = scene.run(limits=limits, compared=found)
    assert done.verdict == "promoted"
    begin = next(place for place, line in enumerate(scene.said) if line.startswith("Step 1"))
    assert any("at most 4.96% may get another class. That comes from" in line for line in scene.said[:begin])
    assert "0 of 137 such pictures" in json.loads(done.as_json())["disagreement"]


def test_without_a_comparison_the_same_version_is_aborted(scene: Scene) -> None:
    """By the configuration, which is named."""
    scene.served.behaves[3] = Behaviour(flips=0.08)
    done = scene.run()
    assert (done.verdict, "The limit is 2.0%" in done.why) == ("aborted", True)
    assert "at most 2% may get another class: most_disagreement" in json.loads(done.as_json())["disagreement"]


def test_a_comparison_with_another_version_than_callers_get_is_refused(scene: Scene) -> None:
    """Before anything changes."""
    found = attrs.evolve(known(scene), versions=(1, 3))
    with pytest.raises(TaskFailure, match=r"with version 1, and callers get version 2\. .* --baseline 2 --candidate 3"):
        scene.run(compared=found)
    assert scene.served.posted == []
