"""Bring a built version into a model repository, whole or not at all."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs

from scripts.host.errors import TaskFailure
from scripts.packaging import staging
from scripts.packaging.build import Built
from scripts.packaging.gpu import gpu_graph_missing, no_gpu_config
from scripts.packaging.sharing import share_gpus
from scripts.repository import config_pbtxt, gpu_pbtxt, manifest
from scripts.repository.lint.model import lint_version
from scripts.repository.manifest import Manifest, Tried
from scripts.repository.preprocessing import Decided
from scripts.repository.versions import CONFIG, version_folders
from scripts.sources.source import Progress
from triton_sdk import labels as class_names
from triton_sdk.contract import Framing, ModelContract
from triton_sdk.errors import ConfigurationError, ContractError

# Another run may publish while this one is between looking and publishing; more often than this is no coincidence.
_ATTEMPTS = 5


@attrs.frozen(kw_only=True)
class Publication:
    """A built version on its way into the repository.

    Attributes:
        built: The files.
        target: The model's folder, which may not exist yet.
        folder: A staging folder on the repository's filesystem.
        version: The number asked for; None takes the next.
        tried: What the owner's pictures showed; None where there were none.
        max_batch: Most images in one request; None takes the model's, or the default for a new one.
        progress: Called with a line for what should be known.
    """

    built: Built
    target: Path
    folder: Path
    version: int | None
    tried: Tried | None
    max_batch: int | None
    progress: Progress

    def publish(self) -> Manifest:
        """Publish it, as a new model or as a version of the one that is there, and return its manifest.

        Raises:
            TaskFailure: If it does not fit what is there, or the version exists.
        """
        for attempt in range(_ATTEMPTS):
            tree = self.folder / str(attempt) / self.target.name
            try:
                add = self._add_version if (self.target / CONFIG).exists() else self._add_model
                written = add(tree)
                share_gpus(self.target.parent, folder=self.folder, progress=self.progress)
                return written
            except staging.TakenError:
                # Another run was faster. Its version is looked at like any that was there before.
                if self.version is not None and (self.target / str(self.version)).exists():
                    raise version_exists(self.target, self.version) from None
                for moved in version_folders(tree).values():
                    moved.rename(self.built.folder)
        raise TaskFailure(f"Something else keeps writing into {self.target}. Try again when it is done.")

    def _add_model(self, tree: Path) -> Manifest:
        """Publish the model's folder whole: nobody sees a configuration without a version."""
        if self.target.exists() and not (self.target.is_dir() and not any(self.target.iterdir())):
            raise TaskFailure(
                f"{self.target} is there without a {CONFIG}: nothing tells what its versions must have in "
                "common. Write one, move it away, or choose another name."
            )
        names = self.built.decision.names
        if names is not None:
            check_labels(names, classes=self.built.contract.classes)
        contract = attrs.evolve(self.built.contract, labelled=names is not None)
        number = self.version or 1
        _write_shared(tree, config_pbtxt.render(contract), names, label_file=config_pbtxt.LABELS)
        if self.built.gpu is not None:
            _write_config(tree / gpu_pbtxt.FILE, gpu_pbtxt.render(contract, self.built.gpu.buckets, alone=self._alone))
        written = self._put_version(tree, contract, version=number, labels=self.built.decision.record.labels)
        self._check(tree, number, others=())
        staging.create_repository(self.target.parent)
        staging.publish_folder(tree, target=self.target)
        return written

    def _add_version(self, tree: Path) -> Manifest:
        """Publish the version's folder only, after its contract was compared with the model's."""
        path = self.target / CONFIG
        with staging.locked(path):
            config = config_pbtxt.parse(path)
            text = path.read_bytes().decode("utf-8")
            try:
                model = ModelContract.from_config(config)
            except ContractError as error:
                raise TaskFailure(f"{path}: {error} Choose another name for this model.") from error
            self._check_contract(model)
            label_file = str(config["output"][0].get("label_filename", ""))
            names = self._names_of_model(label_file)
            others = tuple(version_folders(self.target))
            number = self.version or max(others, default=0) + 1
            if (self.target / str(number)).exists():
                raise staging.TakenError(str(self.target / str(number)))
            framing = self.built.contract.framing_for(None)
            texts = {path: text, **self._gpu_config(model, others)}
            wanted = {file: _with_framing(old, file, number, framing) for file, old in texts.items()}
            if model.framing_for(number) != framing:
                self.progress(
                    f"{CONFIG}: clients make pictures for version {number} by {framing}, for the model's other "
                    f"versions by {model.framing_for(None)}"
                )
            _write_shared(tree, wanted[path], names, label_file=label_file)
            for file in wanted.keys() - {path}:
                _write_config(tree / file.relative_to(self.target), wanted[file])
            told = Decided[int](value=len(names or ()), source="other versions", where=label_file or "no labels")
            contract = attrs.evolve(self.built.contract, max_batch=model.max_batch, labelled=model.labelled)
            written = self._put_version(tree, contract, version=number, labels=told)
            self._check(tree, number, others=others)
            # Before the version: a parameter for a version that is not there does no harm, the reverse does.
            with ExitStack() as changes:
                for file, new in wanted.items():
                    if not file.exists():
                        staging.add(file, new, folder=self.folder)
                    elif new != texts[file]:
                        changes.enter_context(staging.replaced(file, new, folder=self.folder))
                staging.publish_folder(tree / str(number), target=self.target / str(number))
            return written

    def _gpu_config(self, model: ModelContract, others: Sequence[int]) -> dict[Path, str]:
        """Return the path and the text of the model's configuration for GPUs, a new one where it has no versions yet.

        Raises:
            TaskFailure: If the version has no graph for it, or it has none for the version.
        """
        path, ours = self.target / gpu_pbtxt.FILE, self.built.gpu
        if not path.is_file():
            if ours is None:
                return {}
            if others:
                raise no_gpu_config(self.target)
            return {path: gpu_pbtxt.render(model, ours.buckets, alone=self._alone)}
        if ours is None:
            raise gpu_graph_missing(self.target)
        batching = "dynamic_batching" in config_pbtxt.parse(path)
        if batching and not ours.buckets:
            self.progress(
                f"Warning: {gpu_pbtxt.FILE} has batching on for all versions, which makes a GPU slow with this one's "
                "plain graph. Package it under another model name"
            )
        elif ours.buckets and not batching:
            self.progress(
                f"Note: {gpu_pbtxt.FILE} has batching off for all versions. If all others have branches as well, add "
                "dynamic_batching { max_queue_delay_microseconds: 0 }"
            )
        return {path: path.read_bytes().decode("utf-8")}

    @property
    def _alone(self) -> bool:
        """Whether no other model of the repository is served by GPUs."""
        return not [folder for folder in gpu_pbtxt.on_gpus(self.target.parent) if folder.name != self.target.name]

    def _check_contract(self, model: ModelContract) -> None:
        """Refuse what the model's configuration does not describe."""
        new = self.built.contract
        same_tensors = (new.input, new.output, new.layout) == (model.input, model.output, model.layout)
        same_scores = model.scores in ("unknown", new.scores)
        same_scaling = new.input.dtype == "UINT8" or (new.mean, new.std) == (model.mean, model.std)
        if not (same_tensors and same_scores and same_scaling):
            raise TaskFailure(
                f"This version takes and gives something else than {self.target.name} does, and all versions of a "
                "model share "
                f"one {CONFIG}.\n  this version: {_described(new)}\n  the model:    {_described(model)}\n"
                "Package it under another model name."
            )
        if self.max_batch not in (None, model.max_batch):
            raise another_batch(self.target, model.max_batch)

    def _names_of_model(self, label_file: str) -> tuple[str, ...] | None:
        """Return the names of the classes of the model that is there; refuse others."""
        names = None
        if label_file:
            try:
                names = class_names.read(self.target / label_file)
            except ConfigurationError as error:
                raise TaskFailure(str(error)) from error
        decision = self.built.decision
        if decision.names not in (None, names) and decision.record.labels.source == "flag":
            check_labels(decision.names or (), classes=self.built.contract.classes)
            raise TaskFailure(
                f"All versions of {self.target.name} share its labels ({label_file or 'it has none'}), and those given "
                "are others. Leave --labels out, or package under another model name."
            )
        if names is None and decision.names is not None:
            self.progress(
                f"The other versions of {self.target.name} have no names of classes, and this one has none either"
            )
        return names

    def _put_version(self, tree: Path, contract: ModelContract, *, version: int, labels: Decided[int]) -> Manifest:
        """Complete the built files with their manifest and move them below *tree*."""
        written = self.built.manifest(contract, version=version, labels=labels, tried=self.tried)
        (self.built.folder / manifest.FILE).write_text(written.to_json(), encoding="utf-8")
        self.built.folder.rename(tree / str(version))
        return written

    def _check(self, tree: Path, number: int, *, others: Sequence[int]) -> None:
        """Refuse to publish what the linter finds wrong in the version or its configuration."""
        staging.settle(tree)
        findings = lint_version(tree, version=number, versions=(*others, number))
        errors = [finding.message for finding in findings if finding.severity == "error"]
        if errors:
            raise TaskFailure(f"{self.target.name} version {number} would not be served rightly: {' '.join(errors)}")
        for finding in findings:
            self.progress(f"Warning: {finding.message}")


