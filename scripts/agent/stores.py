"""Open the model store that an address names."""

from scripts.agent import folder, s3
from scripts.agent.errors import StoreError
from scripts.agent.folder import Folder
from scripts.agent.store import Store


def open_store(address: str) -> Store:
    """Return the store at ``s3://BUCKET/PREFIX`` or ``file:///FOLDER``.

    boto3 finds the credentials by itself: a pod's identity, a role, a profile, the environment.

    Raises:
        StoreError: If the address names neither, or boto3 is missing.
    """
    root = folder.folder_of(address)
    if root is not None:
        return Store(Folder(root))
    place = s3.bucket_of(address)
    if place is None:
        raise StoreError(f"MODEL_STORE={address} is no store: write s3://BUCKET/PREFIX or file:///FOLDER.")
    try:
        import boto3
    except ImportError as error:
        raise StoreError(f"MODEL_STORE={address} needs boto3, which is not installed here.") from error
    return Store(s3.Bucket(boto3.client("s3", config=s3.patience()), *place))
