"""The settings of this deployment: ``.env`` beside tasks.py, overridden by the real environment."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from scripts.host import env_file, root
from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret

ROOT = root.ROOT
# Where TRITON_BASE_IMAGE is not set: the oldest release for production; scripts/repository/lint/gpu.py says why.
BASE_IMAGE = "nvcr.io/nvidia/tritonserver:26.08-py3"


def _pattern(pattern: str, wrong: str) -> Callable[[str], str]:
    return lambda text: "" if re.fullmatch(pattern, text) else wrong


def _endpoint(text: str) -> str:
    try:
        url = urlsplit(text)
        fits = bool(url.hostname) and not url.username and (url.port or 1) > 0
    except ValueError:
        fits = False
    if not fits or url.scheme not in ("http", "https"):
        return "is not http(s)://HOST or http(s)://HOST:PORT, without a user"
    # A registry's token is as good as a password, and comes in the body of an answer.
    plain = url.scheme == "http" and not is_loopback(url.hostname or "")
    return "is http, not https, and leads away from this machine" if plain else ""


def is_loopback(host: str) -> bool:
    """Say whether *host*, without a port, is this machine itself."""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _account(text: str) -> str:
    digits = re.sub(r"[\s-]", "", text)
    if re.fullmatch(r"\d{12}", digits):
        return "" if digits == text else "has dashes or blanks between its 12 digits: write the digits alone"
    if re.fullmatch(r"\d{1,11}", digits):
        return f"has {len(digits)} digits and an account's number has 12: zeros at its start belong to it"
    return "is not 12 digits" + (": of an ARN write the account's 12 digits alone" if text.startswith("arn:") else "")


def _repository(text: str) -> str:
    path = re.sub(r"^[a-z+]+://|^arn:.*:repository/", "", text)
    first, slash, rest = path.partition("/")
    host = slash and (":" in first or re.search(r"\..*\.|\.(io|com|net|org|dev|aws)$|^localhost$", first))
    if host or path != text:
        example = _for_example(rest if host else path)
        return f"is a whole address: write the repository's name alone, without host and tag{example}"
    if ":" in text or "@" in text:
        return "has a tag: write the name alone, and the tag, if you want one of your own, in IMAGE_TAG"
    part = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
    fits = 2 <= len(text) <= 256 and re.fullmatch(f"(?:{part}/)*{part}", text)
    return "" if fits else "is not a repository name: lower-case letters, digits, and single . _ - / between them"


def _for_example(path: str) -> str:
    """Name what is left of an address, where it surely is a name."""
    name = re.split("[:@]", path, maxsplit=1)[0]
    return f", for example {name}" if re.fullmatch(r"[a-z0-9][a-z0-9._/-]{1,100}", name) else ""


def _host(text: str) -> str:
    if "://" in text or "/" in text:
        return "has a scheme or a path: write HOST or HOST:PORT alone"
    return _pattern(r"[A-Za-z0-9][\w.-]*(:\d{1,5})?", "is not HOST or HOST:PORT")(text)


def server(text: str) -> str:
    """Say why *text* cannot be a server's HTTP address; empty where it can."""
    wanted = "write HOST or HOST:HTTP_PORT of Triton itself, for example localhost:8000"
    scheme, separator, rest = text.rpartition("://")
    if "@" in text:
        return f"has a user in it, and a server asks for none: {wanted}"
    if scheme.lower() == "https":
        return f"is https, and the tasks speak HTTP without TLS to a server: {wanted}"
    if separator and scheme.lower() != "http":
        return f"is of another protocol: {wanted}"
    host, _, path = rest.partition("/")
    if path:
        return f"has a path: {wanted}"
    found = re.fullmatch(r"([\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(\d+))?", host)
    if found is None:
        return f"is no address: {wanted}"
    if found[2] and not 0 < int(found[2][:6]) <= 65535:
        return "has a port that cannot be: write one from 1 to 65535"
    return ""


def _store(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    bucket = parts.scheme == "s3" and re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc)
    folder = parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.strip("/")
    fits = (bucket or folder) and not parts.query and not parts.fragment
    return "" if fits else "is not s3://BUCKET/PREFIX or file:///FOLDER"


