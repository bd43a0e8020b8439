"""Read ``.env``, and tell each line that does not say what its writer meant."""

import codecs
import difflib
import io
import os
import re
import shlex
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from scripts.host import files

if TYPE_CHECKING:  # a pod has no such file, and no python-dotenv
    from dotenv.parser import Binding

NAME = ".env"
# What AWS's tools call the keys in JSON, and boto3's and the command line's other names; by what is read here.
_CALLED = {
    "AccessKeyId": "AWS_ACCESS_KEY_ID",
    "SecretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "SessionToken": "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_PROFILE": "AWS_PROFILE",
    "AWS_SECURITY_TOKEN": "AWS_SESSION_TOKEN",
}
_KEYS = "AWS_ACCESS_KEY_ID=..., AWS_SECRET_ACCESS_KEY=... and, if they are temporary, AWS_SESSION_TOKEN=..."
# What word processors and chats make of the keyboard's quotes and dashes.
_QUOTES = "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2039\u203a\u00b4`"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


@attrs.frozen(kw_only=True)
class Told:
    """A sentence about the file, which names a variable or a line and never a value.

    Attributes:
        fatal: Whether it stops the tasks.
        text: The sentence.
    """

    fatal: bool
    text: str


def read(path: Path) -> tuple[list["Binding"], list[Told]]:
    """Read the file; where it is none, or no text, there are no bindings and a sentence."""
    try:
        # A link to nothing is no file that was left out on purpose.
        content = files.read_bytes(path) if os.path.lexists(path) else b""
    except OSError as error:
        return [], [Told(fatal=True, text=f"{NAME} cannot be read: {error.strerror}.")]
    if wide := _wide(content):
        file, new = shlex.quote(str(path)), shlex.quote(f"{path}.new")
        sentence = (
            f"{NAME} is written in {wide}, as `>` of Windows PowerShell writes it. Save it as UTF-8, in an editor or "
            f"with: iconv -f {wide} -t UTF-8 {file} > {new} && mv {new} {file}"
        )
        return [], [Told(fatal=True, text=sentence)]
    # Editors on Windows put a byte-order mark first, which would become part of the first name.
    text = content.decode("utf-8-sig", errors="replace")
    if text.lstrip().startswith("{"):
        return [], [Told(fatal=True, text=f"{NAME} holds JSON, as AWS's tools print it. Write lines: {_KEYS}")]
    from dotenv.parser import parse_stream

    return list(parse_stream(io.StringIO(text))), []


def _wide(content: bytes) -> str:
    """Name the encoding of a text whose letters have several bytes each; empty where it is none."""
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), "")
    if marked or content.count(0) * 4 < len(content) or not content:
        return marked
    return "UTF-16LE" if content.find(0) % 2 else "UTF-16BE"


def odd(value: str) -> str:
    """Say what in *value* looks like something else than it is; empty where nothing does."""
    for character in value:
        point = f"U+{ord(character):04X}"
        if character == "\ufffd":
            return "has a letter in it that is not written in UTF-8: save the file as UTF-8"
        if character in _QUOTES:
            return f"has a typographic quote in it ({point}): write ' or \" around the value, or nothing"
        if character in _DASHES:
            return f"has a dash in it ({point}) that is none of the keyboard's: write -"
        if character not in " \t\n" and unicodedata.category(character) in ("Cc", "Cf", "Co", "Cn", "Zs", "Zl", "Zp"):
            return f"has a character in it that cannot be seen ({point}): type the value again"
    return ""


def unfilled(value: str, *, secret: bool) -> bool:
    """Say whether *value* has a variable in it that a shell would fill in; a secret may have the sign in it."""
    name = r"\$\{\w[^}]*\}|\$\w+|\$\(.*\)|%\w+%"
    return re.fullmatch(name, value) is not None or (not secret and "$" in value)


def problems(bindings: Sequence["Binding"], *, names: Collection[str], secrets: Collection[str]) -> Iterator[Told]:
    """Yield a sentence for each line that does not say what its writer meant.

    Only names that we know are repeated: what stands in the place of a name may be a value.

    Args:
        bindings: The lines.
        names: The variables that the tasks read.
        secrets: Those that are secret.
    """
    lines: dict[str, int] = {}
    for binding in bindings:
        # The text of a binding begins with the empty lines above it.
        before = binding.original.string
        line = binding.original.line + before[: len(before) - len(before.lstrip())].count("\n")
        where, name, value = f"{NAME} line {line}", binding.key, binding.value
        if name is not None and name in names and not binding.error:
            if value is None:
                yield Told(fatal=True, text=f"{where}: {name} has no '=' and no value.")
                continue
            if name in lines:
                yield Told(fatal=True, text=f"{where}: {name} stands on line {lines[name]} already; keep one of them.")
            lines.setdefault(name, line)
            if "\n" in value.strip():
                yield Told(fatal=True, text=f"{where}: {name} goes on over several lines: a missing quote?")
            elif _is_cut(binding):
                sentence = (
                    f"{where}: {name} ends before ' #', where a comment begins; quote the value if that belongs to it."
                )
                yield Told(fatal=name in secrets, text=sentence)
        elif otherwise := _otherwise(before.strip(), names):
            yield Told(fatal=True, text=f"{where} {otherwise}")
        elif binding.error:
            yield Told(fatal=True, text=f"{where} cannot be read: a missing quote or '='?")
        elif name is not None:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
            meant = f": is {near[0]} meant?" if near else "."
            yield Told(fatal=False, text=f"{where} sets what no task reads{meant}")


def _otherwise(line: str, names: Collection[str]) -> str:
    """Say what a line is that sets one of *names* in another program's way; empty where it does not."""
    if re.fullmatch(r"\[[^\]=]+\]", line):
        return (
            "begins a block of ~/.aws/credentials. Leave the block there and set AWS_PROFILE to its name, or write "
            f"here: {_KEYS}"
        )
    found = re.match(r"(?i)(?P<by>\$env:|setx? +|export +)?[\"']?(?P<name>[^\s=:\"']+)[\"']?\s*(?P<sign>[=:\s])", line)
    if found is None:
        return ""
    by, written = (found["by"] or "").lower().strip(), found["name"]
    plain = "".join(c for c in written if not odd(c))
    name = plain if plain in names else _CALLED.get(plain, plain.upper())
    if name not in names:
        return ""
    if plain != written:
        return f"names {name} with a character in it that cannot be seen: type the line again."
    if by == "$env:":
        return f"is a line for PowerShell: write {name}=VALUE"
    if by.startswith("set"):
        return f"is a line for Windows' command prompt: write {name}=VALUE"
    if found["sign"] != "=":
        return f"sets {name} without '=': write {name}=VALUE"
    return "" if plain == name else f"sets {name} under another name, which is not read: write {name}=VALUE"


def _is_cut(binding: "Binding") -> bool:
    """Say whether python-dotenv took a part of an unquoted value for a comment."""
    raw = binding.original.string.partition("=")[2].strip()
    return not raw.startswith(("'", '"')) and re.search(r"\s#", raw) is not None
