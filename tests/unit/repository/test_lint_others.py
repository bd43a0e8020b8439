"""The linter is no stricter than the server: repositories that others wrote, and that Triton serves."""

from pathlib import Path

import pytest

from scripts.repository.config_pbtxt import states
from scripts.repository.lint.model import lint
from tests.doubles import public_configs


def errors(repository: Path) -> list[str]:
    """Return the messages of the errors."""
    return [finding.message for finding in lint(repository) if finding.severity == "error"]


@pytest.mark.parametrize("name", public_configs.CONFIGS)
def test_what_triton_serves_has_no_errors(name: str, tmp_path: Path) -> None:
    """Neither an error is said, nor that the client refuses it."""
    public_configs.write(tmp_path, public_configs.CONFIGS[name])
    assert errors(tmp_path) == []
    assert "not-a-classifier" not in {finding.rule for finding in lint(tmp_path)}


def test_a_batch_size_that_is_left_out_is_said_for_what_it_means(tmp_path: Path) -> None:
    """With inputs and outputs written down it is 0, without them Triton makes it 4."""
    text = public_configs.CONFIGS["no batch size at all"]
    folder = public_configs.write(tmp_path, text)
    (said,) = [finding.message for finding in lint(tmp_path) if finding.rule == "max-batch-omitted"]
    assert "means 0" in said
    (folder / "config.pbtxt").write_text(text[: text.index("output")])
    (said,) = [finding.message for finding in lint(tmp_path) if finding.rule == "max-batch-omitted"]
    assert "makes it 4" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_batch_size: 0", True),
        ('name: "m" max_batch_size:0', True),
        ("backend: 'x'; max_batch_size : 7;", True),
        ("# max_batch_size: 8", False),
        ('parameters { key: "max_batch_size" value { string_value: "max_batch_size: 8" } }', False),
        ("", False),
    ],
)
def test_a_number_is_found_wherever_it_stands(text: str, *, said: bool) -> None:
    """Comments, strings and nested messages do not count, and no line has to begin with it."""
    assert states(text, "max_batch_size") is said


def test_tensors_that_the_server_feeds_are_not_asked_for(tmp_path: Path) -> None:
    """The control inputs of a sequence model stand in no request; one that is left out is still missed."""
    folder = public_configs.write(tmp_path, public_configs.SEQUENCE, model=public_configs.accumulator())
    (folder / "labels.txt").unlink()
    assert errors(tmp_path) == []
    less = public_configs.SEQUENCE.replace('{ name: "START"', '{ name: "BEGIN"')
    (folder / "config.pbtxt").write_text(less)
    assert len(errors(tmp_path)) == 1
    assert "'START'" in errors(tmp_path)[0]


def test_a_reshape_that_is_not_the_graph_s_is_found(tmp_path: Path) -> None:
    """Triton compares the reshape with the graph, and so does the linter."""
    text = public_configs.CONFIGS["a reshape"].replace("[ 1, 5, 1, 1 ]", "[ 1, 1, 5, 1 ]")
    public_configs.write(tmp_path, text)
    assert any("'fc6_1'" in message for message in errors(tmp_path))


def test_nodes_in_another_order_are_no_error(tmp_path: Path) -> None:
    """ONNX Runtime sorts them."""
    model = public_configs.densenet()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    public_configs.write(tmp_path, public_configs.CONFIGS["one line"], model=model)
    assert errors(tmp_path) == []


@pytest.mark.parametrize("case", public_configs.REFUSED)
def test_what_triton_refuses_is_an_error(case: str, tmp_path: Path) -> None:
    """Each of them is tried on the real server in tests/live."""
    public_configs.write(tmp_path, public_configs.refused(case))
    assert any(public_configs.REFUSED[case][1] in message for message in errors(tmp_path)), errors(tmp_path)


@pytest.mark.parametrize(("name", "severity"), [("modèle", "warning"), ("a" * 80, "warning"), ("go od", "error")])
def test_a_name_that_is_hard_to_ask_for_is_served(name: str, severity: str, tmp_path: Path) -> None:
    """Only a blank, which the local server's backend dies of, is an error."""
    text = public_configs.CONFIGS["one line"].replace('"other"', f'"{name}"')
    public_configs.write(tmp_path, text).rename(tmp_path / name)
    assert [finding.severity for finding in lint(tmp_path) if finding.rule == "model-name"] == [severity]
