"""Runners that answer by a script instead of running anything, and models to put into images."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import onnx

from scripts.host.errors import TaskFailure
from scripts.host.shell import Command, Completed
from scripts.packaging import package
from tests.doubles import small_classifiers

# What `docker version --format {{json .}}` says of Docker itself.
ENGINE = json.dumps(
    {"Client": {"Version": "28.0.1", "ApiVersion": "1.48"}, "Server": {"Version": "28.0.1", "ApiVersion": "1.48"}}
)


@attrs.frozen
class Script:
    """A runner that answers each command by the words that it begins with.

    Attributes:
        answers: Exit status and output by those words.
        ran: The commands, in order.
    """

    answers: Mapping[str, tuple[int, str]]
    ran: list[Command] = attrs.field(factory=list)

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Answer."""
        assert timeout_s > 0
        self.ran.append(command)
        status, output = next(a for words, a in self.answers.items() if " ".join(command.argv).startswith(words))
        return Completed(status=status, output=output)

    def stream(self, command: Command, *, show: Callable[[str], None]) -> Completed:
        """Answer, line by line."""
        done = self.capture(command)
        for line in done.output.splitlines():
            show(line)
        return done


class NoProgram(Script):
    """A machine without the program that is asked for."""

    def capture(self, command: Command, *, timeout_s: float = 30.0) -> Completed:
        """Fail as the real runner does."""
        raise TaskFailure(f"{command.argv[0]} is not installed, or not on PATH. ({timeout_s:g})")


def package_flowers(folder: Path) -> Path:
    """Package a small classifier in two versions and return the repository."""
    for seed in (1, 2):
        file = folder / f"{seed}.onnx"
        onnx.save(small_classifiers.classifier(seed=seed), file)
        source = package.Source.onnx(file)
        package.package(source, model="flowers", repository=folder / "models", progress=lambda _: None)
    return folder / "models"
