"""The table of contents, and what the flags of the tasks say of themselves."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
from invoke import Task

import tasks
from scripts.cluster.target import NAMESPACE, RELEASE
from scripts.host.errors import TaskFailure
from scripts.server.endpoint import GRPC_OFFSET, HTTP_PORT, METRICS_OFFSET
from scripts.tasks import canary, cluster, environment, flags, images, measuring, models, serving, store, versions

ROOT = Path(__file__).parents[3]
# As a release lives: what is here, a version, a server, an image, a cluster.
LIFE = [
    "check-env",
    "package-model",
    "lint-repository",
    "generate-input",
    "serve",
    "smoke-test",
    "tune-gpu",
    "create-store",
    "publish-model",
    "versions",
    "compare",
    "canary",
    "promote",
    "rollback",
    "build-image",
    "create-repository",
    "push-triton",
    "push-chart",
    "deploy-triton",
    "status",
    "destroy-triton",
]
MODULES = {
    "environment": environment,
    "models": models,
    "serving": serving,
    "measuring": measuring,
    "images": images,
    "cluster": cluster,
    "store": store,
    "versions": versions,
    "canary": canary,
}


def test_the_table_names_every_task_in_the_order_of_a_releases_life() -> None:
    """What scripts/tasks has and the table lacks could not be run."""
    written = {found.name for module in MODULES.values() for found in vars(module).values() if isinstance(found, Task)}
    assert [name.replace("_", "-") for name in tasks.namespace.tasks] == LIFE
    assert {name.replace("_", "-") for name in written} == set(LIFE)
    assert {path.stem for path in (ROOT / "scripts" / "tasks").glob("*.py")} == {
        "__init__",
        "calling",
        "flags",
        "printing",
        "reaching",
        *MODULES,
    }


def test_the_table_is_nothing_but_a_table() -> None:
    """tasks.py has a docstring, two imports, what watches over its printing, and the collection."""
    parsed = ast.parse((ROOT / "tasks.py").read_text(encoding="utf-8"))
    assert [type(node) for node in parsed.body] == [ast.Expr, ast.ImportFrom, ast.ImportFrom, ast.Expr, ast.Assign]


def test_help_tells_the_true_defaults() -> None:
    """The texts spell them, so that no list of the tasks has to import a server or a cluster."""
    assert RELEASE in flags.WHERE["release"]
    assert NAMESPACE in flags.WHERE["namespace"]
    assert f"port {HTTP_PORT})" in serving.smoke_test.help["url"]
    ports = inspect.signature(serving.serve.body).parameters
    assert ports["http_port"].default == str(HTTP_PORT)
    assert ports["grpc_port"].default == str(HTTP_PORT + GRPC_OFFSET)
    assert ports["metrics_port"].default == str(HTTP_PORT + METRICS_OFFSET)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "one", "\u0661", "2147483648", "12345678901"])
def test_what_is_no_number_is_refused_by_the_flags_name(text: str) -> None:
    """Only ASCII digits within the bounds are one."""
    with pytest.raises(TaskFailure, match=r"^--batch takes a whole number from 1 on"):
        flags.number(text, name="batch")


def test_a_number_keeps_its_bounds() -> None:
    """Both ends belong to it, and both are named where it is refused."""
    assert [flags.number(text, name="port", least=0, most=65535) for text in ("0", "65535")] == [0, 65535]
    with pytest.raises(TaskFailure, match="--port takes a whole number from 0 to 65535, not '65536'"):
        flags.number("65536", name="port", least=0, most=65535)


def test_a_flag_that_is_not_given_has_no_value() -> None:
    """So that the packages below choose the default."""
    assert flags.optional_number("", name="version") is None
    assert flags.optional_number("3", name="version") == 3
    assert flags.channels("", name="mean") is None
    assert flags.channels("0.5, 0.4,0", name="mean") == (0.5, 0.4, 0.0)
    assert flags.channels("0.1307", name="mean") == (0.1307,)
    assert (flags.fraction("", name="scale"), flags.share("", name="min-accuracy")) == (None, None)
    assert (flags.size("", name="size"), flags.word("", ("a", "b"), name="fit")) == (None, None)
    assert flags.assignments([], name="freeze") == {}


def test_flags_of_the_preprocessing_are_read() -> None:
    """Fractions, sizes, words and numbers by name, as the messages show them."""
    assert flags.fraction("1/255", name="scale") == 1 / 255
    assert flags.fraction("0.5", name="scale") == 0.5
    assert [flags.seconds(text, name="for") for text in ("90s", "30m", "2h", "1d")] == [90, 1800, 7200, 86400]
    assert flags.size("224x192", name="size") == (224, 192)
    assert flags.word("squash", ("crop", "squash"), name="fit") == "squash"
    assert flags.assignments(["keep_prob=1", "a:0=0,0.5"], name="freeze") == {"keep_prob": (1.0,), "a:0": (0.0, 0.5)}


@pytest.mark.parametrize("text", ["1,2", "1,2,3,4", "a,b,c", ",,", "nan", "inf,1,1"])
def test_what_are_no_numbers_of_channels_is_refused(text: str) -> None:
    """The message shows some."""
    with pytest.raises(TaskFailure, match="--std takes one number, or three with commas between them, for example"):
        flags.channels(text, name="std")


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        (flags.fraction, "1/0", "takes a number or a fraction, for example 1/255"),
        (flags.fraction, "1/255/2", "takes a number or a fraction"),
        (flags.share, "90", "takes a number from 0 to 1"),
        (flags.seconds, "30", "takes a time, for example 90s, 30m or 2h"),
        (flags.seconds, "0m", "takes a time"),
        (flags.size, "224", "for example 224x224"),
        (flags.size, "0x224", "for example 224x224"),
        (
            lambda text, name: flags.word(text, ("crop", "squash", "pad"), name=name),
            "zoom",
            "takes crop, squash or pad",
        ),
        (lambda text, name: flags.assignments([text], name=name), "keep_prob", "for example keep_prob=1"),
        (lambda text, name: flags.assignments([text, text], name=name), "a=1", "once for each input"),
    ],
)
def test_what_cannot_be_read_is_refused_with_an_example(parse: Callable[..., object], text: str, words: str) -> None:
    """The message names the flag and shows what it takes."""
    with pytest.raises(TaskFailure, match=words):
        parse(text, name="flag")
