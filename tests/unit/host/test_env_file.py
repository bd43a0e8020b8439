"""A `.env` as editors, shells and AWS's tools leave it: what was read is told, and what to write; never a value."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.host.settings import Settings, load

GOOD = "AWS_REGION=eu-central-1\nAWS_ACCOUNT_ID=123456789012\n"
PLANTED = "planted"
KEYS = "aws_access_key_id = planted\naws_secret_access_key = planted\naws_session_token=planted\n"
ZERO_WIDTH = "\u200b"


def read(folder: Path, content: str | bytes) -> Settings:
    """Return the settings of a file with this content."""
    path = folder / ".env"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)
    return load(folder, environ={})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_of_wide_letters_is_told_with_how_to_save_it(tmp_path: Path, encoding: str) -> None:
    """Windows PowerShell's `>` writes such files: nothing is dropped in silence."""
    settings = read(tmp_path, GOOD.encode(encoding))
    (problem,) = settings.problems
    assert f".env is written in {encoding.upper().replace('16-', '16')}" in problem
    assert settings.values == {}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: os.mkfifo(path), "It is a named pipe, not a file"),
        (lambda path: path.mkdir(), "It is a folder, not a file"),
        (lambda path: path.symlink_to("gone"), "No such file or directory"),
    ],
    ids=["a named pipe", "a folder", "a link to nothing"],
)
def test_what_is_no_file_is_told(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    """A pipe once held each task up for ever, and a link to nothing was taken for no settings."""
    make(tmp_path / ".env")
    settings = load(tmp_path, environ={})
    assert settings.problems == (f".env cannot be read: {words}.",)


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf" + GOOD.encode(), "# f\u00fcr K\u00f6ln\n".encode("latin-1") + GOOD.encode()]
)
def test_a_mark_or_a_comment_in_another_encoding_does_no_harm(tmp_path: Path, content: bytes) -> None:
    """UTF-8's own mark is skipped, and nobody needs to read a comment."""
    settings = read(tmp_path, content)
    assert (settings.values["AWS_REGION"], settings.problems, settings.warnings) == ("eu-central-1", (), ())


@pytest.mark.parametrize(
    ("value", "saying"),
    [
        ("f\u00fcr".encode("latin-1"), "is not written in UTF-8: save the file as UTF-8"),
        ("\u201cplanted\u201d", "typographic quote in it (U+201C): write ' or"),
        ("\u2018planted\u2019", "typographic quote in it (U+2018)"),
        ("\u201eplanted\u201c", "typographic quote in it (U+201E)"),
        ("\u00abplanted\u00bb", "typographic quote in it (U+00AB)"),
        ("planted\u2013x", "dash in it (U+2013) that is none of the keyboard's"),
        (f"planted{ZERO_WIDTH}", "cannot be seen (U+200B)"),
        ("planted\u00adx", "cannot be seen (U+00AD)"),
        ("\u202eplanted", "cannot be seen (U+202E)"),
        ("plan\u00a0ted", "cannot be seen (U+00A0)"),
        ("planted\x00x", "cannot be seen (U+0000)"),
    ],
)
@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_SECRET_ACCESS_KEY"])
def test_a_character_that_is_not_what_it_looks_like_is_named(
    tmp_path: Path, name: str, value: str | bytes, saying: str
) -> None:
    """In a name of a person's choice and in a secret alike, where nothing else would find it."""
    line = f"AWS_ACCESS_KEY_ID=a\n{name}=".encode() + (value.encode() if isinstance(value, str) else value)
    told = [problem for problem in read(tmp_path, line).problems if problem.startswith(name)]
    assert len(told) == 1
    assert saying in told[0]
    assert PLANTED not in told[0]


def test_the_environment_is_looked_at_too(tmp_path: Path) -> None:
    """A value that was pasted into a CI's page has the same faults."""
    (problem,) = load(tmp_path, environ={"AWS_PROFILE": "\u201cdev\u201d"}).problems
    assert problem.startswith("AWS_PROFILE has a typographic quote")


@pytest.mark.parametrize(
    "line", [f"{ZERO_WIDTH}AWS_REGION=planted", "# x\n\ufeffAWS_REGION=planted", "AWS_\u00adREGION=planted"]
)
def test_a_name_with_a_character_that_cannot_be_seen_is_told(tmp_path: Path, line: str) -> None:
    """The line looks right in every editor."""
    (problem,) = read(tmp_path, line).problems
    assert "names AWS_REGION with a character in it that cannot be seen" in problem


