"""The container image: built, and pushed to where a cluster finds it; and the chart, likewise."""

from invoke import Context

from scripts.host.errors import TaskFailure
from scripts.tasks.calling import task
from scripts.tasks.flags import REPOSITORY, path


@task(
    help={
        "cpu": "Build the small image with the pip wheel's Triton, for laptops and tests, instead of NVIDIA's.",
        "slim": "Build a smaller image: only the server and its ONNX Runtime backend, on NVIDIA's -min image.",
        "base": "The base image, NAME:TAG or NAME:TAG@sha256:DIGEST (default: TRITON_BASE_IMAGE, or NVIDIA's).",
        "minimal": "With --slim: the -min image (default: the base's name with -min).",
        "platform": "The platform of the image, such as linux/amd64 (default: the platform of the Docker engine).",
        "tag": "NAME:TAG of the image (default: triton-infer:REVISION-MODELS, triton-infer-slim:... or -cpu:...).",
        "repository": "Folder with the packaged models (default: model_repository).",
        "dry_run": "Only print the commands.",
    }
)
def build_image(
    c: Context,
    cpu: bool = False,
    slim: bool = False,
    base: str = "",
    minimal: str = "",
    platform: str = "",
    tag: str = "",
    repository: str = REPOSITORY,
    dry_run: bool = False,
) -> None:
    """Build the container image that serves the packaged models; each version is a layer of its own."""
    from scripts.host import settings
    from scripts.host.shell import LocalRunner
    from scripts.host.terminal import reporting, say, step, table
    from scripts.image import build
    from scripts.image.built import megabytes

    with reporting():
        if cpu and slim:
            raise TaskFailure("--cpu and --slim are two different images: choose one.")
        known = settings.load().get("TRITON_BASE_IMAGE")
        order = build.Order(
            repository=path(repository),
            kind="cpu" if cpu else "slim" if slim else "full",
            base=base or (None if cpu else known),
            minimal=minimal or None,
            platform=platform or None,
            tag=tag or None,
        )
        recipe = build.Recipe.of(order, runner=LocalRunner(), root=settings.ROOT)
        if dry_run:
            for command in recipe.commands():
                say(str(command))
            return
        image = build.build(recipe, runner=LocalRunner(), progress=step)
        rows = [(megabytes(layer.size), layer.made_by[:100]) for layer in image.largest()]
        table(f"Largest layers of {image.name}", ("size", "made by"), rows)
        say(f"{image.name}: {image.verdict}")
        if order.has_agent:
            say("It has the agent: its versions can be switched while it serves: docs/versions-in-production.md.")
        else:
            say(
                "It has no agent, because it has no python3. To switch versions while it serves, name an image that "
                "has the agent in the chart's agent.image; if you have none, deploy it with modelControl: none."
            )


@task(help={"chart": "Make the repository for the Helm chart, which lies below the repository for the images."})
def create_repository(c: Context, chart: bool = False) -> None:
    """Create the image repository in ECR, or update its settings if it is already there, and print its address."""
    from scripts.cluster.chart_archive import Packed
    from scripts.host import settings
    from scripts.host.terminal import reporting, say, step
    from scripts.registry import aws, ecr

    with reporting():
        loaded = settings.load()
        access = aws.open_access(loaded)
        repository = ecr.ImageRepository.from_settings(loaded, region=access.region)
        if chart:
            repository = repository.below(Packed.read().name)
        ecr.create(access, repository, ecr.Rules.from_settings(loaded), progress=step)
        say(repository.uri)


@task(
    help={
        "cpu": "Build and push the CPU image.",
        "image": "Push this image, which is already built, instead of building one.",
        "tag": "Tag in the registry (default: IMAGE_TAG, or the git revision and a digest of the models).",
        "repository": "Folder with the packaged models (default: model_repository).",
        "dry_run": "Only print the commands.",
    }
)
def push_triton(
    c: Context,
    cpu: bool = False,
    image: str = "",
    tag: str = "",
    repository: str = REPOSITORY,
    dry_run: bool = False,
) -> None:
    """Push the image to ECR and write its digest to build/image.json; if there is no image yet, build it first."""
    from scripts.host import settings
    from scripts.host.shell import LocalRunner
    from scripts.host.terminal import layer_bar, reporting, say, step
    from scripts.image import delivery
    from scripts.image.build import Order

    with reporting(), layer_bar() as layers:
        loaded = settings.load()
        if image and (cpu or repository != REPOSITORY):
            raise TaskFailure("--image pushes what is built already: --cpu and --repository say what to build.")
        if tag and (wrong := settings.VARIABLES["IMAGE_TAG"](tag)):
            raise TaskFailure(f"--tag {tag!r} {wrong}. The repository's name is ECR_REPOSITORY's.")
        base = None if cpu else loaded.get("TRITON_BASE_IMAGE")
        order = Order(repository=path(repository), kind="cpu" if cpu else "full", base=base)
        wanted = delivery.Wanted(order=order, image=image or None, tag=tag or loaded.get("IMAGE_TAG"))
        if dry_run:
            for command in delivery.plan(loaded, wanted, runner=LocalRunner()):
                say(command)
            return
        pushed = delivery.deliver(loaded, wanted, runner=LocalRunner(), progress=step, layers=layers)
        say(pushed.summary)
        say(str(pushed.image.by_digest))


@task(
    help={
        "registry": "Push to oci://HOST/PREFIX (default: below ECR_REPOSITORY, with AWS's login).",
        "key": "Sign with the key of this name, or a part of its name (default: CHART_KEY; without one, do not sign).",
        "keyring": "File with the secret key, made by gpg --export-secret-keys (default: CHART_KEYRING).",
        "passphrase_file": "File with the key's passphrase (default: CHART_PASSPHRASE_FILE).",
        "dry_run": "Only print the commands.",
    }
)
def push_chart(
    c: Context,
    registry: str = "",
    key: str = "",
    keyring: str = "",
    passphrase_file: str = "",
    dry_run: bool = False,
) -> None:
    """Package the Helm chart and push it to an OCI registry; if you have a key, the chart is signed."""
    from scripts.cluster.chart_archive import Packed, Signing
    from scripts.cluster.chart_push import ChartPush
    from scripts.host import settings
    from scripts.host.shell import LocalRunner
    from scripts.host.terminal import reporting, say, step

    with reporting():
        loaded = settings.load()
        signing = Signing.from_settings(loaded, key=key, keyring=keyring, passphrase=passphrase_file)
        push = ChartPush.of(loaded, chart=Packed.read(), registry=registry, signing=signing, runner=LocalRunner())
        if dry_run:
            for command in push.plan():
                say(command)
            return
        pushed = push.push(progress=step)
        say(pushed.summary)
        say(pushed.use)
