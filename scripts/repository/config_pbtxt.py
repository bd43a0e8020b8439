"""Write and read ``config.pbtxt``, the file that tells Triton how to serve a model."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from scripts.host import files
from scripts.host.errors import TaskFailure
from triton_sdk.contract import Framing, ModelContract, TensorSpec

LABELS = "labels.txt"
DEFAULT_MAX_BATCH = 32

_HEAD = """\
# How NVIDIA Triton serves this model. `invoke package-model` wrote this file with the model's first version. From then
# on it is yours to edit; packaging another version at most adds parameters like image.resize.<version> at the end.
# It is complete: it loads with --disable-auto-complete-config, so the server guesses nothing.
name: "{name}"
backend: "onnxruntime"

# Every request carries a batch axis; the server joins waiting requests up to this many images.
max_batch_size: {max_batch}
"""

_TENSORS = """\

input [
  {{
    # {input_note}
    name: "{input.name}"
    data_type: TYPE_{input.dtype}
    dims: [ {input_dims} ]
  }}
]
output [
  {{
    # {output_note}
    name: "{output.name}"
    data_type: TYPE_{output.dtype}
    dims: [ {output_dims} ]{label_filename}
  }}
]
"""

_SERVING = """\

# Without this line only the highest version is served.
version_policy { all { } }

# No kind: a GPU is used if there is one, the CPU otherwise. The count is for each GPU.
instance_group [ { count: 1 } ]

"""

_BATCHING = """\
dynamic_batching {
  # Take what is queued and wait for nothing: on CPUs a 2 ms wait cost a lone caller a third of its throughput.
  # On GPUs measure before raising it.
  max_queue_delay_microseconds: 0
  # No default_queue_policy: with any bound on the queue Triton makes no batch ready while another one runs, and when
  # that one ends it may not look for the next before another request comes, or half a second is over (seen in 24.10).
  # Requests whose caller has gone, or whose deadline is over, are dropped when their turn comes.
}

"""

_WARMUP = """\
# The version is not ready before it has answered the smallest and the largest batch: on GPUs the first request of each
# shape is slow, because cuDNN searches for its fastest kernels.
model_warmup [
  {{
    name: "one image"
    batch_size: 1
    inputs {{
      key: "{input.name}"
      value {{ data_type: TYPE_{input.dtype} dims: [ {input_dims} ] zero_data: true }}
    }}
  }}{full_batch}
]

# Photographs hardly ever repeat byte for byte: a cache would only cost memory.
response_cache {{ enable: false }}

# For the client: length of the shorter side before the centre crop, in pixels, how pictures are resized, what happens
# to other proportions than the model's (crop, squash, pad), and what the scores are.
"""

_ALONE = """\
# No dynamic_batching: an image's answer would depend on what shares its batch, or nobody wants batches.

