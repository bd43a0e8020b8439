"""The settings of this deployment: ``.env`` beside tasks.py, overridden by the real environment."""

import difflib
import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import platformdirs
from dotenv.parser import Binding, parse_stream

from scripts.host.errors import TaskFailure
from scripts.host.secret import Secret

ROOT = Path(__file__).resolve().parents[2]
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


def _repository(text: str) -> str:
    part = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
    fits = 2 <= len(text) <= 256 and re.fullmatch(f"(?:{part}/)*{part}", text)
    return "" if fits else "is not a repository name: lower-case letters, digits, and single . _ - / between them"


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
    "AWS_ACCOUNT_ID": _pattern(r"\d{12}", "is not 12 digits"),
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
    "REGISTRY_HOST": _pattern(r"[A-Za-z0-9][\w.-]*(:\d{1,5})?", "is not HOST or HOST:PORT"),
    "KUBE_CONTEXT": _any,
    "KUBE_PATIENCE": _pattern(r"\d{1,4}", "is not a number of seconds, from 0 to 9999"),
    "MODEL_STORE": _store,
    "TRITON_BASE_IMAGE": _pattern(r"[\w./:@-]+", "is not an image such as HOST/NAME:TAG@sha256:DIGEST"),
    "TRITON_CHART": _chart,
    "TRITON_CHART_REPO": _endpoint,
    "TRITON_NAMESPACE": _pattern(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "is not a name: a-z, 0-9 and - between them"),
    "TRITON_PLAN_FILE": _pattern(r"[\w.~/][\w./@+~-]*", "is not the path of a file"),
    # Helm's own limit is 53.
    "TRITON_RELEASE": _pattern(r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?", "is not a name: a-z, 0-9 and - between them"),
    "TRITON_URL": _pattern(r"(https?://)?[\w.\-]+(:\d{1,5})?/?", "is not HOST or HOST:HTTP_PORT"),
}
SECRETS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"})
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
    path = root / ".env"
    outside = os.environ if environ is None else environ
    hidden = VARIABLES.keys() & outside.keys()
    if _WHO & hidden:
        hidden |= _WHO
    problems: list[str] = []
    warnings: list[str] = []
    text = ""
    try:
        # Editors on Windows put a byte-order mark first, which would become part of the first name.
        needed = hidden != VARIABLES.keys() and path.exists()
        text = path.read_text(encoding="utf-8-sig", errors="replace") if needed else ""
    except OSError as error:
        problems.append(f".env cannot be read: {error.strerror}.")
    bindings = list(parse_stream(io.StringIO(text)))
    taken = VARIABLES.keys() - hidden
    in_file = {b.key: b.value.strip() for b in bindings if b.key and b.key in taken and b.value and b.value.strip()}
    given = {k: v.strip() for k, v in outside.items() if k in VARIABLES and v.strip()}
    known = in_file | given
    for fatal, sentence in _line_problems(bindings):
        (problems if fatal else warnings).append(sentence)
    problems += [f"{name} {wrong}." for name, value in sorted(known.items()) if (wrong := VARIABLES[name](value))]
    if ("AWS_ACCESS_KEY_ID" in known) != ("AWS_SECRET_ACCESS_KEY" in known):
        problems.append("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together: one of them is missing.")
    if "AWS_SESSION_TOKEN" in known and "AWS_ACCESS_KEY_ID" not in known:
        problems.append("AWS_SESSION_TOKEN is of no use without the AWS_ACCESS_KEY_ID that it belongs to.")
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


def _line_problems(bindings: list[Binding]) -> Iterator[tuple[bool, str]]:
    """Yield whether it stops the tasks, and a sentence, for each line that does not say what its writer meant.

    Only names that we know are repeated: what stands in the place of a name may be a value.
    """
    lines: dict[str, int] = {}
    for binding in bindings:
        # The text of a binding begins with the empty lines above it.
        before = binding.original.string
        line = binding.original.line + before[: len(before) - len(before.lstrip())].count("\n")
        where, name, value = f".env line {line}", binding.key, binding.value
        if binding.error:
            yield True, f"{where} cannot be read: a missing quote or '='?"
        elif name is None:
            continue
        elif name not in VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.8)
            yield False, f"{where} sets what no task reads{f': is {near[0]} meant?' if near else '.'}"
        elif value is None:
            yield True, f"{where}: {name} has no '=' and no value."
        else:
            if name in lines:
                yield True, f"{where}: {name} stands on line {lines[name]} already; keep one of them."
            lines.setdefault(name, line)
            if "\n" in value.strip():
                yield True, f"{where}: {name} goes on over several lines: a missing quote?"
            elif _is_cut(binding):
                yield (
                    name in SECRETS,
                    f"{where}: {name} ends before ' #', where a comment begins; quote the value if that belongs to it.",
                )


def _is_cut(binding: Binding) -> bool:
    """Say whether python-dotenv took a part of an unquoted value for a comment."""
    raw = binding.original.string.partition("=")[2].strip()
    return not raw.startswith(("'", '"')) and re.search(r"\s#", raw) is not None


def inherited() -> dict[str, str]:
    """Return the environment that a program started here inherits.

    A setting that is set to nothing hides the one of ``.env``; a program such as the AWS CLI would take it for a
    profile without a name, so it is left out.
    """
    return {name: value for name, value in os.environ.items() if value or name not in VARIABLES}


def cache_folder() -> Path:
    """Return the folder for downloads in the user's cache."""
    return platformdirs.user_cache_path("triton-sdk") / "models"


def served_folder(repository: Path) -> Path:
    """Return the folder that belongs to *repository* while it is served, always the same one, in the user's cache."""
    name = hashlib.sha256(os.fsencode(repository.resolve())).hexdigest()[:16]
    return platformdirs.user_cache_path("triton-sdk") / "served" / name
