"""What a command says about itself, and that no secret is in it."""

import pytest

from scripts.host.secret import Secret, redact
from scripts.host.shell import Command

PASSWORD = "planted/password+value"


def test_a_command_prints_no_secret() -> None:
    """A dry run shows variables by name, and neither their secret values nor what goes to standard input."""
    command = Command(("docker", "login"), env={"A": "b c", "TOKEN": Secret(PASSWORD)}, stdin=Secret(PASSWORD))
    assert str(command) == "'A=b c' 'TOKEN=***' docker login"
    assert PASSWORD not in repr(command)


def test_a_child_gets_its_variables_beside_the_inherited_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command names wins; a setting that is set to nothing is left out, for it hides .env from us alone."""
    monkeypatch.setenv("INHERITED", "yes")
    monkeypatch.setenv("TOKEN", "old")
    monkeypatch.setenv("AWS_PROFILE", "")
    environment = Command(("x",), env={"TOKEN": Secret(PASSWORD)}).environment
    assert (environment["INHERITED"], environment["TOKEN"]) == ("yes", PASSWORD)
    assert "AWS_PROFILE" not in environment
    assert Command(("x",)).environment["INHERITED"] == "yes"


def test_every_secret_of_a_command_is_known() -> None:
    """Those of the variables, of standard input, and those named besides."""
    a, b, c = Secret("first"), Secret("second"), Secret("third")
    assert Command(("x",), env={"A": a, "B": "plain"}, stdin=b, hide=(c,)).secrets == (a, b, c)


@pytest.mark.parametrize(
    ("text", "secrets", "clean"),
    [
        ("token=abcdef.", ["abcdef"], "token=***."),
        ("abcdefgh abcd", ["abcd", "abcdefgh"], "*** ***"),
        ("begin\nsecond line\nend", ["first line\nsecond line"], "begin\n***\nend"),
        ("a.c abc", ["a.c."], "a.c abc"),
        ("nothing", [], "nothing"),
        ("a the b", ["the"], "a the b"),
    ],
    ids=["one", "one within another", "a line of several", "not a pattern", "none", "too short to hide"],
)
def test_secrets_are_taken_out_of_text(text: str, secrets: list[str], clean: str) -> None:
    """Each whole value goes; words that only look alike stay."""
    assert redact(text, [Secret(secret) for secret in secrets]) == clean
