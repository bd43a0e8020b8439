"""Publish a packaged version to the model store."""

from collections.abc import Callable
from pathlib import Path

import attrs

from scripts.agent import files
from scripts.agent.plan import is_model_name
from scripts.agent.store import Store, StoredVersion
from scripts.host.errors import TaskFailure
from scripts.host.settings import Settings
from scripts.repository import manifest
from scripts.repository.manifest import Manifest
from scripts.repository.versions import PackagedVersion, is_version, packaged
from scripts.versions.stores import failing, open_store


@attrs.frozen(kw_only=True)
class Published:
    """What became of a publication.

    Attributes:
        version: What is in the store now.
        new: Whether it was not there before.
    """

    version: StoredVersion
    new: bool


def publish(
    repository: Path, store: Store, *, model: str, version: int | None, progress: Callable[[int, int], None]
) -> Published:
    """Publish a version of *model*; what the store has of it already is not sent again.

    Args:
        repository: The folder with the packaged models.
        store: Where it goes.
        model: The model's name.
        version: Its number; None: the highest that is packaged.
        progress: Told of the bytes done, and of those in all.

    Raises:
        TaskFailure: If it is not packaged, the store holds another content under this number or versions with another
            contract, or it cannot be written.
    """
    chosen = _chosen(repository, model, version)
    assert chosen.manifest is not None
    with failing():
        check_contract(store, chosen.manifest)
        names = frozenset(
            path.name
            for path in chosen.path.parent.iterdir()
            if not path.name.startswith(".") and not is_version(path.name)
        )
        made = StoredVersion(
            model=model,
            version=chosen.version,
            files=files.scan(chosen.path),
            shared=files.scan(chosen.path.parent, names),
        )
        total = sum(file.size for file in (*made.files.values(), *made.shared.values()))
        done = 0

        def moved(count: int) -> None:
            nonlocal done
            done += count
            progress(done, total)

        return Published(version=made, new=store.publish(made, chosen.path.parent, moved))


def _chosen(repository: Path, model: str, version: int | None) -> PackagedVersion:
    """Return the packaged version that is meant."""
    found = {one.version: one for one in packaged(repository) if one.model == model}
    if not is_model_name(model) or not found:
        names = ", ".join(dict.fromkeys(one.model for one in packaged(repository))) or "none"
        raise TaskFailure(f"No model {model!r} is packaged in {repository}. Packaged: {names}.")
    number = max(found) if version is None else version
    if number not in found:
        raise TaskFailure(
            f"Version {number} of {model} is not packaged in {repository}. Packaged: {', '.join(map(str, found))}."
        )
    if found[number].manifest is None:
        raise TaskFailure(
            f"{found[number].path} has no manifest that can be read: nothing tells what it takes and gives. Package "
            "it with `invoke package-model`."
        )
    return found[number]


def check_contract(store: Store, new: Manifest) -> None:
    """Check that a version takes and gives what the published versions of its model do.

    Raises:
        TaskFailure: If it does not.
        StoreError: If the store cannot be read.
    """
    others = [number for number in store.versions(new.model) if number != new.version]
    if not others:
        return
    last = max(others)
    stored = store.find(new.model, last)
    file = stored.files.get(manifest.FILE) if stored else None
    text = store.read(file) if file else None
    if text is None:
        return
    where = f"{store.objects.address}: {new.model} version {last}"
    known = Manifest.from_json(text.decode("utf-8", "replace"), where=where).contract
    if (known.input, known.output) != (new.contract.input, new.contract.output):
        raise TaskFailure(
            f"Version {new.version} of {new.model} takes and gives {new.contract.input} -> {new.contract.output}, and "
            f"version {last} in the store {known.input} -> {known.output}. Callers of one model must not notice which "
            "version answers: package yours under another model's name."
        )


def digest_in_store(settings: Settings, model: str, version: int, *, progress: Callable[[str], None]) -> str | None:
    """Return what names the bytes of a published version; None where it is not published, or the store is away.

    A server that has the version already needs no store, so that is no failure here.
    """
    if settings.get("MODEL_STORE") is None:
        return None
    try:
        with failing():
            stored = open_store(settings).find(model, version)
    except TaskFailure as error:
        progress(f"The store cannot be asked for the version's sha256: {error}")
        return None
    return stored.digest if stored else None
