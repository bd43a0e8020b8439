"""The settings: where they come from, which wins, and that no value is ever shown."""

import re
from pathlib import Path

import pytest

from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.settings import ROOT, VARIABLES, load
from scripts.server.endpoint import Endpoint

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


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_an_empty_variable_of_the_environment_hides_the_file_s(tmp_path: Path, name: str) -> None:
    """`NAME= invoke TASK` runs the task without that setting."""
    root = write(tmp_path, "".join(f"{one}=1\n" for one in VARIABLES))
    assert load(root, environ={}).has(name)
    assert not load(root, environ={name: ""}).has(name)


def test_a_file_that_is_hidden_whole_is_not_read(tmp_path: Path) -> None:
    """Where the environment sets every variable, not even a broken line of the file is told."""
    root = write(tmp_path, "AWS_REGION\nAWS_PROFILE='open\nnonsense\n")
    assert load(root, environ={}).problems
    hidden = load(root, environ=dict.fromkeys(VARIABLES, ""))
    assert (hidden.values, hidden.problems, hidden.warnings) == ({}, (), ())


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


@pytest.mark.parametrize(
    ("text", "fatal", "saying"),
    [
        ("AWS_REGION=eu-west-1\n\nAWS_REGION=eu-west-1", True, "line 3: AWS_REGION stands on line 1 already"),
        ("# a comment\nAWS_REGOIN=planted-x", False, "line 2 sets what no task reads: is AWS_REGION meant?"),
        ("planted-x", False, "line 1 sets what no task reads."),
        ("AWS_REGION", True, "line 1: AWS_REGION has no '='"),
        ("AWS_PROFILE='planted-x", True, "line 1 cannot be read: a missing quote"),
        ("AWS_PROFILE='planted-x\nIMAGE_TAG=v'", True, "line 1: AWS_PROFILE goes on over several lines"),
        ("AWS_PROFILE=planted-x #1", False, "line 1: AWS_PROFILE ends before ' #'"),
        ("AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=planted-x #1", True, "line 2: AWS_SECRET_ACCESS_KEY ends before"),
        ("AWS_SESSION_TOKEN=planted-x", True, "AWS_SESSION_TOKEN is of no use without"),
        ("AWS_PROFILE=p\nAWS_ACCESS_KEY_ID=planted-x\nAWS_SECRET_ACCESS_KEY=s", False, "the keys are used"),
    ],
)
def test_a_line_that_does_not_say_what_was_meant_is_told_by_its_number(
    tmp_path: Path, text: str, fatal: bool, saying: str
) -> None:
    """What would be dropped, cut or read in two ways stops the tasks; what only looks odd is a warning; no value."""
    settings = load(write(tmp_path, text), environ={})
    told = settings.problems if fatal else settings.warnings
    assert any(saying in sentence for sentence in told), (settings.problems, settings.warnings)
    assert bool(settings.problems) == fatal
    assert "planted-x" not in " ".join((*settings.problems, *settings.warnings))


@pytest.mark.parametrize(
    "text", ["AWS_PROFILE='a #b'\n", 'export AWS_REGION="eu-west-1"\r\n', "\n# AWS_REGION=x y\n", ""]
)
def test_a_line_that_says_what_was_meant_is_silent(tmp_path: Path, text: str) -> None:
    """Quotes, `export`, Windows' line ends and comments are fine."""
    settings = load(write(tmp_path, text), environ={})
    assert (settings.problems, settings.warnings) == ((), ())


def test_keys_that_others_can_read_are_told(tmp_path: Path) -> None:
    """A file with keys is for its owner alone; one without them may be read."""
    root = write(tmp_path, "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n")
    (root / ".env").chmod(0o644)
    assert load(root, environ={}).warnings == (
        ".env holds keys and can be read by others on this machine: chmod 600 .env",
    )
    (root / ".env").chmod(0o600)
    assert load(root, environ={}).warnings == ()
    write(tmp_path, "AWS_REGION=eu-west-1\n").joinpath(".env").chmod(0o644)
    assert load(root, environ={}).warnings == ()


