"""Other people's files, packaged and asked: the answers are right, or what is missing is asked for."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from scripts.graph.session import Session
from scripts.host.errors import TaskFailure
from scripts.packaging.package import Source, Wishes, package
from scripts.repository import config_pbtxt
from scripts.repository.versions import PackagedVersion
from tests.doubles import colour_models
from triton_sdk.contract import ModelContract

RED, GREEN, BLUE = np.eye(3, dtype=np.uint8) * 255
Put = Callable[..., PackagedVersion]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Package a model that stands in a folder of its own, with the files that are given beside it."""

    def packaged(
        model: onnx.ModelProto, beside: dict[str, str] | None = None, *, strict: bool = False, **wishes: Any
    ) -> PackagedVersion:
        folder = tmp_path / "theirs"
        folder.mkdir(exist_ok=True)
        onnx.save_model(model, folder / "theirs.onnx")
        for name, content in (beside or {}).items():
            (folder / name).write_text(content)
        return package(
            Source.onnx(folder / "theirs.onnx"),
            model="theirs",
            repository=tmp_path / "models",
            wishes=Wishes(**wishes),
            strict=strict,
            progress=lambda _: None,
        )

    return packaged


def answer(done: PackagedVersion, colour: Any) -> NDArray[np.float32]:
    """Return the probabilities for a picture of one colour, as the packaged graph gives them."""
    contract = ModelContract.from_config(config_pbtxt.parse(done.path.parent / "config.pbtxt"))
    picture = np.broadcast_to(np.asarray(colour, np.uint8), (1, contract.height, contract.width, 3))
    scores: NDArray[np.float32] = Session(done.path / "model.onnx").scores(np.ascontiguousarray(picture))[0]
    return scores


def test_a_file_that_says_bgr_and_bytes_gets_them(put: Put) -> None:
    """Red, which was called blue: the file's own metadata turns the channels and leaves the bytes as they are."""
    done = put(colour_models.strongest_colour(gain=0.1, metadata=colour_models.BGR_BYTES))
    assert [answer(done, colour).argmax() for colour in (BLUE, GREEN, RED)] == [0, 1, 2]
    assert answer(done, RED)[2] == pytest.approx(1.0, abs=1e-6)  # logits 0, 0 and 25.5
    faint = answer(done, (30, 0, 0))
    assert faint[2] == pytest.approx(np.exp(3) / (np.exp(3) + 2), abs=1e-5)


def test_an_ultralytics_file_needs_no_flag(put: Put) -> None:
    """x/255 alone, its names, its size: pure red is 0.99991 red, and --strict has nothing to ask."""
    dims = (1, 3, colour_models.SIDE, colour_models.SIDE)
    model = colour_models.strongest_colour(gain=10, metadata=colour_models.ULTRALYTICS, softmax=True, dims=dims)
    done = put(model, strict=True)
    assert answer(done, RED)[0] == pytest.approx(np.exp(10) / (np.exp(10) + 2), abs=1e-6)
    assert (done.path.parent / "labels.txt").read_text() == "red\ngreen\nblue\n"


def test_open_height_and_width_are_asked_for_or_read(put: Put) -> None:
    """Never 224 in silence: refused with the flag; the flag decides, and so does a file beside the model."""
    model = colour_models.strongest_colour(gain=4, dims=("n", 3, "height", "width"))
    with pytest.raises(TaskFailure, match="--size 224x224"):
        put(model)
    contract = put(model, size=(48, 64)).manifest
    assert contract is not None
    assert (contract.contract.height, contract.contract.width) == (48, 64)
    beside = {"preprocessor_config.json": json.dumps({"size": {"height": 48, "width": 64}, "do_normalize": False})}
    read = put(model, beside).manifest
    assert read is not None
    assert read.preprocessing is not None
    assert read.preprocessing.size.where == "size in preprocessor_config.json"
    assert read.contract.fit == "squash"


def test_one_channel_is_served_as_pictures(put: Put) -> None:
    """A model of gray pictures takes the same pictures as all others, and sees their luma."""
    done = put(colour_models.light_or_dark(), scale=1 / 255, mean=(0.5,), std=(0.25,))
    for level in (0, 128, 255):
        value = (level / 255 - 0.5) / 0.25
        assert answer(done, (level, level, level))[0] == pytest.approx(1 / (1 + np.exp(-2 * value)), abs=1e-5)
    assert answer(done, GREEN)[0] > answer(done, RED)[0] > answer(done, BLUE)[0]


def test_an_output_is_chosen_and_another_input_is_made_a_constant(put: Put) -> None:
    """What the refusals of a model with several of them advise: --freeze, then --output."""
    model = colour_models.with_more(colour_models.strongest_colour(gain=4, metadata=colour_models.ULTRALYTICS))
    with pytest.raises(TaskFailure, match="--freeze keep_prob=VALUE"):
        put(model)
    with pytest.raises(TaskFailure, match="--output y, --output means"):
        put(model, freeze={"keep_prob": (0.5,)})
    done = put(model, freeze={"keep_prob": (0.5,)}, output="y")
    assert answer(done, RED)[0] == pytest.approx(np.exp(2) / (np.exp(2) + 2), abs=1e-5)


