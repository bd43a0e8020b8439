"""How many instances each model of a repository has on GPUs, where nobody chose: it depends on how many share them."""

from pathlib import Path

from scripts.host.errors import TaskFailure
from scripts.packaging import staging
from scripts.repository import gpu_pbtxt
from scripts.repository.versions import CONFIG
from scripts.sources.source import Progress


def share_gpus(repository: Path, *, folder: Path, progress: Progress) -> None:
    """Give the models that GPUs serve as many instances as their number wants; what somebody chose stays.

    Args:
        repository: The folder that holds the models.
        folder: A staging folder on its filesystem.
        progress: Called with a line for each model that changes, or cannot be changed.
    """
    models = gpu_pbtxt.on_gpus(repository)
    alone = len(models) == 1
    for model in models:
        path = model / gpu_pbtxt.FILE
        if not path.is_file():
            continue
        try:
            # Held as whoever adds a version holds it: that reads the file, and writes it later.
            with staging.locked(model / CONFIG):
                text = path.read_bytes().decode("utf-8")
                new = gpu_pbtxt.with_instances(text, alone=alone)
                if new == text:
                    continue
                with staging.replaced(path, new, folder=folder):
                    pass
        except (OSError, TaskFailure) as error:
            # The version is published, and right without it.
            progress(f"Warning: the instances in {model.name}/{gpu_pbtxt.FILE} stay as they are: {error}")
            continue
        why = "is the only model of this repository on the GPU" if alone else f"shares the GPU with {len(models) - 1}"
        progress(f"{model.name} {why}: {gpu_pbtxt.FILE} has {2 if alone else 1} by default in instance_group now")
