"""How images are built: both builders, NVIDIA's layout, layers that stay the same, and nothing that must not be in."""

import json
import os
import shutil
import urllib.request
from pathlib import Path

import pytest

from tests.image.conftest import add_version
from tests.image.ground import Engine
from tests.image.project import HARDENED, Project, buildkit_client, layers, serving

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED77",
    "AWS_SECRET_ACCESS_KEY": "planted/secret+value/of/forty/characters",
    "AWS_SESSION_TOKEN": "planted-session-token-that-is-long",
}
# Notes what the client is called with and what lies in the build context, and then lets it do its work.
WRAPPER = """#!/bin/sh
printf '%s\\n' "$0 $*" >> "{log}"
for context; do :; done
if [ "$1" = build ]; then
    (cd "$context" && find . -type f && cat Dockerfile) >> "{log}"
fi
exec {real} "$@"
"""


def test_both_builders_make_the_same_layers(
    project: Project, engine: Engine, packaged: Path, base: str, cpu_image: str
) -> None:
    """BuildKit, without the legacy builder's cache, gives the layers of server and models the same digests."""
    client = buildkit_client(engine)
    if client is None:
        pytest.skip("no client here can build with BuildKit")
    path = os.pathsep.join([str(Path(client).parent), engine.environment()["PATH"]])
    extra = {"DOCKER_BUILDKIT": "1", "PATH": path}
    other = project.build("--cpu", f"--base={base}", "--tag=triton-test/cpu:buildkit", repository=packaged, extra=extra)
    history = engine.docker("history", "--no-trunc", "--format={{.CreatedBy}}", other)
    assert "# buildkit" in history
    legacy, buildkit = layers(engine, cpu_image), layers(engine, other)
    # The base; the virtual environment, whose files have the time of the build; packages; agent; two versions; configs.
    assert len(legacy) == len(buildkit) == 7
    assert legacy[2:] == buildkit[2:]


def test_a_new_version_adds_its_own_layers_only(
    project: Project, engine: Engine, packaged: Path, base: str, cpu_image: str, tmp_path: Path
) -> None:
    """A version that sorts before the others leaves their layers as they are: only it and the configs are new."""
    repository = tmp_path / "model_repository"
    shutil.copytree(packaged, repository)
    add_version(repository, model="a-first", seed=3)
    grown = project.build("--cpu", f"--base={base}", "--tag=triton-test/cpu:2", repository=repository)
    before, after = layers(engine, cpu_image), layers(engine, grown)
    assert len(after) == len(before) + 1
    assert len(set(after) - set(before)) == 2
    assert set(before) - set(after) == {before[-1]}


