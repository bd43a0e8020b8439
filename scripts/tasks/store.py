"""The model store: made, and filled with versions."""

from invoke import Context

from scripts.host.errors import TaskFailure
from scripts.tasks.calling import task
from scripts.tasks.flags import REPOSITORY, named, optional_number, path


@task
def create_store(c: Context) -> None:
    """Make the model store that MODEL_STORE names, a bucket or a folder; if the bucket is already there, check it."""
    from scripts.agent.folder import folder_of
    from scripts.agent.s3 import bucket_of
    from scripts.host import settings
    from scripts.host.terminal import reporting, say, step, table
    from scripts.registry import aws, bucket
    from scripts.versions.stores import address_in, failing

    with reporting():
        loaded = settings.load()
        address = address_in(loaded)
        with failing():
            folder, place = folder_of(address), bucket_of(address)
        if folder is not None:
            there = folder.is_dir()
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise TaskFailure(f"The folder {folder} cannot be made: {error.strerror}.") from error
            say(f"{folder} {'is there already' if there else 'is made'}; whoever may write there may publish.")
            return
        assert place is not None, "the settings took it"
        access = aws.open_access(loaded)
        made = bucket.create(access, place[0], progress=step)
        found = bucket.check(access, place[0])
        table(f"Bucket {place[0]}", ("", "state"), [(one.what, "ok" if one.found else "failed") for one in found])
        if wrong := [one for one in found if not one.found]:
            raise TaskFailure(
                f"The bucket {place[0]} was not made by this task, and this task does not change it. "
                "These commands make it fit:\n" + "\n".join(f"  aws s3api {one.mend}" for one in wrong)
            )
        say(f"{address} {'is made' if made else 'is as it has to be'}. What publishing and pods need: docs/aws.md.")


@task(
    help={
        "model": "The model's name.",
        "version": "Number of the version (default: the highest that is packaged).",
        "repository": "Folder with the packaged models (default: model_repository).",
    }
)
def publish_model(c: Context, model: str = "", version: str = "", repository: str = REPOSITORY) -> None:
    """Upload a packaged version to the model store; a published version is never replaced."""
    from scripts.host import settings
    from scripts.host.terminal import byte_bar, reporting, say
    from scripts.versions.publish import publish
    from scripts.versions.stores import open_store

    with reporting():
        chosen = optional_number(version, name="version")
        named(model, "publish-model")
        store = open_store(settings.load())
        with byte_bar("publishing") as progress:
            done = publish(path(repository), store, model=model, version=chosen, progress=progress)
        what = f"{model} version {done.version.version}"
        say(f"{what} is {'published' if done.new else 'there already'}: {store.objects.address}")
        say(f"sha256 {done.version.digest}")
        if done.new:
            say(f"Serve it: invoke promote --model {model} --version {done.version.version}")
