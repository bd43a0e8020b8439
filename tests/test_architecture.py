"""Who may import whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path.relative_to(ROOT)
    for top in ("triton_sdk", "triton_sdk_pytest.py", "scripts", "tasks.py")
    for path in ([ROOT / top] if top.endswith(".py") else (ROOT / top).rglob("*.py"))
)

# Import, and the only files (or folders) that may have it.
ONLY_IN = {
    "grpc": ["triton_sdk/_wire/grpc_sync.py", "triton_sdk/_wire/grpc_aio.py"],
    "google.protobuf": [
        "triton_sdk/_flow/codec.py",
        "triton_sdk/_flow/ask.py",
        "triton_sdk/_flow/steps.py",
        # A server in memory: it reads what the client sends.
        "triton_sdk/_wire/memory.py",
        "scripts/repository/config_pbtxt.py",
    ],
    "tritonclient": [
        "triton_sdk/_wire/grpc_sync.py",
        "triton_sdk/_flow/codec.py",
        "triton_sdk/_wire/memory.py",
        "scripts/repository/config_pbtxt.py",
    ],
    "subprocess": ["scripts/host/shell.py", "scripts/host/tether.py", "triton_sdk/local"],
    "cykooz_resizer": ["triton_sdk/_pixels/resample.py"],
    "rich": ["scripts/host/terminal.py", "triton_sdk/__main__.py"],
    "dotenv": ["scripts/host/settings.py"],
    "boto3": ["scripts/registry/aws.py"],
    "botocore": ["scripts/registry/aws.py", "scripts/registry/ecr.py"],
    "invoke": ["tasks.py", "scripts/tasks"],
    "onnx": ["scripts"],
    "triton_sdk.local": ["triton_sdk/local", "triton_sdk_pytest.py", "scripts", "tasks.py"],
    "scripts": ["scripts", "tasks.py"],
    "tasks": [],
}


def imports(path: Path) -> Iterator[str]:
    """Yield the full names of the modules that *path* imports, and of what it takes from them."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_module_imports_only_what_its_layer_may(path: Path) -> None:
    """Each import that is reserved for some modules stands only in those."""
    for name in imports(path):
        for reserved, places in ONLY_IN.items():
            if name == reserved or name.startswith(reserved + "."):
                assert any(str(path) == place or str(path).startswith(place + "/") for place in places), (
                    f"{path} imports {name}, which belongs in {places}"
                )


@pytest.mark.parametrize("path", sorted((ROOT / "triton_sdk" / "_flow").glob("*.py")), ids=lambda path: str(path.name))
def test_what_decides_does_not_wait(path: Path) -> None:
    """The SDK's flows import nothing that sends, waits or runs beside them, be it from `_wire`."""
    waiting = ("grpc", "asyncio", "threading", "socket", "concurrent", "subprocess", "triton_sdk._wire")
    waits = [name for name in imports(path) if name.startswith(tuple(f"{one}." for one in waiting)) or name in waiting]
    assert waits == []


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_the_environment_is_read_in_one_place(path: Path) -> None:
    """os.environ is read by the settings alone, but for the default of a `from_env` and by programs of their own."""
    allowed = {"scripts/host/settings.py", "triton_sdk/config.py", "triton_sdk/_base.py"}
    # A terminal's program, and pytest's plugin, which asks for CI.
    allowed |= {"triton_sdk/__main__.py", "triton_sdk_pytest.py"}
    text = (ROOT / path).read_text(encoding="utf-8")
    assert str(path) in allowed or ("os.environ" not in text and "getenv" not in text)


def test_importing_the_sdk_stays_light() -> None:
    """`import triton_sdk` loads neither the local server nor anything that only the tasks need."""
    heavy = [
        "triton_sdk.local",
        "triton_sdk.testing",
        "onnx",
        "onnxruntime",
        "rich",
        "invoke",
        "boto3",
        "dotenv",
        "virtualenv",
    ]
    code = f"import triton_sdk, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