def test_who_calls_is_taken_from_one_place(tmp_path: Path) -> None:
    """A session's token of .env never goes with the keys, or the profile, of the environment."""
    root = write(tmp_path, "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\nAWS_SESSION_TOKEN=c\nAWS_REGION=eu-west-1\n")
    keys = load(root, environ={"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"})
    assert {name: secret.reveal() for name, secret in keys.secrets.items()} == {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
    }
    assert keys.get("AWS_REGION") == "eu-west-1"
    assert load(root, environ={"AWS_PROFILE": ""}).secrets == {}
    profile = load(root, environ={"AWS_PROFILE": "p"})
    assert profile.secrets == {}
    assert profile.get("AWS_PROFILE") == "p"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("AWS_ENDPOINT_URL", ("https://h", "http://127.0.0.1:5000"), ("http://h.example", "ecr", "https://u:p@h")),
        ("ECR_REPOSITORY", ("triton-infer", "team/triton_1.x"), ("Triton", "a", "-x", "a//b", "a__b")),
        ("ECR_KEEP_IMAGES", ("1", "9999"), ("0", "-1", "many")),
        ("ECR_KMS_KEY", ("alias/x", "arn:aws:kms:eu-west-1:123456789012:key/1-2"), ("a b",)),
        ("IMAGE_TAG", ("v1.2_x-3",), (".v", "a:b", "x" * 129)),
        ("REGISTRY_HOST", ("127.0.0.1:5000", "a-b.example"), ("https://a", "a/b")),
        ("TRITON_BASE_IMAGE", ("h/n:1@sha256:aa", "n"), ("a b", "-;x")),
    ],
)
def test_each_value_is_checked(tmp_path: Path, name: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    """A value that cannot work is told by its variable's name."""
    for value in good:
        assert load(tmp_path, environ={name: value}).get(name) == value
    for value in bad:
        assert [p for p in load(tmp_path, environ={name: value}).problems if p.startswith(name)], value


def test_required_settings_are_named_together(tmp_path: Path) -> None:
    """All that are missing, in one message."""
    settings = load(tmp_path, environ={"AWS_REGION": "eu-west-1"})
    with pytest.raises(TaskFailure, match="AWS_ACCOUNT_ID, ECR_REPOSITORY are not set"):
        settings.require("AWS_REGION", "AWS_ACCOUNT_ID", "ECR_REPOSITORY")


@pytest.mark.parametrize(
    ("name", "value", "saying"),
    [
        ("AWS_ACCOUNT_ID", "1234-5678-9012", "has dashes or blanks between its 12 digits: write the digits alone"),
        ("AWS_ACCOUNT_ID", "1234 5678 9012", "has dashes or blanks"),
        ("AWS_ACCOUNT_ID", "12345678901", "has 11 digits and an account's number has 12: zeros at its start"),
        ("AWS_ACCOUNT_ID", "arn:aws:iam::123456789012:root", "of an ARN write the account's 12 digits alone"),
        ("ECR_REPOSITORY", "123456789012.dkr.ecr.eu-central-1.amazonaws.com/triton", "for example triton."),
        ("ECR_REPOSITORY", "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/a/b:latest", "for example a/b."),
        ("ECR_REPOSITORY", "localhost:5000/triton", "is a whole address"),
        ("ECR_REPOSITORY", "ghcr.io/me/triton", "for example me/triton."),
        ("ECR_REPOSITORY", "registry.example.com/triton@sha256:abc", "for example triton."),
        ("ECR_REPOSITORY", "arn:aws:ecr:eu-west-1:123456789012:repository/triton", "for example triton."),
        ("ECR_REPOSITORY", "triton:latest", "has a tag: write the name alone"),
        ("REGISTRY_HOST", "https://127.0.0.1:5000", "has a scheme or a path"),
        ("REGISTRY_HOST", "127.0.0.1:5000/triton", "has a scheme or a path"),
        ("TRITON_URL", "https://triton.example.com", "is https, and the tasks speak HTTP without TLS"),
        ("TRITON_URL", "grpc://localhost:8001", "is of another protocol"),
        ("TRITON_URL", "http://localhost:8000/v2", "has a path"),
        ("TRITON_URL", "http://user:planted@localhost", "has a user in it"),
        ("TRITON_URL", "localhost:99999", "has a port that cannot be"),
        ("TRITON_URL", "localhost:0", "has a port that cannot be"),
        ("TRITON_URL", "local host", "is no address"),
        ("TRITON_URL", "::1", "is no address"),
    ],
)
def test_what_was_written_in_anothers_way_is_told_with_what_to_write(
    tmp_path: Path, name: str, value: str, saying: str
) -> None:
    """As consoles, other tools and other settings write it."""
    (problem,) = load(tmp_path, environ={name: value}).problems
    assert problem.startswith(f"{name} ")
    assert saying in problem
    assert "planted" not in problem


def test_a_name_that_begins_with_our_own_registry_is_a_whole_address(tmp_path: Path) -> None:
    """A registry without a dot in its name looks like a part of the name."""
    host = {"REGISTRY_HOST": "registry", "ECR_REPOSITORY": "registry/triton"}
    (problem,) = load(tmp_path, environ=host).problems
    assert problem.startswith("ECR_REPOSITORY begins with REGISTRY_HOST")


@pytest.mark.parametrize("value", ["localhost", "localhost:8000", "http://localhost:8000/", "[::1]:8000", "10.0.0.1"])
def test_an_address_of_a_server_may_have_a_scheme(tmp_path: Path, value: str) -> None:
    """HOST, HOST:HTTP_PORT and either with http:// before it."""
    settings = load(tmp_path, environ={"TRITON_URL": value})
    assert settings.get("TRITON_URL") == value
    assert Endpoint.parse(value).http.startswith("http://")


@pytest.mark.parametrize(
    "value", ["https://h", "grpc://h:8001", "h:0", "h:65536", "h/v2", "", " ", "a b", "u:planted@h"]
)
def test_the_flag_is_as_strict_as_the_setting(value: str) -> None:
    """--url and TRITON_URL say the same; what may be a password is not repeated."""
    with pytest.raises(TaskFailure, match=r"HOST:HTTP_PORT|a port that cannot be") as raised:
        Endpoint.parse(value)
    assert "planted" not in str(raised.value)