def version_exists(target: Path, version: int) -> TaskFailure:
    """Return the refusal of a version that is there."""
    return TaskFailure(
        f"{target.name} version {version} exists, and versions never change. Leave --version out to take the next "
        "number."
    )


def another_batch(target: Path, most: int) -> TaskFailure:
    """Return the refusal of another largest batch than the model has."""
    return TaskFailure(
        f"{target.name} takes up to {most} images, for all its versions. Leave --max-batch out, or change "
        f"max_batch_size in its {CONFIG} first."
    )


def check_labels(labels: Sequence[str], *, classes: int) -> None:
    """Refuse names that do not fit the classes.

    Raises:
        TaskFailure: If there are too many or too few, or one is blank or longer than a line.
    """
    if len(labels) != classes:
        raise TaskFailure(f"There are {len(labels)} labels for {classes} classes. Give a line for each class.")
    for index, label in enumerate(labels):
        if not label.strip() or "\n" in label or "\r" in label:
            raise TaskFailure(f"Label {index} is {label!r}, but one line of text was expected.")


def _write_shared(tree: Path, config: str, names: Sequence[str] | None, *, label_file: str) -> None:
    """Write what a model's versions share into the new folder *tree*."""
    _write_config(tree / CONFIG, config)
    if names is not None:
        (tree / label_file).parent.mkdir(parents=True, exist_ok=True)
        (tree / label_file).write_text("".join(f"{name}\n" for name in names), encoding="utf-8", newline="")


def _write_config(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def _with_framing(text: str, path: Path, version: int, framing: Framing) -> str:
    """Return the text of a configuration so that clients make pictures for *version* by *framing*."""
    known = ModelContract.from_config(config_pbtxt.parse_text(text, where=str(path)))
    if known.framing_for(version) == framing:
        return text
    return config_pbtxt.with_version_framing(text, version=version, framing=framing)


def _described(contract: ModelContract) -> str:
    text = f"{contract.input} {contract.layout} -> {contract.output} {contract.scores}"
    return text if contract.input.dtype == "UINT8" else f"{text}, mean {contract.mean}, std {contract.std}"
