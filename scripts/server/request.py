"""Write the JSON body of an HTTP inference request for a packaged model, for `curl` and the like."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from scripts.host.errors import TaskFailure
from scripts.host.root import INPUT, REPOSITORY
from scripts.repository import config_pbtxt, golden
from scripts.repository.versions import CONFIG, check_place, version_folders
from triton_sdk.contract import Framing, ModelContract
from triton_sdk.errors import ContractError, InvalidImageError
from triton_sdk.images import to_pixels, to_tensor

TOP = 5


@attrs.frozen(kw_only=True)
class RequestBody:
    """A written request and how to send it.

    Attributes:
        path: The file.
        shape: Shape of the tensor in it, as the model takes it.
        dtype: KServe v2 data type of the tensor.
        curl: The command that sends it.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    curl: str


def generate(
    image: str | os.PathLike[str] | None = None,
    *,
    model: str,
    repository: Path,
    version: int | None = None,
    output: Path = INPUT,
    batch: int = 1,
    raw: bool = False,
    url: str = "http://localhost:8000",
) -> RequestBody:
    """Write a KServe v2 request for a model of *repository*.

    Args:
        image: The image to send, *batch* times; none sends *batch* different generated ones.
        model: The model's name.
        repository: The model repository that holds it.
        version: The version to ask; none leaves the choice to the server.
        output: The file to write; one that is there is replaced as a whole.
        batch: Images in the request.
        raw: Ask for every class's score, where otherwise the server picks the best five and names them.
        url: Where the server is, for the command.

    Raises:
        TaskFailure: If the model or the version is not packaged, the image cannot be read, or the file not written.
    """
    contract = _contract(model, repository=repository)
    versions = version_folders(repository / model)
    if not versions:
        raise TaskFailure(
            f"Model {model!r} has no version in {repository}: no server answers for it. Package one: "
            f"invoke package-model --model {shlex.quote(model)}"
        )
    if version is not None and version not in versions:
        there = ", ".join(map(str, versions))
        raise TaskFailure(f"Model {model!r} has no version {version} in {repository}; there: {there}.")
    _check_batch(contract, batch=batch)
    # The server answers with the highest version when none is named; its preprocessing is the one to apply.
    framing = contract.framing_for(max(versions, default=None) if version is None else version)
    pixels = _pixels(image, contract, framing=framing, batch=batch)
    request = body(to_tensor(pixels, contract), contract, raw=raw)
    _write(request, path=output)
    return RequestBody(
        path=output,
        shape=tuple(request["inputs"][0]["shape"]),
        dtype=contract.input.dtype,
        curl=_curl(output, url=url, model=model, version=version),
    )


def _contract(model: str, *, repository: Path) -> ModelContract:
    config = repository / model / CONFIG
    if not config.is_file():
        check_place(repository)
        there = ", ".join(sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))) or "none"
        raise TaskFailure(
            f"No model {model!r} is packaged in {repository}; there: {there}. "
            f"Package it: invoke package-model --model {shlex.quote(model)}"
        )
    try:
        return ModelContract.from_config({"name": model} | config_pbtxt.parse(config))
    except ContractError as error:
        raise TaskFailure(f"{config}: {error}") from error


def _check_batch(contract: ModelContract, *, batch: int) -> None:
    most = max(contract.max_batch, 1)
    if not 1 <= batch <= most:
        raise TaskFailure(f"Model {contract.model!r} takes 1 to {most} images in a request, not {batch}.")


def _pixels(
    image: str | os.PathLike[str] | None, contract: ModelContract, *, framing: Framing, batch: int
) -> NDArray[np.uint8]:
    """Return uint8 RGB pixels ``(batch, height, width, 3)``."""
    height, width = contract.height, contract.width
    if image is None:
        return golden.images(batch, height=height, width=width)
    try:
        pixels = to_pixels(
            image,
            resize=framing.resize,
            height=height,
            width=width,
            interpolation=framing.interpolation,
            fit=framing.fit,
        )
    except InvalidImageError as error:
        raise TaskFailure(str(error)) from error
    return np.repeat(pixels[np.newaxis], batch, axis=0)


def body(tensor: NDArray[np.uint8] | NDArray[np.float32], contract: ModelContract, *, raw: bool) -> dict[str, Any]:
    """Return the KServe v2 request that carries *tensor*, as JSON-like data.

    Args:
        tensor: What the model takes, ``(n, *contract.input.shape)``, n being 1 where it has no batch axis.
        contract: What the model takes and gives.
        raw: Ask for every class's score, where otherwise the server picks the best five and names them.
    """
    numbers: NDArray[Any] = tensor.ravel()
    if contract.input.dtype == "FP32":
        # Through text, which has the fewest digits that give the same FP32 value: 1.6 MB an image instead of 2.9 MB.
        numbers = numbers.astype(str).astype(np.float64)
    output: dict[str, Any] = {"name": contract.output.name}
    if not raw:
        output["parameters"] = {"classification": min(TOP, contract.classes)}
    return {
        "inputs": [
            {
                "name": contract.input.name,
                "shape": list(tensor.shape if contract.input.batch else tensor.shape[1:]),
                "datatype": contract.input.dtype,
                "data": numbers.tolist(),
            }
        ],
        "outputs": [output],
    }


def _write(body: dict[str, Any], *, path: Path) -> None:
    """Write *body* without a blank in one step: whoever reads *path* meanwhile sees the old file or the new one."""
    if path.is_dir():
        raise TaskFailure(f"Cannot write {path}: it is a folder. Name the file to write.")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            unfinished.write_text(json.dumps(body, separators=(",", ":")), encoding="ascii")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise TaskFailure(f"Cannot write {path}: {error.strerror or error}.") from error


def _curl(path: Path, *, url: str, model: str, version: int | None) -> str:
    place = f"{url.rstrip('/')}/v2/models/{model}" + (f"/versions/{version}" if version is not None else "")
    argv = ["curl", "-X", "POST", f"{place}/infer", "-H", "Content-Type: application/json", "-d", f"@{path}"]
    return shlex.join(argv)


def main(argv: Sequence[str]) -> int:
    """Run the command line *argv* and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.generate_input", description=__doc__)
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="the image to send; without it a generated one")
    parser.add_argument("--model", default="resnet50", help="name of the packaged model; default: %(default)s")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, help="default: %(default)s")
    parser.add_argument("--version", type=int, help="version to ask; default: the server chooses")
    parser.add_argument("--output", type=Path, default=INPUT, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=1, help="images in the request; default: %(default)s")
    parser.add_argument("--raw", action="store_true", help="ask for every score instead of the best five by name")
    try:
        request = generate(**vars(parser.parse_args(argv)))
    except TaskFailure as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    shape = ", ".join(map(str, request.shape))
    sys.stdout.write(f"{request.path}: {request.dtype} ({shape})\n{request.curl}\n")
    return 0
