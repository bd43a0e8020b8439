"""The model store that the settings name."""

import contextlib
from collections.abc import Iterator

from scripts.agent.errors import AgentError
from scripts.agent.folder import Folder, folder_of
from scripts.agent.s3 import Bucket, bucket_of
from scripts.agent.store import Store
from scripts.host.errors import TaskFailure
from scripts.host.settings import Settings
from scripts.registry import aws


@contextlib.contextmanager
def failing() -> Iterator[None]:
    """Turn what the store refuses into a `TaskFailure`."""
    try:
        yield
    except AgentError as error:
        raise TaskFailure(str(error)) from error


def address_in(settings: Settings) -> str:
    """Return the address of the model store.

    Raises:
        TaskFailure: If none is set.
    """
    if (address := settings.get("MODEL_STORE")) is None:
        raise TaskFailure(
            "There is no model store. Set MODEL_STORE=s3://BUCKET/PREFIX or MODEL_STORE=file:///FOLDER in .env (see "
            ".env.example) or in the environment; `invoke create-store` makes it."
        )
    return address


def open_store(settings: Settings) -> Store:
    """Return the model store, as whoever the settings say.

    Raises:
        TaskFailure: If none is set, or AWS cannot be asked.
    """
    address = address_in(settings)
    with failing():
        if (folder := folder_of(address)) is not None:
            return Store(Folder(folder))
        bucket = bucket_of(address)
    assert bucket is not None, "the settings took it"
    return Store(Bucket(aws.open_access(settings).client("s3"), *bucket))