def _chart(text: str) -> str:
    # A chart's name is an argument of a program: it must not look like an option.
    fits = re.fullmatch(r"(oci://[\w.-]+(:\d{1,5})?/|[\w.~/])[\w./@+-]*", text)
    return "" if fits else "is not a folder, an archive, REPOSITORY/NAME or oci://HOST/NAME"


def _any(_: str) -> str:
    return ""


# Every variable that is read, with what is wrong with a value ("" when nothing is).
VARIABLES: Mapping[str, Callable[[str], str]] = {
    "AWS_REGION": _pattern(r"[a-z]{2,8}(-[a-z]+)+-\d{1,2}", "is not a region such as eu-central-1"),
    "AWS_ACCOUNT_ID": _account,
    "AWS_PROFILE": _any,
    "AWS_ACCESS_KEY_ID": _any,
    "AWS_SECRET_ACCESS_KEY": _any,
    "AWS_SESSION_TOKEN": _any,
    "AWS_ENDPOINT_URL": _endpoint,
    "CHART_KEY": _any,
    "CHART_KEYRING": _any,
    "CHART_PASSPHRASE_FILE": _any,
    "ECR_REPOSITORY": _repository,
    "ECR_KEEP_IMAGES": _pattern(r"[1-9]\d{0,3}", "is not a number from 1 to 9999"),
    "ECR_KMS_KEY": _pattern(r"[\w:/-]+", "is not the ARN, id or alias/NAME of a key"),
    "IMAGE_TAG": _pattern(r"\w[\w.-]{0,127}", "is not a tag: up to 128 letters, digits, . _ -"),
    "REGISTRY_HOST": _host,
    "KUBE_CONTEXT": _any,
    "KUBE_PATIENCE": _pattern(r"\d{1,4}", "is not a number of seconds, from 0 to 9999"),
    "MODEL_STORE": _store,
    "TRITON_BASE_IMAGE": _pattern(r"[\w./:@-]+", "is not an image such as HOST/NAME:TAG@sha256:DIGEST"),
    "TRITON_CHART": _chart,
    "TRITON_CHART_REPO": _endpoint,
    "TRITON_CHART_VERSION": _pattern(r"\d+\.\d+\.\d+([-+][\w.+-]+)?", "is not a version such as 0.3.0"),
    "TRITON_NAMESPACE": _pattern(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "is not a name: a-z, 0-9 and - between them"),
    "TRITON_PLAN_FILE": _pattern(r"[\w.~/][\w./@+~-]*", "is not the path of a file"),
    # Helm's own limit is 53.
    "TRITON_RELEASE": _pattern(r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?", "is not a name: a-z, 0-9 and - between them"),
    "TRITON_URL": server,
}
SECRETS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"})
# A name by which AWS's own tools know a setting too; it counts where ours is not set in the same place.
_ALSO = {"AWS_DEFAULT_REGION": "AWS_REGION"}
# Who calls: taken from one place as a whole, or a token of one session would be sent with the key of another.
_WHO = SECRETS | {"AWS_PROFILE"}


@attrs.frozen(kw_only=True)
class Settings:
    """What ``.env`` and the environment say.

    Attributes:
        values: The variables that are set and are no secrets, by name.
        secrets: Those that are, by name.
        problems: What keeps the settings from being used, one sentence for each, naming the variable or the line and
            never a value.
        warnings: What looks like a mistake but can be lived with, likewise.
    """

    values: Mapping[str, str]
    secrets: Mapping[str, Secret]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def get(self, name: str) -> str | None:
        """Return the value of *name*, or None where it is not set.

        Raises:
            TaskFailure: If any setting cannot be used; the message names them all.
        """
        if self.problems:
            raise TaskFailure("The settings cannot be used:\n" + "\n".join(f"  - {p}" for p in self.problems))
        return self.values.get(name)

    def require(self, *names: str) -> tuple[str, ...]:
        """Return the values of *names*.

        Raises:
            TaskFailure: If any setting cannot be used or one of *names* is not set; the message names them all.
        """
        found = {name: self.get(name) for name in names}
        if absent := [name for name, value in found.items() if value is None]:
            raise TaskFailure(
                f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not set. "
                "Set it in .env (see .env.example) or in the environment."
            )
        return tuple(value for value in found.values() if value is not None)

    def has(self, name: str) -> bool:
        """Say whether *name* is set, a secret or not."""
        return name in self.values or name in self.secrets


def load(root: Path = ROOT, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Read ``.env`` in *root* and the environment, which wins; an empty value counts as not set.

    A variable that the environment sets, even to nothing, hides the one of the file; where it sets all, the file is not
    read.
    """
    path = root / env_file.NAME
    outside = os.environ if environ is None else environ
    hidden = VARIABLES.keys() & outside.keys()
    if _WHO & hidden:
        hidden |= _WHO
    # What is hidden whole is not even read.
    bindings, told = env_file.read(path) if hidden != VARIABLES.keys() else ([], [])
    in_file = _taken({b.key: b.value for b in bindings if b.key and b.value}, VARIABLES.keys() - hidden)
    known = in_file | _taken(outside, VARIABLES.keys())
    told += env_file.problems(bindings, names=(*VARIABLES, *_ALSO), secrets=SECRETS)
    problems = [one.text for one in told if one.fatal]
    warnings = [one.text for one in told if not one.fatal]
    problems += [f"{name} {wrong}." for name, value in sorted(known.items()) if (wrong := _wrong(name, value))]
    if ("AWS_ACCESS_KEY_ID" in known) != ("AWS_SECRET_ACCESS_KEY" in known):
        problems.append("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together: one of them is missing.")
    if "AWS_SESSION_TOKEN" in known and "AWS_ACCESS_KEY_ID" not in known:
        problems.append("AWS_SESSION_TOKEN is of no use without the AWS_ACCESS_KEY_ID that it belongs to.")
    if (host := known.get("REGISTRY_HOST")) and known.get("ECR_REPOSITORY", "").startswith(f"{host}/"):
        problems.append("ECR_REPOSITORY begins with REGISTRY_HOST: write what comes after it, without the '/'.")
    if "AWS_PROFILE" in known and "AWS_ACCESS_KEY_ID" in known:
        warnings.append("AWS_PROFILE and AWS_ACCESS_KEY_ID are both set: the keys are used, the profile is not.")
    if SECRETS & in_file.keys() and os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        warnings.append(".env holds keys and can be read by others on this machine: chmod 600 .env")
    return Settings(
        values={k: v for k, v in known.items() if k not in SECRETS},
        secrets={k: Secret(v) for k, v in known.items() if k in SECRETS},
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _taken(given: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Return the values of *names* that are set, under the names that we call them by."""
    found = {name: value.strip() for name in names if (value := given.get(name, "")).strip()}
    for other, name in _ALSO.items():
        if name in names and not found.get(name) and (value := given.get(other, "").strip()):
            found[name] = value
    return found


def _wrong(name: str, value: str) -> str:
    """Say what is wrong with a value; empty where nothing is."""
    if oddity := env_file.odd(value):
        return oddity
    if env_file.unfilled(value, secret=name in SECRETS):
        return "has a variable in it, such as ${NAME}, and nothing fills that in: write the value itself"
    return VARIABLES[name](value)


def inherited() -> dict[str, str]:
    """Return the environment that a program started here inherits.

    A setting that is set to nothing hides the one of ``.env``; a program such as the AWS CLI would take it for a
    profile without a name, so it is left out.
    """
    return {name: value for name, value in os.environ.items() if value or name not in VARIABLES}


def cache_folder() -> Path:
    """Return the folder for downloads in the user's cache."""
    import platformdirs

    return platformdirs.user_cache_path("triton-sdk") / "models"


def served_folder(repository: Path) -> Path:
    """Return the folder that belongs to *repository* while it is served, always the same one, in the user's cache."""
    import platformdirs

    name = hashlib.sha256(os.fsencode(repository.resolve())).hexdigest()[:16]
    return platformdirs.user_cache_path("triton-sdk") / "served" / name


def state_folder() -> Path:
    """Return the folder for what tasks note down, in the user's folder for such things."""
    import platformdirs

    return platformdirs.user_state_path("triton-sdk")
