"""The settings of this deployment: ``.env`` beside tasks.py, overridden by the real environment."""

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path

import attrs
import platformdirs
from dotenv import dotenv_values
from dotenv.parser import parse_stream

from scripts.errors import TaskFailure
from scripts.secret import Secret

ROOT = Path(__file__).resolve().parent.parent


def _account(text: str) -> str:
    return "" if re.fullmatch(r"\d{12}", text) else "is not 12 digits"


def _region(text: str) -> str:
    return "" if re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", text) else "is not a region such as eu-central-1"


def _host(text: str) -> str:
    return "" if re.fullmatch(r"(https?://)?[\w.\-]+(:\d{1,5})?/?", text) else "is not HOST or HOST:HTTP_PORT"


def _any(_: str) -> str:
    return ""


# Every variable that is read, with what is wrong with a value ("" when nothing is).
VARIABLES = {
    "AWS_REGION": _region,
    "AWS_ACCOUNT_ID": _account,
    "AWS_PROFILE": _any,
    "AWS_ACCESS_KEY_ID": _any,
    "AWS_SECRET_ACCESS_KEY": _any,
    "AWS_SESSION_TOKEN": _any,
    "ECR_REPOSITORY": _any,
    "TRITON_URL": _host,
}
SECRETS = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"})


@attrs.frozen(kw_only=True)
class Settings:
    """What ``.env`` and the environment say.

    Attributes:
        values: The variables that are set and are no secrets, by name.
        secrets: Those that are, by name.
        problems: What is wrong, one sentence for each, naming the variable or the line and never a value.
    """

    values: Mapping[str, str]
    secrets: Mapping[str, Secret]
    problems: tuple[str, ...]

    def get(self, name: str) -> str | None:
        """Return the value of *name*, or None where it is not set.

        Raises:
            TaskFailure: If any setting cannot be used; the message names them all.
        """
        if self.problems:
            raise TaskFailure("The settings cannot be used:\n" + "\n".join(f"  - {p}" for p in self.problems))
        return self.values.get(name)

    def has(self, name: str) -> bool:
        """Say whether *name* is set, a secret or not."""
        return name in self.values or name in self.secrets


def load(root: Path = ROOT, *, environ: Mapping[str, str] | None = None) -> Settings:
    """Read ``.env`` in *root* and the environment, which wins; an empty value counts as not set."""
    path = root / ".env"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    # Values are taken as they stand: python-dotenv would expand ${...} even inside single quotes, and a password may
    # hold that.
    merged = {k: v or "" for k, v in dotenv_values(stream=io.StringIO(text), interpolate=False).items()}
    merged |= {k: v for k, v in (os.environ if environ is None else environ).items() if k in VARIABLES}
    known = {k: v.strip() for k, v in merged.items() if k in VARIABLES and v.strip()}
    # python-dotenv drops a line that it cannot read without a word, and with it the variable.
    problems = [
        f".env line {line.original.line} cannot be read: a missing quote or '='?"
        for line in parse_stream(io.StringIO(text))
        if line.error
    ]
    problems += [f"{name} {wrong}." for name, value in sorted(known.items()) if (wrong := VARIABLES[name](value))]
    if ("AWS_ACCESS_KEY_ID" in known) != ("AWS_SECRET_ACCESS_KEY" in known):
        problems.append("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together: one of them is missing.")
    return Settings(
        values={k: v for k, v in known.items() if k not in SECRETS},
        secrets={k: Secret(v) for k, v in known.items() if k in SECRETS},
        problems=tuple(problems),
    )


def cache_folder() -> Path:
    """Return the folder for downloads in the user's cache."""
    return platformdirs.user_cache_path("triton-sdk") / "models"
