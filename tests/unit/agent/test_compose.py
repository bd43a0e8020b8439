"""The folder that Triton serves."""

from pathlib import Path

import pytest

from scripts.agent.compose import Served
from scripts.agent.plan import CANDIDATE, TRIAL


@pytest.mark.parametrize("ending", ["", CANDIDATE, TRIAL])
@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ((), "image"),
        (("gpu",), "gpu"),
        (("gpu", "release"), "release"),
        (("release",), "release"),
        (("other",), "image"),
    ],
)
def test_the_releases_configuration_wins_over_the_images(
    tmp_path: Path, there: tuple[str, ...], taken: str, ending: str
) -> None:
    """The release's own comes first, then the image's for GPUs, then its config.pbtxt; for a version on trial too."""
    shared, overrides = tmp_path / "image" / "cars", tmp_path / "overrides"
    (shared / "configs").mkdir(parents=True)
    overrides.mkdir()
    files = {
        "gpu": shared / "configs" / "gpu.pbtxt",
        "release": overrides / "cars.pbtxt",
        "other": overrides / "car.pbtxt",
    }
    (shared / "config.pbtxt").write_text('default_model_filename: "image"\n', encoding="utf-8")
    for name in there:
        files[name].write_text(f'default_model_filename: "{name}"\n', encoding="utf-8")
    served = Served(folder=tmp_path / "served", work=tmp_path / "work", config_name="gpu", overrides=overrides)
    served.create()
    served.put_model(f"cars{ending}", shared=shared, versions={1: shared / "1"})
    text = (served.folder / f"cars{ending}" / "config.pbtxt").read_text(encoding="utf-8")
    assert f'default_model_filename: "{taken}"' in text
    assert f'name: "cars{ending}"' in text
    assert served.policy(f"cars{ending}") == (1,)
