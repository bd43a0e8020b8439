"""What users may rely on: the public names, their documentation, and what the pages show."""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args, get_type_hints

import pytest

import triton_sdk
from triton_sdk import errors

ROOT = Path(__file__).parent.parent
# Whatever has no underscore in its name.
PUBLIC: list[ModuleType] = [
    triton_sdk,
    *(
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(triton_sdk.__path__, "triton_sdk.")
        if "._" not in module.name
    ),
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def public_classes_and_functions() -> Iterator[tuple[str, object]]:
    """Yield each public class and function by its full name, and the public methods of each class."""
    for module in PUBLIC:
        for name in module.__all__:
            found = getattr(module, name)
            if not inspect.isclass(found) and not inspect.isfunction(found):
                continue
            yield f"{module.__name__}.{name}", found
            members = vars(found) if inspect.isclass(found) else {}
            for method, value in members.items():
                documented = isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value)
                if documented and not method.startswith("_"):
                    yield f"{module.__name__}.{name}.{method}", value


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_names_are_listed(module: ModuleType) -> None:
    """``__all__`` is there, without a name twice (ruff sees to the order), and each name is there."""
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_nothing_is_public_by_accident(module: ModuleType) -> None:
    """What a public module makes itself is listed, or has an underscore; what the package shows is listed."""
    tree = ast.parse(inspect.getsource(module))
    made = {name for node in tree.body for name in _made(node)}
    if module is triton_sdk:
        made |= {name for name, value in vars(module).items() if not inspect.ismodule(value)}
    assert {name for name in made if not name.startswith("_")} <= set(module.__all__)


def _made(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize(
    ("name", "found"), [*public_classes_and_functions()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_public_name_is_documented(name: str, found: object) -> None:
    """Each class, function and method has a docstring of its own that begins with a sentence."""
    text = found.__doc__
    assert text, f"{name} has no docstring"
    assert re.match(r"[A-Z`].*[.:]$", inspect.cleandoc(text).split("\n\n")[0].replace("\n", " ")), name


def test_every_error_is_in_the_drawing() -> None:
    """The tree in the module's docstring has each error, below its base, with the builtin that it also is."""
    drawn: dict[str, tuple[int, str]] = {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([ │├└─]*)(\w+Error)(?: \((\w+)\))?", line):
            drawn[found[2]] = (len(found[1]), found[3] or "")
    defined = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    assert set(drawn) == set(defined)
    for name, error in defined.items():
        depth = len([base for base in error.__mro__ if base.__module__ == errors.__name__])
        assert (drawn[name][0], drawn[name][1]) == (4 * depth, next(iter(builtins(error)), "")), name
        assert getattr(triton_sdk, name) is error


def builtins(error: type) -> list[str]:
    """Return the builtin exceptions that stand among the bases of *error*, but Exception."""
    return [base.__name__ for base in error.__bases__ if base.__module__ == "builtins" and base is not Exception]


def fences() -> Iterator[tuple[str, str]]:
    """Yield where each Python fence of a page stands, and its code."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            yield f"{page.name}:{text[: found.start()].count(chr(10)) + 1}", found[1]


@pytest.mark.parametrize(("place", "code"), [*fences()], ids=lambda value: value if len(value) < 40 else "")
def test_what_the_pages_show_exists(place: str, code: str) -> None:
    """Python in README and docs parses; what it imports from us is there, and its calls name true arguments."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("triton_sdk", "examples"):
            module = importlib.import_module(str(node.module))
            missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            assert missing == [], f"{place} imports what is not there"
        elif isinstance(node, ast.Call):
            signature = _signature(node.func)
            wrong = [word.arg for word in node.keywords if word.arg and signature and word.arg not in signature]
            assert wrong == [], f"{place} calls {ast.unparse(node.func)} with arguments that it does not have"


def _signature(function: ast.expr) -> set[str]:
    """Return the arguments of a public class, or of a client's method by its name; none where it is not ours."""
    if isinstance(function, ast.Name):
        found = next((getattr(m, function.id) for m in PUBLIC if function.id in m.__all__), None)
    elif isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "client":
        found = getattr(triton_sdk.ResNetClient, function.attr)
    else:
        return set()
    if not callable(found):
        return set()
    parameters = inspect.signature(found).parameters.values()
    unpacked = [hint for one in parameters if one.kind is one.VAR_KEYWORD for hint in get_args(one.annotation)]
    return {one.name for one in parameters} | {name for settings in unpacked for name in get_type_hints(settings)}
