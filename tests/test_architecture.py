"""Who may import whom, and what a house to live in looks like."""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOPS = ("triton_sdk", "triton_sdk_pytest.py", "scripts", "tasks.py", "benchmarks", "examples")
SOURCES = sorted(
    path.relative_to(ROOT)
    for top in TOPS
    for path in ([ROOT / top] if top.endswith(".py") else (ROOT / top).rglob("*.py"))
)

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# The rooms outside of scripts/, by the first part of their modules' names.
OURS = {name: name for name in ("triton_sdk", "triton_sdk_pytest", "benchmarks", "examples", "tests")}
OURS |= {"tasks": "tasks.py"}

# What each room imports of the others: no more, and no less. The rooms of scripts/ go by their name alone; a row names
# none that stands below it, but inside the SDK, whose public modules and private rooms need each other.
MAY = {
    "triton_sdk": {"triton_sdk._flow", "triton_sdk._pixels", "triton_sdk._wire"},
    "triton_sdk._pixels": {"triton_sdk"},
    "triton_sdk._flow": {"triton_sdk", "triton_sdk._pixels"},
    "triton_sdk._wire": {"triton_sdk", "triton_sdk._flow"},
    "triton_sdk.data": set(),
    "triton_sdk.local": {"triton_sdk"},
    "triton_sdk_pytest": {"triton_sdk", "triton_sdk.local"},
    "examples": {"triton_sdk"},
    "host": {"triton_sdk"},
    "agent": set(),
    "graph": {"triton_sdk", "host"},
    "registry": {"host"},
    "repository": {"triton_sdk", "host", "graph"},
    "sources": {"triton_sdk", "host", "graph", "repository"},
    "packaging": {"triton_sdk", "host", "graph", "repository", "sources"},
    "image": {"triton_sdk", "triton_sdk.local", "host", "registry", "agent", "repository"},
    "server": {"triton_sdk", "triton_sdk.local", "agent", "host", "repository"},
    "tuning": {"triton_sdk", "triton_sdk.local", "host", "graph", "repository", "server"},
    "cluster": {"host", "registry", "agent", "image", "server"},
    "versions": {"host", "registry", "agent", "repository", "server", "cluster"},
    "canary": {"agent", "host", "server", "cluster", "versions"},
    "compare": {"triton_sdk", "triton_sdk.local", "agent", "host", "repository", "packaging", "server"},
    "generate_input": {"server"},
    "check_env": {
        "triton_sdk", "triton_sdk.local", "host", "registry", "agent", "repository", "image", "cluster", "versions",
    },
    "tasks": {
        "triton_sdk", "triton_sdk.local", "host", "registry", "agent", "repository", "sources", "packaging", "image",
        "server", "tuning", "versions", "cluster", "canary", "compare", "check_env",
    },
    "tasks.py": {"tasks"},
    "benchmarks": {"triton_sdk", "triton_sdk.local", "agent", "packaging", "versions"},
}  # fmt: skip