def test_contradictions_are_shown_and_a_flag_decides(put: Put) -> None:
    """The file says bytes and a file beside it says 0.5/0.5: neither is followed in silence."""
    model = colour_models.strongest_colour(gain=0.1, metadata=colour_models.BGR_BYTES)
    beside = {"config.json": json.dumps({"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})}
    with pytest.raises(TaskFailure, match=r"contradict.*Bgr8.*bgr.*config\.json says rgb.*--colour"):
        put(model, beside)
    with pytest.raises(TaskFailure, match=r"contradict.*NominalRange_0_255.*config\.json.*--scale, --mean and --std"):
        put(model, beside, colour="bgr")
    done = put(model, beside, colour="bgr", scale=1.0, mean=(0.0,), std=(1.0,))
    assert answer(done, RED).argmax() == 2


def test_strict_refuses_what_is_only_assumed(put: Put) -> None:
    """Each field that nothing tells is named with its flag, and with those flags it is packaged."""
    model = colour_models.strongest_colour(gain=4)
    with pytest.raises(TaskFailure, match=r"tells the colour \(rgb\), .*--colour rgb.*--labels FILE"):
        put(model, strict=True)
    put(
        model,
        strict=True,
        colour="rgb",
        mean=(0.5,),
        std=(0.5,),
        resize=40,
        interpolation="bicubic",
        fit="crop",
        labels=("red", "green", "blue"),
    )


def test_what_clients_need_stands_in_the_configuration(put: Put) -> None:
    """The second version crops and uses another filter than the first: clients are told so for that version."""
    model = colour_models.strongest_colour(gain=4)
    put(model, fit="squash", interpolation="bicubic")
    done = put(model, resize=40)
    contract = ModelContract.from_config(config_pbtxt.parse(done.path.parent / "config.pbtxt"))
    assert str(contract.framing_for(1)) == "resize 32, bicubic, squash"
    assert str(contract.framing_for(2)) == "resize 40, bilinear, crop"


def test_names_of_the_other_versions_count(put: Put) -> None:
    """A second file whose names differ from those of the model contradicts them; equal ones are no question."""
    model = colour_models.strongest_colour(gain=4)
    put(model, {"labels.txt": "red\ngreen\nblue\n"})
    put(model)
    with pytest.raises(TaskFailure, match=r"contradict.*labels\.txt in theirs says 3 names \(red.*--labels"):
        put(model, {"labels.txt": "rot\ngruen\nblau\n"})


def test_a_known_file_is_known_under_any_name(put: Put, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of the zoo that somebody renamed is recognised by its hash."""
    from scripts.repository import manifest
    from scripts.sources import zoo

    model = colour_models.strongest_colour(gain=4)
    onnx.save_model(model, tmp_path / "same.onnx")
    digest = manifest.sha256(tmp_path / "same.onnx")
    known = zoo.ZooModel(name="x", stem="known-12", url="", sha256=digest, size_bytes=1, resize=36)
    monkeypatch.setattr(zoo, "ZOO", {"known-12": known})
    done = put(model, labels=("red", "green", "blue")).manifest
    assert done is not None
    assert done.preprocessing is not None
    assert str(done.preprocessing.resize) == "known model: known-12"
    assert done.preprocessing.resize.value == 36


def test_the_task_takes_every_flag_and_prints_the_record(tmp_path: Path) -> None:
    """`invoke package-model` with all that an owner can say: the table names each flag, and --strict is content."""
    model = colour_models.strongest_colour(gain=4, dims=("n", 3, "height", "width"))
    onnx.save_model(model, tmp_path / "theirs.onnx")
    (tmp_path / "names.txt").write_text("blue\ngreen\nred\n")
    for name, level in (("blue", (0, 0, 200)), ("green", (0, 200, 0)), ("red", (200, 0, 0))):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (30 + number, 40), level).save(tmp_path / "pictures" / name / f"{number}.png")
    flags = (
        "--colour bgr --scale 1/255 --mean 0 --std 1 --size 32x48 --interpolation bicubic --fit squash --scores logits "
        f"--onnx {tmp_path / 'theirs.onnx'} --repository {tmp_path / 'models'} --labels {tmp_path / 'names.txt'} "
        f"--images {tmp_path / 'pictures'} --min-accuracy 0.9 --image-hashes --strict"
    )
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "package-model", *flags.split()],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table = {line.split()[0]: line for line in done.stdout.splitlines() if " flag: --" in line}
    assert table.keys() == {
        "colour",
        "scale",
        "mean",
        "std",
        "size",
        "resize",
        "interpolation",
        "fit",
        "scores",
        "labels",
    }
    assert "as packaged" in done.stdout
    assert "assumed" not in done.stdout + done.stderr
    assert (tmp_path / "models" / "theirs" / "1" / "manifest.json").exists()
