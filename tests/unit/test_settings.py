"""The settings: where they come from, which wins, and that no value is ever shown."""

import re
from pathlib import Path

import pytest

from scripts.errors import TaskFailure
from scripts.secret import Secret
from scripts.settings import ROOT, VARIABLES, load

PLANTED = "AKIAPLANTEDPLANTED00"


def write(folder: Path, text: str) -> Path:
    """Write *text* as the folder's .env and return the folder."""
    (folder / ".env").write_text(text, encoding="utf-8")
    return folder


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A variable of the real environment overrides the same one in .env."""
    root = write(tmp_path, "AWS_REGION=eu-west-1\nTRITON_URL=there\n")
    settings = load(root, environ={"AWS_REGION": "eu-central-1"})
    assert settings.get("AWS_REGION") == "eu-central-1"
    assert settings.get("TRITON_URL") == "there"


def test_no_file_and_no_environment_means_nothing_is_set(tmp_path: Path) -> None:
    """A bare machine has no settings and no problems."""
    settings = load(tmp_path, environ={})
    assert not settings.problems
    assert not any(settings.has(name) for name in VARIABLES)


def test_an_empty_value_counts_as_not_set(tmp_path: Path) -> None:
    """`NAME=` is as good as no line."""
    assert not load(write(tmp_path, "AWS_PROFILE=\nTRITON_URL=' '\n"), environ={}).has("AWS_PROFILE")


def test_a_dollar_sign_is_kept_as_it_stands(tmp_path: Path) -> None:
    """A password with ${...} in it is not expanded."""
    root = write(tmp_path, "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY='x${AWS_ACCESS_KEY_ID}y'\n")
    assert load(root, environ={}).secrets["AWS_SECRET_ACCESS_KEY"].reveal() == "x${AWS_ACCESS_KEY_ID}y"


def test_all_problems_are_told_at_once_by_name_and_never_by_value(tmp_path: Path) -> None:
    """Three mistakes make one error with three lines, and no value stands in it."""
    lines = (
        "AWS_ACCOUNT_ID=nonsense-1",
        "AWS_REGION=nonsense-2",
        f"AWS_ACCESS_KEY_ID={PLANTED}",
        "ECR_REPOSITORY='open",
    )
    root = write(tmp_path, "\n".join(lines))
    settings = load(root, environ={})
    with pytest.raises(TaskFailure) as raised:
        settings.get("TRITON_URL")
    message = str(raised.value)
    for name in ("AWS_ACCOUNT_ID", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "line 4"):
        assert name in message
    assert "nonsense" not in message
    assert PLANTED not in message


def test_a_secret_hides_itself_in_every_rendering(tmp_path: Path) -> None:
    """repr, str, format and the repr of the settings mask the value; reveal gives it."""
    root = write(tmp_path, f"AWS_ACCESS_KEY_ID={PLANTED}\nAWS_SECRET_ACCESS_KEY=s\n")
    settings = load(root, environ={})
    secret = settings.secrets["AWS_ACCESS_KEY_ID"]
    assert secret.reveal() == PLANTED
    assert PLANTED not in f"{secret} {secret!r} {settings!r} {settings}"
    assert secret == Secret(PLANTED)


def test_the_example_names_every_variable() -> None:
    """.env.example documents exactly the variables that are read."""
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^#? ?([A-Z_]+)=", text, re.MULTILINE)) == set(VARIABLES)
