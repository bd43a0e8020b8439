"""What the last push wrote down, for the deployment."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scripts.host.errors import TaskFailure
from scripts.image import record
from tests.doubles.aws_stubs import REGISTRY
from tests.doubles.kubernetes import DIGEST

NOW = datetime(2026, 1, 2, tzinfo=UTC)
IMAGE = REGISTRY.image(tag="t", digest=DIGEST)


def test_the_record_is_whole_or_as_before(tmp_path: Path) -> None:
    """The digest is written beside, then moved; a folder that takes no file is told with the digest."""
    record.write(IMAGE, repository=REGISTRY, image_id="sha256:i", now=NOW, root=tmp_path)
    path = tmp_path / "build" / "image.json"
    written = json.loads(path.read_text())
    assert written["reference"] == f"{REGISTRY.uri}@{DIGEST}"
    assert written["pushed_at"] == "2026-01-02T00:00:00+00:00"
    assert [p.name for p in path.parent.iterdir()] == ["image.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(TaskFailure, match=f"@{DIGEST} is pushed, but"):
        record.write(IMAGE, repository=REGISTRY, image_id="sha256:i", now=NOW, root=tmp_path / "file")


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """By the digest alone, which no other image can take."""
    record.write(IMAGE, repository=REGISTRY, image_id="sha256:i", now=NOW, root=tmp_path)
    assert record.read(tmp_path) == IMAGE.by_digest


def test_the_image_of_the_last_push_is_the_default(tmp_path: Path) -> None:
    """build/image.json has it; without that file, or with a broken one, the message says what to do."""
    with pytest.raises(TaskFailure, match=rf"There is no {tmp_path}/build/image\.json yet: .*invoke push-triton"):
        record.read(tmp_path)
    path = tmp_path / "build" / "image.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"reference": f"h/a@{DIGEST}", "digest": DIGEST}))
    assert str(record.read(tmp_path)) == f"h/a@{DIGEST}"
    for broken in ("{", "[]", '{"reference": 1}', '{"reference": "x"}'):
        path.write_text(broken)
        with pytest.raises(TaskFailure, match="cannot be read"):
            record.read(tmp_path)