# Import, and the only files (or folders) that have it.
ONLY_IN = {
    "grpc": ["triton_sdk/_wire/grpc_sync.py", "triton_sdk/_wire/grpc_aio.py", "benchmarks/contenders/stub.py"],
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
        "benchmarks/contenders",
    ],
    "subprocess": [
        "scripts/host/shell.py",
        "scripts/host/tether.py",
        "triton_sdk/local",
        "benchmarks/contest.py",
        "benchmarks/environments.py",
        "benchmarks/store.py",
    ],
    "cykooz_resizer": ["triton_sdk/_pixels/resample.py"],
    "rich": ["scripts/host/terminal.py", "triton_sdk/__main__.py"],
    "dotenv": ["scripts/host/env_file.py"],
    "boto3": ["scripts/registry/aws.py", "scripts/agent/s3.py", "scripts/agent/stores.py", "benchmarks/store.py"],
    "botocore": [
        "scripts/registry/aws.py",
        "scripts/registry/ecr.py",
        "scripts/registry/partitions.py",
        "scripts/agent/s3.py",
    ],
    "invoke": ["tasks.py", "scripts/tasks"],
    "onnx": [
        "scripts/graph",
        "scripts/repository/lint/graphs.py",
        "scripts/repository/lint/version.py",
        "scripts/sources",
        "scripts/packaging/build.py",
        "scripts/packaging/gpu.py",
        "scripts/packaging/measure.py",
        "scripts/tuning/trial.py",
        "benchmarks/served.py",
    ],
    "onnxruntime": [
        "scripts/graph/session.py",
        "triton_sdk/local/_backends/onnxruntime/model.py",
        "benchmarks/contenders/floor.py",
    ],
    "matplotlib": ["benchmarks/plot.py", "benchmarks/gpu_plot.py"],
}
# The settings; the default of a `from_env`; a terminal's program; pytest's plugin, which asks for CI.
READ_THE_ENVIRONMENT = {
    "scripts/host/settings.py",
    # It runs in a pod too, where there is no `.env`.
    "scripts/agent/__main__.py",
    "scripts/canary/__main__.py",
    "triton_sdk/_base.py",
    "triton_sdk/config.py",
    "triton_sdk/__main__.py",
    # gRPC reads its proxy there by itself, and tells nobody.
    "triton_sdk/_wire/proxy.py",
    "triton_sdk_pytest.py",
    # It sets one, which the runtime that it imports reads.
    "benchmarks/contenders/floor.py",
}
LINES = 300
# Begins the comment with which a longer module says why it is one.
WHY_LONGER = f"# Longer than {LINES} lines: "


@functools.cache
def tree(path: Path) -> ast.Module:
    """Return what stands in *path*."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Yield the full names of the modules that *path* imports, and of what it takes from them."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    """Return the room in which *path* lies."""
    return room_named(".".join(path.with_suffix("").parts)) or ""


def room_named(name: str) -> str | None:
    """Return the room that the module or name *name* belongs to; None where that is none of ours."""
    top, _, rest = name.partition(".")
    below = rest.partition(".")[0]
    if top == "scripts":
        return below or None
    if top == "triton_sdk" and below and (ROOT / top / below).is_dir():
        return f"{top}.{below}"
    return OURS.get(top)


def test_every_room_has_a_row() -> None:
    """And every row a room, so that nothing is in the house that the table does not know."""
    there = {room_of(path) for path in SOURCES if path != Path("scripts/__init__.py")}
    assert there == set(MAY)


@pytest.mark.parametrize("room", MAY)
def test_a_room_imports_what_its_row_names(room: str) -> None:
    """No more, or the order is gone; and no less, or the table allows what nobody needs."""
    found = {
        (other, str(path))
        for path in SOURCES
        if room_of(path) == room
        for name in imports(path)
        if (other := room_named(name)) not in (None, room)
    }
    assert {(other, path) for other, path in found if other not in MAY[room]} == set()
    assert {other for other, _ in found} == MAY[room]


def test_the_table_is_in_order() -> None:
    """A row names only rooms above it: whoever reads from the top has read what a room builds on."""
    above: set[str] = {"tests"}
    for room, others in MAY.items():
        inside_the_sdk = {other for other in others if room.startswith("triton_sdk") and other.startswith("triton_sdk")}
        assert others - inside_the_sdk <= above, room
        above.add(room)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_module_takes_no_private_name_of_another_room(path: Path) -> None:
    """Neither by an import nor through what it imported; the SDK's own modules may name its private modules."""
    own = room_of(path)
    foreign = [name for name in imports(path) if room_named(name) not in (None, own)]
    known = 2 if own.startswith("triton_sdk.") or own == "triton_sdk" else 1
    imported = [name for name in foreign if any(map(is_private, name.split(".")[known:]))]
    taken = {name.rpartition(".")[2] for name in foreign}
    through = [
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id in taken and is_private(node.attr)
    ]
    assert imported + through == []


def is_private(name: str) -> bool:
    """Say whether *name* begins with an underscore, and is none of Python's own."""
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("reserved", ONLY_IN)
def test_an_import_stands_only_where_it_belongs(reserved: str) -> None:
    """Each import that is reserved for some modules stands only in those, and in each of those places."""
    having = [str(path) for path in SOURCES if any(f"{name}.".startswith(f"{reserved}.") for name in imports(path))]
    places = ONLY_IN[reserved]
    assert [path for path in having if not any(is_in(path, place) for place in places)] == []
    assert [place for place in places if not any(is_in(path, place) for path in having)] == []


