"""What tune-gpu says where it cannot measure, and compare where it cannot compare."""

from pathlib import Path
from typing import Any

import pytest
from invoke import Context

from scripts.tasks.measuring import compare, tune_gpu
from triton_sdk.errors import LocalServerError


@pytest.mark.parametrize(
    ("model", "words"),
    [("pets", "tune-gpu measures on a GPU, and none can be used here. No driver"), ("cats", "and cats is not")],
)
def test_without_a_gpu_or_a_model_it_says_so(
    model: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message, and nothing is measured or written."""

    def nothing() -> None:
        raise LocalServerError("No driver.")

    monkeypatch.setattr("triton_sdk.local.find_driver", nothing)
    (tmp_path / "pets" / "1").mkdir(parents=True)
    with pytest.raises(SystemExit):
        tune_gpu(Context(), model=model, repository=str(tmp_path))
    printed = capsys.readouterr()
    assert words in " ".join(f"{printed.out}{printed.err}".split())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1", "pets"]


ASKED = {"model": "pets", "baseline": "1", "candidate": "2"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({}, "What do you want to compare? For example: invoke compare --model"),
        (ASKED, "What do you want to compare?"),
        (ASKED | {"images": ".", "candidate": "two"}, "--candidate takes a whole number from 1 on"),
        (ASKED | {"images": ".", "candidate": "1"}, "both say version 1: give two versions"),
        (ASKED | {"images": "nowhere"}, "--images HERE/nowhere cannot be read"),
        (ASKED | {"images": ".", "max_loss": "5"}, "--max-loss takes a number from 0 to 1"),
        (ASKED | {"images": ".", "callers": "-1"}, "--callers takes a whole number from 0 to 256"),
        (ASKED | {"images": ".", "report": "."}, "--report HERE is a folder"),
        (ASKED | {"images": ".", "gpu": True}, "--gpu belongs to --local"),
        (ASKED | {"images": ".", "local": True, "url": "a"}, "give one of the three"),
        (ASKED | {"images": ".", "labels": "nowhere"}, "Cannot read the labels in 'HERE/nowhere'"),
        (ASKED | {"images": ".", "model": "../pets"}, "--model '../pets' cannot name a model"),
        (ASKED | {"images": ".", "local": True}, "No model version is packaged in HERE/models"),
        (ASKED | {"images": "empty", "local": True}, "--images HERE/empty: there is no picture in it"),
    ],
)
def test_compare_refuses_before_it_asks(
    flags: dict[str, Any],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One message with exit status 1, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.jpg").touch()
    with pytest.raises(SystemExit) as ended:
        compare(Context(), repository="models", **flags)
    assert ended.value.code == 1
    assert words.replace("HERE", str(tmp_path)) in " ".join(capsys.readouterr().err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "empty"]
