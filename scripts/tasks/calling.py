"""How a task is called: what Invoke would let pass, and a person would not have meant, is refused here for all."""

from collections.abc import Callable
from typing import Any

import invoke

from scripts.host.errors import TaskFailure

DRY = "dry_run"


class Task(invoke.Task[Any]):
    """A task that refuses an empty value, and that Invoke's own ``--dry`` cannot let act.

    A flag that is not given comes as None from the parser, so that it differs from one that is given and empty.
    """

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """Return what the parser is told of a flag: its default is the body's, and one that is repeated has a list."""
        options = super().arg_opts(name, default, taken_names)
        if options.get("kind") is str:
            options["default"] = None
        if name in self.iterable:
            # Of a default that is a tuple Invoke would make the kind, and a tuple of the letters of what is given.
            options |= {"kind": list, "default": []}
        return options

    def get_arguments(self, *args: Any, **kwargs: Any) -> Any:
        """Return the flags for a parser, and keep their help, of which Invoke takes what it has read."""
        texts = dict(self.help)
        try:
            return super().get_arguments(*args, **kwargs)
        finally:
            self.help = texts

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the body with what was given."""
        from scripts.host.terminal import reporting

        given = {name: value for name, value in kwargs.items() if value is not None}
        with reporting():
            for name, value in given.items():
                self._check(name, value)
            if args[0].config.run.dry:
                if DRY not in self.argspec(self.body).parameters:
                    raise TaskFailure(
                        f"{_flag(self.name)} has no dry run: with --dry (or -R) of Invoke's it would act as without. "
                        "Leave that out."
                    )
                given[DRY] = True
        return super().__call__(*args, **given)

    def _check(self, name: str, value: object) -> None:
        if any(isinstance(text, str) and not text.strip() for text in (value if isinstance(value, list) else [value])):
            raise TaskFailure(
                f"--{_flag(name)} is empty. Give it a value, or leave it out: is a variable of the shell not set?"
            )


def _flag(name: str) -> str:
    return name.strip("_").replace("_", "-")


def task(*args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Mark a function as a task, as Invoke's own decorator does."""
    return invoke.task(*args, klass=Task, **kwargs)