def is_in(path: str, place: str) -> bool:
    """Say whether *path* is *place*, or lies below it."""
    return path == place or path.startswith(f"{place}/")


def test_the_environment_is_read_in_one_place() -> None:
    """os.environ is read by the settings alone, but for the default of a `from_env` and by programs of their own."""
    reading = {str(path) for path in SOURCES if reads_the_environment(path)}
    assert reading == READ_THE_ENVIRONMENT


def reads_the_environment(path: Path) -> bool:
    """Say whether *path* reads the variables of its process."""
    names = {"environ", "environb", "getenv", "getenvb"}
    return not names.isdisjoint(name.rpartition(".")[2] for name in imports(path)) or any(
        isinstance(node, ast.Attribute) and node.attr in names for node in ast.walk(tree(path))
    )


@pytest.mark.parametrize("path", sorted((ROOT / "triton_sdk" / "_flow").glob("*.py")), ids=lambda path: str(path.name))
def test_what_decides_does_not_wait(path: Path) -> None:
    """The SDK's flows import nothing that sends, waits or runs beside them, be it from `_wire`."""
    waiting = ("grpc", "asyncio", "threading", "socket", "concurrent", "subprocess", "triton_sdk._wire")
    waits = [name for name in imports(path) if name.startswith(tuple(f"{one}." for one in waiting)) or name in waiting]
    assert waits == []


def test_scripts_is_a_house_of_rooms() -> None:
    """Directly in it lie at most three modules, since what lies beside everything belongs to nothing."""
    assert len(list((ROOT / "scripts").glob("*.py"))) <= 3


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_module_is_short_or_says_why_not(path: Path) -> None:
    """A reason stands at the head of each that is longer, and of no other."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    assert (len(lines) > LINES) == any(line.startswith(WHY_LONGER) for line in lines[:10])


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_pages_name_modules_that_are_there(page: Path) -> None:
    """A path of a module, and each bare name that follows it in the line, which lies in the same folder."""
    for line in page.read_text(encoding="utf-8").splitlines():
        folder = None
        for named in re.findall(r"`([\w./]+\.py)`", line):
            if named.startswith(("scripts/", "triton_sdk/", "benchmarks/", "examples/")):
                folder = (ROOT / named).parent
                assert (ROOT / named).is_file(), named
            elif folder is not None:
                assert (folder / named).is_file(), f"{named} in {folder}"


def loaded_by(code: str) -> set[str]:
    """Return the modules that are loaded after *code*."""
    code = f"import sys; {code}; sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    return set(done.stderr.split())


def test_importing_the_sdk_stays_light() -> None:
    """`import triton_sdk` loads neither the local server nor anything that only the tasks need."""
    heavy = {
        "triton_sdk.local",
        "triton_sdk.testing",
        "onnx",
        "onnxruntime",
        "rich",
        "invoke",
        "boto3",
        "dotenv",
        "virtualenv",
    }
    assert loaded_by("import triton_sdk") & heavy == set()


@pytest.mark.parametrize("asked", ["--list", "--help push-triton", "--complete -- invoke smoke-test --"])
def test_listing_the_tasks_stays_light(asked: str) -> None:
    """A list, a help and a shell's completion load the tasks and their flags, and nothing that a task calls."""
    loaded = loaded_by(f"from invoke.main import program; program.run('invoke {asked}', exit=False)")
    tasks = {f"scripts.tasks.{path.stem}" for path in (ROOT / "scripts" / "tasks").glob("[!_]*.py")}
    ours = {name for name in loaded if name.startswith(("scripts.", "triton_sdk"))}
    host = {f"scripts.host.{name}" for name in ("errors", "output", "root")}
    assert ours == {"scripts.tasks", *tasks, "scripts.host", *host}
    assert loaded & {"numpy", "rich", "onnx", "onnxruntime", "boto3", "tritonclient", "grpc", "urllib3"} == set()