def test_the_production_image_serves_on_nvidias_layout(
    project: Project, engine: Engine, packaged: Path, nvidia_base: str
) -> None:
    """It runs the base's server as process 1 without its entry script, locked down, and passes the smoke test."""
    image = project.build(f"--base={nvidia_base}", "--tag=triton-test/full:1", repository=packaged)
    with serving(engine, image) as running:
        assert engine.docker("exec", running.id, "sh", "-c", "cat /proc/1/comm; id -u").split() == [
            "tritonserver",
            "1000",
        ]
        done = project.invoke("smoke-test", f"--url={running.url}", f"--repository={packaged}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "a banner" not in running.logs()


def test_the_production_image_looks_for_a_gpu(
    project: Project, engine: Engine, packaged: Path, nvidia_base: str, tmp_path: Path
) -> None:
    """With a GPU's device it takes the configurations for GPUs, without one the others; an argument of yours wins."""
    repository = tmp_path / "model_repository"
    shutil.copytree(packaged, repository)
    model = repository / "mobilenetv2"
    (model / "configs").mkdir(exist_ok=True)
    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    for name in ("gpu", "mine"):
        marked = f'{text}\nparameters {{ key: "taken" value {{ string_value: "{name}" }} }}\n'
        (model / "configs" / f"{name}.pbtxt").write_text(marked, encoding="utf-8")
    image = project.build(f"--base={nvidia_base}", "--tag=triton-test/full:gpu", repository=repository)

    def taken(*options: str, arguments: tuple[str, ...] = ()) -> str | None:
        with (
            serving(engine, image, options=(*HARDENED, *options), arguments=arguments) as running,
            urllib.request.urlopen(f"http://{running.url}/v2/models/mobilenetv2/config", timeout=5) as answer,
        ):
            config: dict[str, dict[str, dict[str, str]]] = json.load(answer)
        return config.get("parameters", {}).get("taken", {}).get("string_value")

    # No GPU is here; the second of a machine's is all that its container may see.
    device = "--device=/dev/null:/dev/nvidia1"
    assert taken() is None
    assert taken(device) == "gpu"
    assert taken(device, arguments=("--model-config-name=mine",)) == "mine"


def test_the_slim_image_has_one_backend_and_what_it_links(
    project: Project, engine: Engine, packaged: Path, nvidia_base: str
) -> None:
    """Libraries that the -min image lacks come along, other backends do not, and it serves."""
    image = project.build("--slim", f"--base={nvidia_base}", "--tag=triton-test/slim:1", repository=packaged)
    listed = engine.docker("run", "--rm", "--entrypoint=find", image, "/opt/tritonserver", "/nvidia_pytriton.libs")
    assert "/opt/tritonserver/backends/onnxruntime/model.py" in listed
    assert "/nvidia_pytriton.libs/libtritonserver-" in listed
    assert "/nvidia_pytriton.libs/libdcgm-" in listed
    assert "pytorch" not in listed
    with serving(engine, image) as running:
        done = project.invoke("smoke-test", f"--url={running.url}", f"--repository={packaged}")
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_secret_reaches_context_image_or_output(
    project: Project, engine: Engine, packaged: Path, base: str, tmp_path: Path
) -> None:
    """Keys in .env, in the environment, in git's folder and beside the models are in nothing that a build makes."""
    repository = tmp_path / "model_repository"
    shutil.copytree(packaged, repository)
    planted = "".join(f"{name}={value}\n" for name, value in SECRETS.items())
    places = [project.root / ".env", repository / ".env", repository / "mobilenetv2" / ".env"]
    places += [repository / "mobilenetv2" / "1" / "credentials", project.root / "docker" / ".env"]
    real, log = shutil.which("docker", path=engine.environment()["PATH"]), tmp_path / "log"
    wrapper = tmp_path / "bin" / "docker"
    wrapper.parent.mkdir()
    wrapper.write_text(WRAPPER.format(log=log, real=real), encoding="utf-8")
    wrapper.chmod(0o755)
    extra = {"PATH": os.pathsep.join([str(wrapper.parent), engine.environment()["PATH"]])}
    tag = "triton-test/planted:1"
    try:
        for place in places:
            place.write_text(planted, encoding="utf-8")
        done = project.invoke(
            "build-image",
            "--cpu",
            f"--base={base}",
            f"--tag={tag}",
            f"--repository={repository}",
            extra=extra | SECRETS,
        )
    finally:
        for place in places:
            place.unlink(missing_ok=True)
    assert done.returncode == 0, done.stdout + done.stderr
    recorded = log.read_text(encoding="utf-8")
    context = {line for line in recorded.splitlines() if line.startswith("./")}
    assert context == {
        *("./Dockerfile", "./runtime.tar", "./agent.tar", "./layers/configs.tar"),
        *(f"./layers/mobilenetv2-{version}.tar" for version in (1, 2)),
    }
    saved = tmp_path / "image.tar"
    engine.docker("save", f"--output={saved}", tag)
    # An archive of plain archives, and the configuration with the history: all that the image is.
    content = saved.read_bytes()
    assert json.dumps("tritonserver").strip('"').encode() in content
    for value in SECRETS.values():
        assert value.encode() not in content
        assert value not in done.stdout + done.stderr + recorded
