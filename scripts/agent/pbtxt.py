"""Set a top-level field of a ``config.pbtxt`` and keep every other byte; the image's Python has no protobuf."""

import re
from collections.abc import Iterator, Sequence

from scripts.agent.errors import AgentError

# Text format of protocol buffers: a comment, a string, a bracket or separator, or a word.
_TOKEN = re.compile(r"""\s+|\#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}<>\[\]:,;]|[^\s\#"'{}<>\[\]:,;]+""")
_CLOSING = {"{": "}", "<": ">", "[": "]"}


def serving(text: str, *, versions: Sequence[int]) -> str:
    """Return *text* with a version policy that serves just *versions*.

    Raises:
        AgentError: If *text* is no text of a configuration.
    """
    listed = ", ".join(map(str, versions))
    return _with(text, "version_policy", f"version_policy {{ specific {{ versions: [ {listed} ] }} }}")


def named(text: str, name: str) -> str:
    """Return *text* with *name* as the model's name.

    Raises:
        AgentError: If *text* is no text of a configuration.
    """
    return _with(text, "name", f'name: "{name}"')


def number(text: str, field: str) -> int:
    """Return the whole number that a top-level field has, the last one if there are several; 0 without one.

    Raises:
        AgentError: If *text* is no text of a configuration, or the field holds something else.
    """
    found = 0
    for name, start, end in _fields(text):
        if name == field:
            value = [token for token, _, _ in _tokens(text[start:end]) if token not in (":", ";", ",")][1:]
            try:
                found = int(value[0], 0)
            except (ValueError, IndexError):
                raise AgentError(f"The configuration's {field} is no whole number.") from None
    return found


def _with(text: str, field: str, line: str) -> str:
    """Return *text* with its fields called *field* replaced by *line*."""
    kept, position = [], 0
    for name, start, end in _fields(text):
        if name == field:
            kept.append(text[position:start])
            # Its line goes with it, if it had one to itself.
            alone = text[end : end + 1] == "\n" and text[start - 1 : start] in ("", "\n")
            position = end + alone
    kept.append(text[position:])
    rest = "".join(kept)
    return f"{rest}{'' if rest.endswith(chr(10)) or not rest else chr(10)}{line}\n"


def _fields(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each top-level field's name, and where it starts and ends in *text*."""
    tokens = list(_tokens(text))
    at = 0
    while at < len(tokens):
        name, start, end = tokens[at]
        at += 1
        if name in ";,":
            continue
        if name[0] in "\"'{}<>[]:":
            raise AgentError(f"The configuration has {name[:20]!r}, but the name of a field was expected.")
        if at < len(tokens) and tokens[at][0] == ":":
            at += 1
        first = at
        closing: list[str] = []
        while at < len(tokens):
            token, _, end = tokens[at]
            at += 1
            if token in _CLOSING:
                closing.append(_CLOSING[token])
            elif token in "}>]" and (not closing or closing.pop() != token):
                raise AgentError(f"The configuration's field {name[:40]!r} closes a bracket that is not open.")
            # Strings that follow each other are one value.
            if not closing and not (token[0] in "\"'" and at < len(tokens) and tokens[at][0][0] in "\"'"):
                break
        if at == first or closing:
            raise AgentError(f"The configuration's field {name[:40]!r} does not end.")
        if at < len(tokens) and tokens[at][0] in ";,":
            end = tokens[at][2]
            at += 1
        yield name, start, end


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield what is neither blank nor comment, with its place."""
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise AgentError(f"The configuration has an odd {text[position]!r}.")
        token = found[0]
        if not token.isspace() and not token.startswith("#"):
            yield token, position, found.end()
        position = found.end()
