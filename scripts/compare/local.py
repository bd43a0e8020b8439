"""A server on this machine for the two versions alone, whatever the model's configuration serves."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from scripts.agent import files
from scripts.agent.compose import Served
from scripts.agent.errors import AgentError
from scripts.host import temporary
from scripts.host.errors import TaskFailure
from scripts.repository.versions import CONFIG, require, version_folders
from triton_sdk.local import LocalTriton


@contextlib.contextmanager
def local_pair(
    repository: Path, model: str, versions: tuple[int, int], *, gpu: bool, progress: Callable[[str], None]
) -> Iterator[tuple[LocalTriton, Mapping[int, str]]]:
    """Serve two versions of a model, and nothing else, until the block ends; give what names the bytes of each, too.

    Args:
        repository: The packaged models.
        model: Which one.
        versions: Which two versions.
        gpu: Serve on NVIDIA's GPUs.
        progress: Called with a line for each stage.

    Raises:
        TaskFailure: If one is not packaged.
        LocalServerError: If the server cannot be installed or started.
    """
    names = sorted({one.model for one in require(repository)})
    folder = repository.resolve() / model
    if model not in names or not (folder / CONFIG).is_file():
        raise TaskFailure(f"No model {model} is packaged in {repository}; there is {', '.join(names)}.")
    there = version_folders(folder)
    if missing := [version for version in versions if version not in there]:
        raise TaskFailure(
            f"Version {' and '.join(map(str, missing))} of {model} is not packaged in {repository}; there is "
            f"{', '.join(map(str, there))}. `invoke package-model --model {model}` packages the next one."
        )
    with temporary.folder("compare") as made:
        served = Served(folder=made / "served", work=made / "work", config_name="gpu" if gpu else "")
        try:
            served.create()
            served.put_model(model, shared=folder, versions={version: there[version] for version in versions})
            digests = {version: files.digest(files.scan(there[version])) for version in versions}
        except (AgentError, OSError) as error:
            raise TaskFailure(f"{model} cannot be served: {error}") from error
        with LocalTriton(served.folder, progress=progress, gpu=gpu) as server:
            yield server, digests
