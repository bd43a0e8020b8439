"""Objects of the model store in S3, by boto3."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scripts.agent.errors import StoreError
from scripts.agent.store import Moved

# How S3 answers where an object is not there, and where one is that must not be.
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_PRESENT = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})


@dataclass(frozen=True)
class Bucket:
    """Objects in a bucket, below a prefix.

    Attributes:
        client: A boto3 client of S3.
        bucket: The bucket's name.
        prefix: What the keys begin with: empty, or a path that ends with a slash.
    """

    client: Any
    bucket: str
    prefix: str

    @property
    def address(self) -> str:
        """What names it in messages."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def get(self, key: str, *, most: int) -> bytes | None:
        """Return a small object, or None where there is none."""
        with self._errors(f"read {key}"):
            try:
                answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)
            except self._error as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            with contextlib.closing(answer["Body"]) as body:
                data: bytes = body.read(most + 1)
        if len(data) > most:
            raise StoreError(f"{self.address}/{key} has more than {most} bytes.")
        return data

    def size(self, key: str) -> int | None:
        """Return how many bytes an object has, or None where there is none."""
        found = self._head(key)
        return None if found is None else int(found["ContentLength"])

    def changed(self, key: str) -> datetime | None:
        """Return when an object was written, or None where there is none."""
        found = self._head(key)
        return None if found is None else found["LastModified"]

    def _head(self, key: str) -> dict[str, Any] | None:
        with self._errors(f"look for {key}"):
            try:
                found: dict[str, Any] = self.client.head_object(Bucket=self.bucket, Key=self.prefix + key)
            except self._error as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            return found

    def fetch(self, key: str, target: Path, moved: Moved) -> None:
        """Download an object into the new file *target*, in parallel parts where it is large."""
        with self._errors(f"read {key}"):
            try:
                self.client.download_file(
                    self.bucket, self.prefix + key, str(target), Callback=_locked(moved), Config=_parts()
                )
            except self._error as error:
                if _code(error) in _ABSENT:
                    raise StoreError(f"{self.address}/{key} is missing. Publish the version again.") from error
                raise

    def put(self, key: str, source: Path, moved: Moved) -> None:
        """Upload a file, in parallel parts where it is large; S3 shows it when it is whole."""
        with self._errors(f"write {key}"):
            self.client.upload_file(
                str(source), self.bucket, self.prefix + key, Callback=_locked(moved), Config=_parts()
            )

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object, which S3 refuses where there is one."""
        with self._errors(f"write {key}"):
            try:
                self.client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data, IfNoneMatch="*")
            except self._error as error:
                if _code(error) in _PRESENT:
                    return False
                raise
        return True

    def children(self, key: str) -> list[str]:
        """Return the names right below *key*, in order."""
        start = f"{self.prefix}{key}/"
        found: list[str] = []
        with self._errors(f"list {key}"):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=start, Delimiter="/"
            )
            for page in pages:
                found += [entry["Prefix"][len(start) : -1] for entry in page.get("CommonPrefixes", ())]
                found += [entry["Key"][len(start) :] for entry in page.get("Contents", ())]
        return sorted(found)

    @property
    def _error(self) -> type[Exception]:
        error: type[Exception] = self.client.exceptions.ClientError
        return error

    @contextlib.contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Turn what boto3 raises into a `StoreError`."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error) as error:
            raise StoreError(f"The store {self.address}: cannot {doing}: {error}") from error
        except OSError as error:
            raise StoreError(f"The store {self.address}: cannot {doing}: {error.strerror or error}.") from error


def patience() -> Any:
    """Return how long boto3 waits: a store that is away shall be told in seconds, and tried again later."""
    from botocore.config import Config

    return Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})


def bucket_of(address: str) -> tuple[str, str] | None:
    """Return the bucket and the prefix that an ``s3://`` address names, or None where it is no such address.

    Raises:
        StoreError: If it is one, but names no bucket.
    """
    parts = urlsplit(address)
    if parts.scheme != "s3":
        return None
    if not parts.netloc or parts.query or parts.fragment:
        raise StoreError(f"MODEL_STORE={address} names no bucket: write s3://BUCKET/PREFIX.")
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""


def _parts() -> Any:
    """Return how large objects are cut: four parts of 8 MiB at a time, since each of them is in memory."""
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(max_concurrency=4)


def _code(error: Exception) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def _locked(moved: Moved) -> Moved:
    """Return *moved* for several threads at once: boto3 calls from each that moves a part."""
    lock = threading.Lock()

    def call(count: int) -> None:
        with lock:
            moved(count)

    return call
