"""Why a profile gave no AWS credentials: real providers of botocore's, on AWS files of the test's."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.host.errors import TaskFailure
from scripts.host.settings import load
from scripts.registry.aws import open_access
from scripts.registry.credentials import Credentials

ROLE = "role_arn=arn:aws:iam::123456789012:role/r\n"
SSO = "sso_session=s\nsso_account_id=123456789012\nsso_role_name=r\n"
SESSION = "[sso-session s]\nsso_start_url=https://x\nsso_region=eu-west-3\n"
KEYS = "aws_access_key_id=a\naws_secret_access_key=b\n"
MFA = "mfa_serial=arn:aws:iam::123456789012:mfa/me\n"
Ask = Callable[[str], str]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Give the question who we are, by the profile `dev` of a text; it fails before anything is sent."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def asked(config: str) -> str:
        (tmp_path / "config").write_text(config)
        settings = load(tmp_path, environ={"AWS_PROFILE": "dev", "AWS_REGION": "eu-central-1"})
        with pytest.raises(TaskFailure) as raised:
            open_access(settings).identity()
        return str(raised.value)

    return asked


@pytest.mark.parametrize(
    ("config", "saying"),
    [
        (
            f"[profile dev]\n{SSO}{SESSION}",
            "login of profile dev has expired, or was never made. Log in again: aws sso",
        ),
        (
            f"[profile dev]\n{ROLE}source_profile=base\n[profile base]\n{SSO}{SESSION}",
            "profile dev by way of profile base has expired, or was never made. Log in again: aws sso login "
            "--profile base",
        ),
        (
            f"[profile dev]\n{ROLE}source_profile=a\n[profile a]\n{ROLE}source_profile=b\n[profile b]\n{SSO}{SESSION}",
            "aws sso login --profile b",
        ),
        (f"[profile dev]\n{SSO}", "profile dev is not complete"),
        ("[profile dev]\nsso_start_url=https://x\n", "profile dev is not complete"),
        (
            f"[profile dev]\n{ROLE}source_profile=gone\n",
            "names gone as its source_profile, and there is no such profile",
        ),
        (
            f"[profile dev]\n{ROLE}source_profile=a\n[profile a]\n{ROLE}source_profile=dev\n",
            "the profiles dev, a name each other as source_profile",
        ),
        (f"[profile dev]\n{ROLE}", "profile dev has a role_arn, and no source_profile"),
        (f"[profile dev]\n{ROLE}credential_source=Moon\n", "profile dev is not complete, or names what there is not"),
        (f"[profile dev]\n{ROLE}source_profile=a\n[profile a]\nregion=x\n", "by way of profile a is not complete"),
        (f"[profile dev]\n{ROLE}web_identity_token_file=/no/such/file\n", "cannot be read: No such file"),
        (
            "[profile dev]\ncredential_process = 'unclosed\n",
            "credential_process unclosed gave no credentials: its command",
        ),
        ("[profile dev\n", "~/.aws/config"),
    ],
    ids=lambda text: text[:40] if not text.startswith("[") else "",
)
def test_each_profile_without_credentials_is_one_message(ask: Ask, config: str, saying: str) -> None:
    """It names the profile at fault, which may be another one than AWS_PROFILE's, and the way out."""
    assert saying in ask(config)


@pytest.mark.parametrize(
    "config",
    [
        f"[profile dev]\n{ROLE}source_profile=base\n{MFA}[profile base]\n{KEYS}",
        f"[profile dev]\n{ROLE}source_profile=mid\n"
        f"[profile mid]\n{ROLE}source_profile=base\n{MFA}[profile base]\n{KEYS}",
    ],
    ids=["its own", "one behind it"],
)
def test_a_code_is_not_asked_for_without_a_terminal(ask: Ask, config: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A job that nobody watches would wait for ever, or end in EOFError: the message names the profile."""
    said = ask(config)
    assert "asks for an MFA code (mfa_serial), and there is no terminal to ask on" in said
    assert ("profile mid asks" in said) == ("mid" in config)
    assert capfd.readouterr().err == ""


def test_the_way_is_told_without_what_may_be_secret() -> None:
    """Of a process only the program's name is said, since its arguments may be secrets."""
    process = {"credential_process": '"/opt/my tools/helper.exe" --password hunter2'}
    assert str(Credentials.of_profile("dev", {"dev": process})) == "profile dev and its credential_process helper.exe"
    chained = {"dev": {"role_arn": "r", "source_profile": "base"}, "base": {"credential_process": "aws-vault exec x"}}
    told = Credentials.of_profile("dev", chained)
    assert str(told) == "profile dev by way of profile base and its credential_process aws-vault"
    assert "credential_process of profile base" in told.renew
    assert "aws configure --profile own" in Credentials.of_profile("own", {"own": {"aws_access_key_id": "a"}}).renew
    own_role = {"own": {"role_arn": "r", "source_profile": "own", "aws_access_key_id": "a"}}
    assert Credentials.of_profile("own", own_role).broken == ""
    assert Credentials.of_profile("in", {"in": {"login_session": "x"}}).renew.endswith("aws login --profile in")