"""

_FULL_BATCH = """,
  {{
    name: "full batch"
    batch_size: {max_batch}
    inputs {{
      key: "{input.name}"
      value {{ data_type: TYPE_{input.dtype} dims: [ {input_dims} ] random_data: true }}
    }}
  }}"""


def render(contract: ModelContract, *, serving: str = "") -> str:
    """Return the text of a complete ``config.pbtxt`` for *contract*.

    Args:
        contract: What the model takes and gives; ``max_batch`` must be at least 1.
        serving: The lines that say how it is served, where they are not those for any machine.
    """
    sample = {"input": contract.input, "input_dims": _dims(contract.input), "max_batch": contract.max_batch}
    usual = (
        _SERVING,
        _BATCHING if contract.max_batch > 1 else _ALONE,
        _WARMUP.format(**sample, full_batch=_FULL_BATCH.format(**sample) if contract.max_batch > 1 else ""),
    )
    parts = [
        _HEAD.format(name=contract.model, max_batch=contract.max_batch),
        _TENSORS.format(
            input=contract.input,
            output=contract.output,
            input_dims=_dims(contract.input),
            output_dims=_dims(contract.output),
            input_note=_input_note(contract),
            output_note=_output_note(contract),
            label_filename=f'\n    label_filename: "{LABELS}"' if contract.labelled else "",
        ),
        *((serving,) if serving else usual),
        *framing_parameters(contract.framing_for(None)),
        *(
            line
            for version, framing in contract.framing_by_version.items()
            for line in framing_parameters(framing, version=version)
        ),
    ]
    if contract.scores != "unknown":
        parts.append(_parameter("image.scores", contract.scores))
    if contract.input.dtype != "UINT8":
        parts.append(_parameter("image.mean", ",".join(map(repr, contract.mean))))
        parts.append(_parameter("image.std", ",".join(map(repr, contract.std))))
    return "".join(parts)


def parse(path: Path) -> dict[str, Any]:
    """Return a configuration file as JSON-like data with the field names of ``model_config.proto``.

    Fields that the file does not set are absent; 64-bit numbers are strings, as in what the server answers.

    Raises:
        TaskFailure: If the file cannot be read or is no model configuration; the message names the line.
    """
    try:
        text = files.read_text(path)
    except OSError as error:
        raise TaskFailure(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise TaskFailure(f"{path} is no text in UTF-8: {error}. Save it as UTF-8.") from error
    return parse_text(text, where=str(path))


def max_batch_of(path: Path) -> int:
    """Return most images in one request of a model with the configuration *path*, or what a new one gets."""
    try:
        config = parse(path)
    except TaskFailure:
        return DEFAULT_MAX_BATCH  # there is none, or publishing says what is wrong with it
    return max(int(config.get("max_batch_size", 0)), 1)


def parse_text(text: str, *, where: str) -> dict[str, Any]:
    """Return a configuration's text as JSON-like data, like `parse`; *where* names it in messages.

    Raises:
        TaskFailure: If it is no model configuration; the message names the line.
    """
    message = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        line = error.GetLine()
        place = f"{where}, line {line}" if line is not None else where
        raise TaskFailure(
            f"{place}: Triton cannot parse this configuration: {_without_place(error)}. Correct or remove that line."
        ) from error
    data: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return data


def changed(text: str, fields: Mapping[str, Any]) -> str:
    """Return a configuration's text, which `parse_text` takes, with other *fields* of the whole model, no comments."""
    message = model_config_pb2.ModelConfig()
    text_format.Parse(text, message)
    for name in fields:
        message.ClearField(name)
    json_format.ParseDict(dict(fields), message)
    return str(text_format.MessageToString(message))


def accelerators(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield each accelerator for GPUs of a parsed *config*: its name and its parameters."""
    found = config.get("optimization", {}).get("execution_accelerators", {})
    for accelerator in found.get("gpu_execution_accelerator", []):
        yield str(accelerator.get("name", "")), accelerator.get("parameters", {})


def states(text: str, field: str) -> bool:
    """Return whether a configuration's text, which `parse_text` takes, sets the number *field* of the whole model.

    The parsed message cannot tell 0 from nothing, but no field may be set twice, wherever in the text it stands.
    """
    try:
        text_format.Parse(f"{field}: 1\n{text}", model_config_pb2.ModelConfig())
    except text_format.ParseError:
        return True
    return False


def with_version_framing(text: str, *, version: int, framing: Framing) -> str:
    """Return *text* with ``image.resize.<version>`` and its like set to *framing* and every other byte kept.

    Lines of ours for that version are replaced; anything else is left alone, and the last entry for a key counts.
    """
    names = "|".join(attrs.asdict(framing))
    ours = re.compile(rf'^parameters {{ key: "image\.(?:{names})\.{version}" value {{[^}}\n]*}} }}\n?', re.MULTILINE)
    kept = ours.sub("", text)
    return f"{kept}{'' if kept.endswith(chr(10)) else chr(10)}{''.join(framing_parameters(framing, version=version))}"


def framing_parameters(framing: Framing, *, version: int | None = None) -> list[str]:
    """Return the lines that tell clients of *framing*, for one version or for all that say nothing of their own."""
    suffix = "" if version is None else f".{version}"
    return [_parameter(f"image.{name}{suffix}", str(value)) for name, value in attrs.asdict(framing).items()]


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def _dims(tensor: TensorSpec) -> str:
    return ", ".join(map(str, tensor.shape))


def _input_note(contract: ModelContract) -> str:
    axes = "(height, width, 3)" if contract.layout == "NHWC" else "(3, height, width)"
    if contract.input.dtype == "UINT8":
        return f"RGB pixels {axes}, 0 to 255, as a decoder gives them; the graph normalises them."
    return f"RGB pixels {axes} in [0, 1], less image.mean, divided by image.std: see the parameters below."


def _output_note(contract: ModelContract) -> str:
    return {
        "probabilities": "A probability for each class.",
        "multi-label": "A probability for each class by itself: several may be true, or none.",
        "logits": "A score for each class, before softmax.",
        "unknown": "A score for each class.",
    }[contract.scores]


def _without_place(error: text_format.ParseError) -> str:
    """Return the parser's words without the "line:column :" that it puts before them."""
    return re.sub(r"^\d+:\d+ : ", "", str(error)).rstrip(".")
