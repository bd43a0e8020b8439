"""A server or a disk that ends a download: one message says the cause and what is kept."""

import hashlib
from pathlib import Path

import pytest

from scripts.host.errors import TaskFailure
from tests.wire.download.scene import BODY, HALF, QUICK, SHA256, Server, cut, failure, get, other, part, status


def test_broken_server_is_given_up_and_the_part_kept(server: Server, file: Path) -> None:
    """After the allowed tries the message names the cause, what is kept and each way out."""
    server.script = [cut] + [status(503)] * 5
    message = failure(server.url, file)
    assert len(server.seen) == 1 + QUICK.attempts
    assert part(file).read_bytes() == BODY[:HALF]
    for words in ("503", "2 tries", "0.5 of 1.0 MB", "--weights seeded", str(file), SHA256):
        assert words in message


def test_server_that_only_repeats_is_given_up(server: Server, file: Path) -> None:
    """Bytes that were there before count as no progress: the download ends."""
    server.script = [cut] * 9
    assert "closed" in failure(server.url, file)
    assert len(server.seen) == 1 + QUICK.attempts


@pytest.mark.parametrize("code", [401, 404])
def test_refusal_is_final(server: Server, file: Path, code: int) -> None:
    """A file that is not there, or not for everyone, is not asked for twice."""
    server.script = [status(code)]
    assert f"answered {code}" in failure(server.url, file)
    assert len(server.seen) == 1


def test_wrong_hash_removes_the_part(server: Server, file: Path) -> None:
    """Another file of the same length is thrown away, and both hashes are named."""
    server.script = [other]
    message = failure(server.url, file)
    assert SHA256 in message
    assert hashlib.sha256(bytes(len(BODY))).hexdigest() in message
    assert not part(file).exists()


def test_other_length_is_refused_before_a_byte_is_stored(server: Server, file: Path) -> None:
    """An answer of another length, as from a login page, ends the download at once."""
    server.script = [lambda handler: handler.start(200, Content_Length=12)]
    assert f"offers 12 bytes, but {len(BODY)} were expected" in failure(server.url, file)
    assert not part(file).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which only Linux has")
def test_full_disk_is_named(server: Server, file: Path) -> None:
    """A disk without room gives one message with the room that is needed, and no file."""
    file.parent.mkdir()
    part(file).symlink_to("/dev/full")
    message = failure(server.url, file)
    assert "No space left" in message
    assert "1.0 MB" in message
    assert len(server.seen) == 1


def test_size_limit_keeps_what_fits(server: Server, file: Path) -> None:
    """A disk that fills up in the middle keeps the part, and the next run goes on from it."""
    resource = pytest.importorskip("resource", reason="needs limits on file sizes, which Windows lacks")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, hard))
    try:
        message = failure(server.url, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "No room" in message
    assert part(file).read_bytes() == BODY[: part(file).stat().st_size]
    get(server.url, file)
    assert file.read_bytes() == BODY
    assert server.seen[-1].range is not None


def test_unusable_folder_is_named(server: Server, tmp_path: Path) -> None:
    """A cache folder that cannot be made is one clear message before anything is asked for."""
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(TaskFailure, match=r"Cannot store file\.onnx in .*taken"):
        get(server.url, tmp_path / "taken" / "file.onnx")
    assert server.seen == []