@pytest.mark.parametrize(
    "value", ["${USER}", "$USER", "x-${NS:-planted}", "$(git rev-parse HEAD)", "%USERNAME%", "a$b"]
)
def test_a_variable_in_a_value_is_told(tmp_path: Path, value: str) -> None:
    """Nothing fills it in, here or in the environment."""
    (problem,) = read(tmp_path, f"AWS_PROFILE={value}").problems
    assert problem == (
        "AWS_PROFILE has a variable in it, such as ${NAME}, and nothing fills that in: write the value itself."
    )


def test_a_secret_may_have_a_dollar_in_it_but_be_no_variable(tmp_path: Path) -> None:
    """`$` is a letter of passwords; a secret that is a variable's name and nothing else is none."""
    keys = "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY="
    assert read(tmp_path, f"{keys}'x$y${{z}}'").problems == ()
    assert "has a variable in it" in read(tmp_path, f"{keys}${{SECRET}}").problems[0]


@pytest.mark.parametrize(
    ("text", "saying"),
    [
        (f"[default]\n{KEYS}", ".env line 1 begins a block of ~/.aws/credentials. Leave the block there"),
        (f"\n[123456789012_Admin]\n{KEYS}", ".env line 2 begins a block"),
        (f"[default]\n{KEYS}", ".env line 3 sets AWS_SECRET_ACCESS_KEY under another name"),
        ("aws_region=planted", "line 1 sets AWS_REGION under another name, which is not read: write AWS_REGION=VALUE"),
        ("AWS_DEFAULT_PROFILE=planted", "write AWS_PROFILE=VALUE"),
        ("aws_security_token=planted\nAWS_SECURITY_TOKEN=planted", "line 2 sets AWS_SESSION_TOKEN under another name"),
        ('$Env:AWS_ACCESS_KEY_ID="planted"', "line 1 is a line for PowerShell: write AWS_ACCESS_KEY_ID=VALUE"),
        ("SET AWS_REGION=planted", "line 1 is a line for Windows' command prompt: write AWS_REGION=VALUE"),
        ("setx AWS_REGION planted", "line 1 is a line for Windows' command prompt"),
        ("AWS_REGION: planted", "line 1 sets AWS_REGION without '=': write AWS_REGION=VALUE"),
        ("AccessKeyId=planted", "sets AWS_ACCESS_KEY_ID under another name"),
        ('"SecretAccessKey": "planted",', "sets AWS_SECRET_ACCESS_KEY without '='"),
        ('{"Credentials": {"AccessKeyId": "planted"}}', ".env holds JSON, as AWS's tools print it. Write lines: AWS_"),
    ],
)
def test_what_was_pasted_from_elsewhere_is_told_with_what_to_write(tmp_path: Path, text: str, saying: str) -> None:
    """Left out in silence, such lines would let the tasks call AWS as somebody else."""
    settings = read(tmp_path, text)
    assert [problem for problem in settings.problems if saying in problem], settings.problems
    assert PLANTED not in " ".join((*settings.problems, *settings.warnings))
    assert not settings.secrets


@pytest.mark.parametrize(
    "text", ["EDITOR=vi", "MY_TOKEN=planted", "export PYTHONPATH=x", "note: planted", "[a]=planted"]
)
def test_lines_for_others_are_no_problem(tmp_path: Path, text: str) -> None:
    """Other programs may read the file too, with names of their own."""
    problems = read(tmp_path, text).problems
    assert [problem for problem in problems if "AWS" in problem] == []


def test_awss_other_name_of_the_region_counts_where_ours_is_not_set(tmp_path: Path) -> None:
    """Old tools and many CI systems set AWS_DEFAULT_REGION; AWS_REGION wins wherever it stands."""
    assert read(tmp_path, "AWS_DEFAULT_REGION=eu-west-1").get("AWS_REGION") == "eu-west-1"
    assert load(tmp_path, environ={"AWS_DEFAULT_REGION": "us-east-1"}).get("AWS_REGION") == "us-east-1"
    assert load(tmp_path, environ={"AWS_REGION": "us-east-2"}).get("AWS_REGION") == "us-east-2"
    assert load(tmp_path, environ={"AWS_REGION": ""}).get("AWS_REGION") is None
    both = read(tmp_path, "AWS_DEFAULT_REGION=eu-west-1\nAWS_REGION=eu-west-2")
    assert (both.get("AWS_REGION"), both.warnings) == ("eu-west-2", ())
