"""The agent's layer: it runs on the image's own Python, makes the image's server serve a plan, and reads S3."""

import contextlib
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from scripts.canary import manifests
from scripts.cluster.release.stored import name_of
from tests.image import ground, hub
from tests.image.ground import Engine
from tests.image.project import HARDENED, ROOT, Container, Project, free_ports, ready_at
from tests.unit.canary.test_manifests import DEPLOYMENT, ORDER
from tests.waiting import wait_until

KEY = "planted-admin-key-of-forty-characters-00"
WITHIN_S = 90.0
JUDGES = """cd /opt/triton-agent && python3 -S -c '
import json
from scripts.canary.judge import Counts, Judge, Look
from scripts.canary.settings import Settings
judge = Judge(Settings().limits)
assert judge.look(Look(stable=Counts(calls=900), candidate=Counts(calls=100, failed=9, incidents=9))).kind == "failures"
print(json.dumps([one.statistic for one in judge.figures()]))
'"""
START = 'cd /opt/triton-agent && exec python3 -m scripts.agent "$@"'
# The whole S3 of boto3 that the agent uses: a pod's token for a role, then a large object in parts, twice the same.
READS = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(folder / "layer"))
import boto3
assert boto3.__file__.startswith(sys.path[0]), boto3.__file__
from scripts.agent.stores import open_store
from scripts.agent.files import measure
store = open_store("s3://models/production")
boto3.client("s3").create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
large = folder / "large"
large.write_bytes(bytes(range(256)) * 40_000)
moved = []
store.objects.put("blobs/x", large, moved.append)
store.objects.fetch("blobs/x", folder / "again", lambda count: None)
assert measure(large) == measure(folder / "again")
assert store.objects.create("models/m/1/manifest.json", b"{}")
assert not store.objects.create("models/m/1/manifest.json", b"{}")
print(sum(moved))
"""


@attrs.frozen(kw_only=True)
class Pod:
    """Server and agent of one image, in one network and with one folder, as the chart has them.

    Attributes:
        server: The server.
        agent: The agent's container.
        port: The agent's port on this machine.
    """

    server: Container
    agent: str
    port: int

    def state(self) -> dict[str, Any]:
        """Return what the agent knows."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/state", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def post(self, plan: dict[str, Any], *, key: str = KEY) -> int:
        """Post a plan and return the status."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/plan", json.dumps(plan).encode(), {"triton-admin-key": key}
        )
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def stable(self) -> int | None:
        """Return the version that callers get who name none; None while nothing is settled."""
        try:
            found = self.state()
        except OSError:
            return None
        return found["models"]["mobilenetv2"]["stable"] if found["settled"] else None


@contextlib.contextmanager
def pod(engine: Engine, image: str, folder: Path, *, of_the_agent: str | None = None) -> Iterator[Pod]:
    """Start the agent, from an image of its own if there is one, then the server, until the block ends."""
    folder.chmod(0o777)
    models: tuple[str, ...] = ()
    if of_the_agent is not None:
        (folder / "image").mkdir()
        (folder / "image").chmod(0o777)
        copying = ("--entrypoint=cp", f"--volume={folder / 'image'}:/copy", image, "-r", "/models/.", "/copy")
        engine.docker("run", "--rm", *HARDENED, *copying)
        models = (f"--volume={folder / 'image'}:/models:ro",)
    port = free_ports(4)
    published = [f"--publish=127.0.0.1:{port + i}:{8000 + i}" for i in range(4)]
    arguments = ("--host=::", "--image=/models", "--served=/served/models", "--work=/served/work")
    agent = engine.docker(
        *("run", "--detach", *HARDENED, *published, f"--volume={folder}:/served", f"--env=TRITON_ADMIN_KEY={KEY}"),
        *(*models, "--entrypoint=sh", of_the_agent or image, "-c", START, "agent", *arguments),
    )
    started = [agent]
    try:

        def told() -> str:
            return "".join(Container(id=each, http_port=port, engine=engine).logs()[-3000:] for each in started)

        wait_until(lambda: ready_at(f"127.0.0.1:{port + 3}", "/v1/state"), "the agent", within_s=WITHIN_S, told=told)
        server = engine.docker(
            *("run", "--detach", *HARDENED[:-2], HARDENED[-1], "--shm-size=128m", f"--network=container:{agent}"),
            *(*models, f"--volume={folder}:/served:ro", "--env=MODEL_REPOSITORY=/served/models", image),
            "--model-control-mode=explicit",
        )
        started.append(server)
        made = Pod(server=Container(id=server, http_port=port, engine=engine), agent=agent, port=port + 3)
        wait_until(lambda: made.stable() == 2, "both versions", within_s=WITHIN_S, every_s=0.3, told=told)
        yield made
    finally:
        engine.docker("rm", "--force", *reversed(started))


def test_the_agent_makes_the_server_serve_a_plan(
    engine: Engine, cpu_image: str, packaged: Path, project: Project, tmp_path: Path
) -> None:
    """Locked down it serves all of the image, then what a posted plan says; who has no key is refused."""
    with pod(engine, cpu_image, tmp_path) as running:
        one = {"schema": 1, "generation": 1, "models": {"mobilenetv2": {"serve": [1]}}}
        assert running.post(one, key="") == 401
        assert running.post(one) == 200
        wait_until(lambda: running.stable() == 1, "version 1", within_s=WITHIN_S, every_s=0.2)
        done = project.invoke("smoke-test", f"--url={running.server.url}", f"--repository={packaged}")
        assert "mobilenetv2 v1" in done.stdout, done.stdout + done.stderr
        assert running.post(one | {"generation": 2, "models": {"mobilenetv2": {"serve": [1, 2]}}}) == 200
        wait_until(lambda: running.stable() == 2, "version 2", within_s=WITHIN_S, every_s=0.2)
        done = project.invoke("smoke-test", f"--url={running.server.url}", f"--repository={packaged}")
        assert done.returncode == 0, done.stdout + done.stderr
        versions = running.state()["models"]["mobilenetv2"]["versions"]
        assert {one["source"] for one in versions.values()} == {"image"}
        engine.docker("kill", "--signal=TERM", running.agent)
        assert engine.docker("wait", running.agent) == "0"
        assert KEY not in Container(id=running.agent, http_port=0, engine=engine).logs()


def test_an_image_without_python_takes_the_agent_of_another(
    engine: Engine, project: Project, packaged: Path, cpu_image: str, base: str, nvidia_base: str, tmp_path: Path
) -> None:
    """The slim image serves what an agent composes from a copy of its models; docs/image.md describes the agent's."""
    text = (ROOT / "docs" / "image.md").read_text(encoding="utf-8")
    described = re.search(r"`(FROM python\S+)`, `(COPY \S+ \S+ \S+)`, `(USER \S+)`", " ".join(text.split()))
    assert described is not None
    lines = "\n".join(described.groups()).replace("triton-infer:TAG", cpu_image)
    agent = ground.build(engine, re.sub(r"python\S+", base, lines, count=1), "triton-test/agent:1")
    slim = project.build("--slim", f"--base={nvidia_base}", "--tag=triton-test/slim:2", repository=packaged)
    labels = json.loads(engine.docker("image", "inspect", "--format={{json .Config.Labels}}", slim))
    assert "triton-sdk.agent" not in labels
    with pod(engine, slim, tmp_path, of_the_agent=agent) as running:
        done = project.invoke("smoke-test", f"--url={running.server.url}", f"--repository={packaged}")
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_agents_boto3_reads_and_writes_a_bucket(engine: Engine, cpu_image: str, tmp_path: Path) -> None:
    """What was left out of it is not missed: a role by a token, an object in parts, a key that is taken."""
    name = engine.docker("create", cpu_image)
    try:
        engine.docker("cp", f"{name}:/opt/triton-agent", str(tmp_path / "layer"))
    finally:
        engine.docker("rm", name)
    (tmp_path / "token").write_text("planted-token", encoding="utf-8")
    with hub.aws(tmp_path) as api:
        variables = {
            "AWS_ENDPOINT_URL": api,
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/pods",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        }
        # Beside the layer there is nothing but Python itself.
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", READS, str(tmp_path)],
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout == f"{256 * 40_000}\n", done.stderr


def test_the_judge_of_a_canary_runs_on_the_images_own_python(engine: Engine, cpu_image: str) -> None:
    """As the Job starts it, locked down, it finds no cluster to ask here; it judges with no package but the layer's."""
    (container,) = manifests.job(DEPLOYMENT, ORDER)["spec"]["template"]["spec"]["containers"]
    shell, *words = container["command"]
    variables = [f"--env={name}" for name in ("KUBERNETES_SERVICE_HOST=127.0.0.1", "KUBERNETES_SERVICE_PORT=9")]
    name = engine.docker(
        *("create", *HARDENED, *variables, "--env=PYTHONNOUSERSITE=1", f"--entrypoint={shell}", cpu_image),
        *(*words, *container["args"]),
    )
    try:
        engine.docker("start", name)
        assert engine.docker("wait", name) == "1"
        said = Container(id=name, http_port=0, engine=engine).logs()
    finally:
        engine.docker("rm", "--force", name)
    # All of it was imported, and the canary had begun: it reads the release's revision first.
    begun = f"Cannot read secrets {name_of(ORDER.release, ORDER.revision)}: this pod has no token."
    assert said.splitlines()[-1].startswith(begun), said
    found = engine.docker("run", "--rm", *HARDENED, f"--entrypoint={shell}", cpu_image, "-c", JUDGES)
    assert json.loads(found) == ["failures", "slow p75", "slow p95", "disagreement"]


def test_an_image_without_the_judge_is_told(engine: Engine, base: str) -> None:
    """One of a former release, for example."""
    (container,) = manifests.job(DEPLOYMENT, ORDER)["spec"]["template"]["spec"]["containers"]
    shell, *words = container["command"]
    name = engine.docker("create", *HARDENED, f"--entrypoint={shell}", base, *words, *container["args"])
    try:
        engine.docker("start", name)
        assert engine.docker("wait", name) == "1"
        said = Container(id=name, http_port=0, engine=engine).logs()
    finally:
        engine.docker("rm", "--force", name)
    assert said.startswith("This image has no judge of canaries. Build it anew (invoke build-image)"), said


def test_the_agent_says_what_it_lacks(engine: Engine, cpu_image: str) -> None:
    """What it cannot start with is a line in the container's log."""
    wrong = ("--image=/models", "--served=/tmp/s", "--work=/tmp/w", "--store=s3:/models")
    name = engine.docker("create", *HARDENED, "--entrypoint=sh", cpu_image, "-c", START, "agent", *wrong)
    try:
        engine.docker("start", name)
        assert engine.docker("wait", name) == "1"
        said = Container(id=name, http_port=0, engine=engine).logs()
    finally:
        engine.docker("rm", "--force", name)
    assert said == "agent: MODEL_STORE=s3:/models names no bucket: write s3://BUCKET/PREFIX.\n"
