"""What holds for every test: its environment, its sockets, the examples of properties, and who is measured when."""

import contextlib
import importlib.metadata
import os
import platform
import signal
from collections.abc import Iterator

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import settings

from scripts.host import temporary
from tests import environment, sockets

VERSIONS = ("tritonclient", "grpcio", "numpy", "pillow", "onnx", "onnxruntime", "boto3", "hypothesis")
# A slow example is a slow machine: what is about time has a test of its own.
settings.register_profile("default", deadline=None, derandomize=False)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.register_profile("nightly", deadline=None, derandomize=False, max_examples=2000, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")

repeated = pytest.StashKey[list[pytest.TestReport]]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the tests an environment without anything of a person's, and keep their sockets here."""
    stack = contextlib.ExitStack()
    config.add_cleanup(stack.close)
    environment.enter(empty=stack.enter_context(temporary.folder("tests")))
    config.add_cleanup(environment.leave)
    sockets.guard()
    _heed_signals()
    config.stash[repeated] = []


def _heed_signals() -> None:
    """Let what tests start hear Ctrl-C and the like, even where a shell's background or nohup lets us ignore them."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            # A program inherits what is ignored, and not what is handled.
            signal.signal(number, lambda *_: None)


def pytest_report_header() -> list[str]:
    """Say what is tested with what, and what of the person's environment the tests see."""
    found = []
    for name in VERSIONS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {name}")
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return [
        f"Python {platform.python_version()}, {', '.join(found)}",
        f"{os.cpu_count()} processors, load {load}; examples: {settings.get_current_profile_name()}",
    ]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that measure last, where no test is left that could be at work beside them."""
    items.sort(key=lambda item: item.get_closest_marker("timing") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Fail a test that reached beyond this machine, even if its code took that for an error of its own."""
    sockets.refused()
    yield
    if found := sockets.refused():
        pytest.fail(f"the test reached beyond this machine: {', '.join(found)}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Repeat a test that measures once before it fails: a busy machine is slow now and then, a slow program always."""
    if item.get_closest_marker("timing") is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if failed := [report for report in reports if report.failed]:
        item.config.stash[repeated] += failed
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the tests that were repeated, with why."""
    for report in config.stash[repeated]:
        terminalreporter.section(f"repeated: {report.nodeid}", sep="-")
        terminalreporter.line(report.longreprtext)
