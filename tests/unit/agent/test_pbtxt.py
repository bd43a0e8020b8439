"""Edits of a configuration's text, with protobuf's own parser as the judge."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from scripts.agent import pbtxt
from scripts.agent.errors import AgentError

CONFIGS = [
    "",
    'name: "cars"\nmax_batch_size: 8\n',
    "name: 'cars' version_policy { all { } } max_batch_size: 4",
    'name: "ca" "rs" # version_policy { latest { num_versions: 1 } }\nmax_batch_size: 0x10',
    'version_policy: < specific: { versions: [1, 2, 3] } >; name: "a \\" version_policy {";',
    "version_policy { latest { num_versions: 2 } }\n# the end, without a line break: version_policy {",
    'input [ { name: "x" data_type: TYPE_UINT8 dims: [ 8, 8, 3 ] }, { name: "name" } ] name: "cars"',
    'parameters { key: "name" value { string_value: "version_policy { all { } }" } }',
    "instance_group [{count:1}]dynamic_batching{}version_policy{all{}}",
]


def read(text: str) -> model_config_pb2.ModelConfig:
    """Return the configuration that Triton's own parser reads."""
    message = model_config_pb2.ModelConfig()
    text_format.Parse(text, message)
    return message


@pytest.mark.parametrize("text", CONFIGS)
def test_only_the_policy_changes(text: str) -> None:
    """The edited text is the configuration with the new policy."""
    wanted = read(text)
    wanted.version_policy.Clear()
    wanted.version_policy.specific.versions.extend([2, 30])
    assert read(pbtxt.serving(text, versions=[2, 30])) == wanted


@pytest.mark.parametrize("text", CONFIGS)
def test_only_the_name_changes(text: str) -> None:
    """The edited text is the configuration with the new name."""
    wanted = read(text)
    wanted.name = "cars.candidate"
    assert read(pbtxt.named(text, "cars.candidate")) == wanted


@pytest.mark.parametrize("text", CONFIGS)
def test_edits_repeat(text: str) -> None:
    """A second edit leaves no trace of the first."""
    once = pbtxt.serving(text, versions=[1])
    assert pbtxt.serving(pbtxt.serving(text, versions=[1, 2, 3]), versions=[1]) == once


@pytest.mark.parametrize("text", CONFIGS)
def test_numbers_are_read_as_protobuf_reads_them(text: str) -> None:
    """max_batch_size is what the parser says."""
    assert pbtxt.number(text, "max_batch_size") == read(text).max_batch_size


def test_fields_that_stand_there_twice_are_replaced_together() -> None:
    """Of several policies none is left beside the new one."""
    text = "version_policy { all { } }\nmax_batch_size: 3 version_policy { latest { num_versions: 1 } }"
    message = read(pbtxt.serving(text, versions=[7]))
    assert (list(message.version_policy.specific.versions), message.max_batch_size) == ([7], 3)


@pytest.mark.parametrize(
    "text", ["{", "version_policy {", 'name: "open', "name:", "} name", "a { b: [ }", ": 3", '"name": 3', "name { ] "]
)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    """A text that the parser refuses is not edited blindly."""
    with pytest.raises(AgentError):
        pbtxt.serving(text, versions=[1])
