"""Talk to AWS as whoever the settings say, and say in one message what to do when it refuses."""

import contextlib
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
import boto3
import botocore.session
from botocore import exceptions as boto
from botocore.config import Config

from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret, redact
from scripts.host.settings import Settings
from scripts.registry.credentials import Credentials

POLICIES = "docs/aws.md"
# A person waits: a wrong region or endpoint shall be told in seconds, not after botocore's default minute and retries.
_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S, _ATTEMPTS = 5, 20, 3
_LOGGERS = ("boto3", "botocore", "urllib3", "s3transfer")


@attrs.frozen(kw_only=True)
class Identity:
    """Who AWS says we are.

    Attributes:
        account: The account's number, 12 digits.
        arn: The name of the user or role.
    """

    account: str
    arn: str


@attrs.frozen(kw_only=True)
class Access:
    """A way to AWS; build it with `open_access`.

    Attributes:
        region: The region that is asked.
        credentials: Where the credentials come from.
        client: Gives a client of a service, ``"sts"`` or ``"ecr"``.
    """

    region: str
    credentials: Credentials
    client: Callable[[str], Any]

    def identity(self) -> Identity:
        """Ask AWS whose credentials these are; every identity may ask that.

        Raises:
            TaskFailure: If there are no credentials, or AWS does not take them.
        """
        with self.errors("ask AWS who we are"):
            answer = self.client("sts").get_caller_identity()
            return Identity(account=answer["Account"], arn=answer["Arn"])

    @contextlib.contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn what boto3 raises inside into a `TaskFailure` that says what *doing* needs."""
        with _translated(doing, region=self.region, credentials=self.credentials):
            yield


def open_access(settings: Settings) -> Access:
    """Return a way to AWS with the settings' keys, or their profile, or what boto3 finds by itself.

    That finds an assumed role, a web identity (CI, a pod), single sign-on, and an instance's or a container's role.
    Nothing is exported: keys from ``.env`` are handed to boto3 and to nobody else.

    Raises:
        TaskFailure: If the profile is not there, or no region is known.
    """
    hush()
    profile = settings.get("AWS_PROFILE")
    keys = {
        argument: settings.secrets[name].reveal()
        for name, argument in (
            ("AWS_ACCESS_KEY_ID", "aws_access_key_id"),
            ("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key"),
            ("AWS_SESSION_TOKEN", "aws_session_token"),
        )
        if name in settings.secrets
    }
    credentials = Credentials.of_keys() if keys else Credentials.of_machine()
    if profile and not keys:
        credentials = Credentials.of_profile(profile, {})
    region = settings.get("AWS_REGION")
    with _translated("read the AWS settings", region=region or "", credentials=credentials):
        # AWS_PROFILE is ours to read: set to nothing, it hides the one of .env, and boto3 would look for that profile.
        variables = {"profile": (None, "AWS_DEFAULT_PROFILE", None, None)}
        inner = botocore.session.Session(session_vars=variables)
        session = boto3.Session(
            botocore_session=inner,
            region_name=region,
            profile_name=None if keys else profile,
            **keys,
        )
        profiles = inner.full_config["profiles"]
    if not keys and session.profile_name in profiles:  # boto3's own default among them
        credentials = Credentials.of_profile(session.profile_name, profiles)
    region = session.region_name
    if not region:
        raise TaskFailure("Which region? Set AWS_REGION in .env, for example AWS_REGION=eu-central-1.")
    endpoint = settings.get("AWS_ENDPOINT_URL")

    def client(service: str) -> Any:
        config = Config(
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        if credentials.asks and not sys.stdin.isatty():  # botocore would wait for an answer, for ever
            raise TaskFailure(f"Cannot reach AWS ({service}): {credentials.unasked}")
        with _translated(f"reach AWS ({service})", region=region, credentials=credentials):
            made = session.client(service, endpoint_url=endpoint, config=config)
        hush(settings.secrets.values())
        return made

    return Access(region=region, credentials=credentials, client=client)


# An answer with a registry's token in it is a secret as a whole, and so is a header that signs.
_TOKENS = re.compile(
    r"""((?:authorizationToken|Authorization|X-Amz-Security-Token)\W{1,6}(?:b['"])?)[^'"\\}]+""", re.IGNORECASE
)


class _Mask(logging.Filter):
    """Replaces secrets in what a logger is about to write, for who turns these logs on after all."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: list[Secret] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record, and let it pass."""
        record.msg, record.args = _TOKENS.sub(r"\1***", redact(record.getMessage(), self.secrets)), ()
        return True


_MASK = _Mask()


def hush(secrets: Iterable[Secret] = ()) -> None:
    """Keep boto3's own logs silent but for warnings, and *secrets*, with those of earlier calls, out of them.

    At level DEBUG botocore writes whole requests and answers, tokens included. A filter works only on the very logger
    that it is put on, so it goes on every one that there is.
    """
    _MASK.secrets += [secret for secret in secrets if secret not in _MASK.secrets]
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    # Why credentials cannot be had is told in one message, and here with a traceback.
    for name in _PROVIDERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _LOGGERS:
            logging.getLogger(name).addFilter(_MASK)


@contextlib.contextmanager
def _translated(doing: str, *, region: str, credentials: Credentials) -> Iterator[None]:
    # Without what it came from: AWS's own texts can hold the session's token (a request that was signed wrongly is
    # quoted back whole), and a traceback would show them.
    try:
        yield
    except boto.ClientError as error:
        raise TaskFailure(_refusal(error, doing=doing, region=region, credentials=credentials)) from None
    except Exception as error:
        if not isinstance(error, (boto.BotoCoreError, boto.HTTPClientError, OSError)) and not _of_provider(error):
            raise
        raise TaskFailure(_trouble(error, doing=doing, region=region, credentials=credentials)) from None


def _of_provider(error: Exception) -> bool:
    """Say whether *error* was raised while botocore looked for credentials, which may raise anything."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") in _PROVIDERS for frame, _ in frames)


_PROVIDERS = {"botocore.credentials", "botocore.tokens"}


_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired", "UnauthorizedException"}
_UNKNOWN = {
    "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "AuthFailure",
    "MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotSignedUp", "InvalidIdentityToken",
}  # fmt: skip
_UNSIGNED = {"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "RequestTimeTooSkewed"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "ForbiddenException"}
_BUSY = {
    "Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "RequestThrottled",
    "ServerException", "InternalFailure", "InternalServerError", "InternalError", "ServiceUnavailable",
    "ServiceUnavailableException", "RequestTimeout", "RequestTimeoutException",
}  # fmt: skip
_CLOSED_REGION = {"OptInRequired", "RegionDisabledException", "SubscriptionRequiredException"}


def _refusal(error: boto.ClientError, *, doing: str, region: str, credentials: Credentials) -> str:
    """Say what an error that AWS itself answered means. Of AWS's text only the name of a missing right is repeated."""
    details = error.response.get("Error", {})
    code = str(details.get("Code", ""))
    start = f"Cannot {doing}: "
    if code in _EXPIRED:
        return f"{start}the AWS credentials ({credentials}) have expired. {credentials.renew}"
    if code in _UNKNOWN:
        return (
            f"{start}AWS does not know these credentials ({credentials}) in {region}. {credentials.renew} "
            "If they are right, check AWS_REGION: the account may not have that region enabled."
        )
    if code in _UNSIGNED:
        return (
            f"{start}AWS does not accept the signature: the secret key does not belong to the key id, or this "
            "machine's "
            f"clock is wrong. {credentials.renew}"
        )
    if code in _DENIED:
        right = re.search(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)", str(details.get("Message", "")))
        asked = right[1] if right else error.operation_name
        return (
            f"{start}this identity ({credentials}) is not allowed {asked} in {region}. Ask for the policy in "
            f"{POLICIES}, "
            "or use another identity."
        )
    if code in _CLOSED_REGION:
        return f"{start}the account has not enabled the region {region}. Enable it, or correct AWS_REGION."
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _BUSY or status >= 500:
        return f"{start}AWS is busy or has trouble ({code}). Run the task again in a minute."
    if code == "RepositoryNotFoundException":
        return (
            f"{start}there is no such repository in {region}. Create it once with `invoke create-repository` (the "
            "chart's: --chart), or correct ECR_REPOSITORY or AWS_REGION."
        )
    if code == "LimitExceededException":
        return f"{start}the account's quota is used up. Ask AWS for a higher one, or remove what is not used."
    if code == "KmsException":
        return (
            f"{start}the key ECR_KMS_KEY cannot be used. Check that it is enabled, in {region}, and may be used by ECR."
        )
    return (
        f"{start}AWS refused {error.operation_name} with {code or 'an error without a code'}. Check the settings "
        "in .env."
    )


_NO_LOGIN = (
    boto.SSOError, boto.TokenRetrievalError, boto.CredentialRetrievalError, boto.NoAuthTokenError,
    boto.RefreshWithMFAUnsupportedError,
)  # fmt: skip
_NETWORK = (boto.HTTPClientError, boto.ConnectionError)


def _trouble(error: Exception, *, doing: str, region: str, credentials: Credentials) -> str:
    """Say what an error on this side of AWS means."""
    start = f"Cannot {doing}: "
    if isinstance(error, boto.ProfileNotFound):
        return f"{start}there is no such profile on this machine. Correct AWS_PROFILE, or make it: aws configure sso"
    if isinstance(error, (boto.NoCredentialsError, boto.PartialCredentialsError)):
        if credentials.broken or credentials.is_login:
            return f"{start}{credentials.trouble(error)}"
        return (
            f"{start}no complete AWS credentials were found. Set AWS_PROFILE (after `aws sso login`), or keys, in "
            ".env; "
            f"in CI use a role: {POLICIES}."
        )
    if isinstance(error, (boto.NoRegionError, boto.InvalidRegionError)):
        return f"{start}no usable region. Set AWS_REGION in .env, for example AWS_REGION=eu-central-1."
    if isinstance(error, boto.SSLError):
        return (
            f"{start}the connection to AWS is not trusted. Behind a proxy that opens TLS, set AWS_CA_BUNDLE to its "
            "certificate."
        )
    if isinstance(error, _NETWORK):
        return (
            f"{start}AWS cannot be reached in {region} ({type(error).__name__}). Check the network, the proxy, "
            "AWS_REGION (a region that does not exist has no address) and AWS_ENDPOINT_URL."
        )
    # LoginError, of `aws login`, is newer than the oldest botocore that we take.
    if isinstance(error, _NO_LOGIN) or type(error).__name__.startswith("Login") or _of_provider(error):
        return f"{start}{credentials.trouble(error)}"
    if isinstance(error, OSError):
        return (
            f"{start}a file that it needs cannot be read: {error.strerror or type(error).__name__}. Check the AWS "
            "files."
        )
    return f"{start}boto3 says {type(error).__name__}. Check ~/.aws/config and the AWS settings in .env."
