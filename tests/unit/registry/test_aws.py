"""The way to AWS: whose credentials are used, and what is said when AWS refuses; no call leaves this process."""

import json
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path

import pytest
from botocore import exceptions as boto

from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret
from scripts.host.settings import Settings, load
from scripts.registry import aws
from scripts.registry.aws import Access, open_access
from scripts.registry.credentials import Credentials
from tests.doubles.aws_stubs import REGION, ScriptedAws

PLANTED = "planted/Session+Token=="
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED00", "AWS_SECRET_ACCESS_KEY": "planted/secret+value"}


@pytest.fixture
def scripted() -> Iterator[ScriptedAws]:
    """Give AWS's answers, all of which must be asked for."""
    script = ScriptedAws()
    yield script
    script.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep this machine's own AWS settings out, and return the folder of made-up ones."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", *KEYS, "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def settings(values: Mapping[str, str]) -> Settings:
    """Return settings without a file."""
    return load(Path("no-such-folder"), environ=values)


def used(access: Access) -> tuple[str, str, str | None]:
    """Return the credentials that a client would sign with."""
    frozen = access.client("ecr")._request_signer._credentials.get_frozen_credentials()
    return frozen.access_key, frozen.secret_key, frozen.token


@pytest.mark.parametrize(
    ("code", "saying"),
    [
        ("ExpiredTokenException", "have expired. Put fresh AWS_ACCESS_KEY_ID"),
        ("ExpiredToken", "have expired"),
        ("UnrecognizedClientException", "does not know these credentials (keys) in eu-central-1"),
        ("InvalidClientTokenId", "does not know these credentials"),
        ("SignatureDoesNotMatch", "clock is wrong"),
        (
            "AccessDeniedException",
            "not allowed ecr:CreateRepository in eu-central-1. Ask for the policy in docs/aws.md",
        ),
        ("RepositoryNotFoundException", "invoke create-repository"),
        ("LimitExceededException", "quota"),
        ("KmsException", "ECR_KMS_KEY"),
        ("ThrottlingException", "in a minute"),
        ("ServerException", "in a minute"),
        ("500", "in a minute"),
        ("OptInRequired", "has not enabled the region"),
        ("SomethingNewException", "AWS refused CreateRepository with SomethingNewException"),
    ],
)
def test_each_refusal_says_what_to_do_and_repeats_no_text_of_aws(scripted: ScriptedAws, code: str, saying: str) -> None:
    """AWS quotes requests, with their token, in some refusals: neither message nor traceback has its text."""
    text = f"User: x is not authorized to perform: ecr:CreateRepository because {PLANTED}"
    scripted.refuse("create_repository", code, text, status=500 if code == "500" else 400)
    access = scripted.access
    with pytest.raises(TaskFailure) as raised, access.errors("make it"):
        access.client("ecr").create_repository(repositoryName="x1")
    assert saying in str(raised.value)
    assert str(raised.value).startswith("Cannot make it: ")
    assert PLANTED not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("error", "saying"),
    [
        (boto.NoCredentialsError(), "no complete AWS credentials were found"),
        (boto.PartialCredentialsError(provider="env", cred_var="x"), "no complete AWS credentials"),
        (boto.EndpointConnectionError(endpoint_url="https://x"), "cannot be reached in eu-central-1"),
        (boto.ConnectTimeoutError(endpoint_url="https://x"), "cannot be reached"),
        (boto.ReadTimeoutError(endpoint_url="https://x"), "cannot be reached"),
        (boto.ConnectionClosedError(endpoint_url="https://x"), "cannot be reached"),
        (boto.SSLError(endpoint_url="https://x", error="bad"), "AWS_CA_BUNDLE"),
        (boto.UnauthorizedSSOTokenError(), "aws sso login --profile prod"),
        (boto.SSOTokenLoadError(error_msg="x"), "aws sso login --profile prod"),
        (boto.TokenRetrievalError(provider="sso", error_msg=PLANTED), "aws sso login --profile prod"),
        (boto.CredentialRetrievalError(provider="process", error_msg=PLANTED), "aws sso login --profile prod"),
        (boto.ProfileNotFound(profile="x"), "no such profile"),
        (boto.NoRegionError(), "AWS_REGION=eu-central-1"),
        (FileNotFoundError(2, "No such file or directory"), "cannot be read: No such file"),
        (boto.ConfigParseError(path="x"), "~/.aws/config"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_each_trouble_on_this_side_says_what_to_do(error: Exception, saying: str) -> None:
    """No credentials, no network, an expired login: a message with the way out, and nothing of what was sent."""
    access = Access(region=REGION, credentials=Credentials.of_profile("prod", {}), client=lambda _: None)
    with pytest.raises(TaskFailure) as raised, access.errors("ask"):
        raise error
    assert saying in str(raised.value)
    assert PLANTED not in "".join(traceback.format_exception(raised.value))


@pytest.mark.usefixtures("home")
def test_keys_of_the_settings_are_handed_over_and_not_exported(tmp_path: Path) -> None:
    """A client signs with the keys and the session token of .env; the environment stays as it was."""
    (tmp_path / ".env").write_text(
        "\n".join(f"{k}={v}" for k, v in (KEYS | {"AWS_SESSION_TOKEN": PLANTED, "AWS_REGION": REGION}).items())
    )
    access = open_access(load(tmp_path, environ={}))
    assert used(access) == (*KEYS.values(), PLANTED)
    assert str(access.credentials) == "keys"


@pytest.mark.usefixtures("home")
def test_a_profile_that_is_set_to_nothing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """`AWS_PROFILE= invoke push-triton` hides the profile of .env, and boto3 does not look for one without a name."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", *KEYS, "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "")
    access = open_access(settings(KEYS | {"AWS_REGION": REGION}))
    assert used(access) == (*KEYS.values(), None)
    assert str(open_access(settings({"AWS_REGION": REGION})).credentials) == "the machine's role"


def test_a_profile_brings_its_keys_and_its_region(home: Path) -> None:
    """AWS_PROFILE alone is enough."""
    (home / "config").write_text("[profile prod]\nregion = eu-west-3\naws_access_key_id=A\naws_secret_access_key=B\n")
    access = open_access(settings({"AWS_PROFILE": "prod"}))
    assert used(access) == ("A", "B", None)
    assert (access.region, str(access.credentials)) == ("eu-west-3", "profile prod")


def test_an_expired_single_sign_on_is_told_before_anything_is_sent(home: Path) -> None:
    """The way out is the very command to log in again."""
    (home / "config").write_text(
        "[profile prod]\nregion=eu-west-3\nsso_session=s\nsso_account_id=123456789012\nsso_role_name=r\n"
        "[sso-session s]\nsso_start_url=https://x\nsso_region=eu-west-3\n"
    )
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    past = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (cache / f"{sha1(b's').hexdigest()}.json").write_text(json.dumps({"accessToken": PLANTED, "expiresAt": past}))
    with pytest.raises(TaskFailure, match="aws sso login --profile prod") as raised:
        open_access(settings({"AWS_PROFILE": "prod"})).identity()
    assert PLANTED not in "".join(traceback.format_exception(raised.value))


def test_a_web_identity_is_used_and_its_missing_file_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys or a profile boto3's own chain decides: here the role of a CI job."""
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/ci")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "missing"))
    access = open_access(settings({"AWS_REGION": REGION}))
    assert str(access.credentials) == "the machine's role"
    with pytest.raises(TaskFailure, match="cannot be read: No such file"):
        access.identity()


@pytest.mark.usefixtures("home")
def test_nothing_at_all_is_one_message() -> None:
    """A machine without credentials is told where they may come from."""
    with pytest.raises(TaskFailure, match="no complete AWS credentials were found"):
        open_access(settings({"AWS_REGION": REGION})).identity()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("values", "saying"), [({}, "Which region"), ({"AWS_PROFILE": "nobody", "AWS_REGION": REGION}, "no such profile")]
)
def test_what_is_missing_is_told_before_a_client_is_made(values: dict[str, str], saying: str) -> None:
    """No region, or a profile that is not there."""
    with pytest.raises(TaskFailure, match=saying):
        open_access(settings(values))


@pytest.fixture
def quiet() -> Iterator[Callable[[], str]]:
    """Turn every log on, as somebody who looks for an error would; give a function that returns what was logged."""
    records: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())

    handler, root = Keep(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lambda: "\n".join(records)
    root.removeHandler(handler)
    root.setLevel(level)
    for name in ("botocore", "boto3", "urllib3", "s3transfer"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        for mask in [f for f in logger.filters if isinstance(f, aws._Mask)]:
            logger.removeFilter(mask)


@pytest.mark.usefixtures("home")
def test_botocore_logs_nothing_of_a_request(quiet: Callable[[], str]) -> None:
    """At level DEBUG for everything, the making of a signed request leaves no line of botocore's."""
    access = open_access(settings(KEYS | {"AWS_SESSION_TOKEN": PLANTED, "AWS_REGION": REGION}))
    access.client("ecr").generate_presigned_url("describe_repositories")
    assert "botocore" not in quiet()
    assert PLANTED not in quiet()


@pytest.mark.usefixtures("home")
def test_who_turns_botocores_logs_on_sees_no_secret(quiet: Callable[[], str]) -> None:
    """The keys, the session's token and the registry's are masked in records of every level, on every logger."""
    access = open_access(settings(KEYS | {"AWS_SESSION_TOKEN": PLANTED, "AWS_REGION": REGION}))
    access.client("ecr")
    aws.hush([Secret("registry-password-1")])
    logging.getLogger("botocore").setLevel(logging.DEBUG)
    logging.getLogger("botocore.parsers").debug("body: %s", b'{"authorizationToken":"QVdTOnRva2Vu","x":1}')
    logging.getLogger("botocore.auth").debug("%s signed with %s", PLANTED, KEYS["AWS_SECRET_ACCESS_KEY"])
    logging.getLogger("botocore.endpoint").debug("login registry-password-1")
    assert "signed with" in quiet()
    for value in (PLANTED, *KEYS.values(), "QVdTOnRva2Vu", "registry-password-1"):
        assert value not in quiet()
