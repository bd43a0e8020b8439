"""What tune-gpu says where it cannot measure."""

from pathlib import Path

import pytest
from invoke import Context

from scripts.tasks.measuring import tune_gpu
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
