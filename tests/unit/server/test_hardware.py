"""What a server tells of its GPUs, and how a model is computed there."""

from typing import Any

import pytest

from scripts.server.endpoint import Counters
from scripts.server.hardware import CPU_ONLY, arithmetic, told

PAGE = """\
# TYPE nv_gpu_memory_total_bytes gauge
nv_gpu_memory_total_bytes{{gpu_uuid="GPU-1"}} {total}
# TYPE nv_gpu_memory_used_bytes gauge
nv_gpu_memory_used_bytes{{gpu_uuid="GPU-1"}} {used}
"""


@pytest.mark.parametrize(
    ("page", "figure"),
    [
        (PAGE.format(total=85520809984, used=5905580032), "1 GPU, memory in use: 5.5 of 79.6 GiB"),
        (PAGE.format(total=0, used=0), "1 GPU; how much memory the server does not tell"),
        (
            'nv_gpu_memory_total_bytes{gpu_uuid="a"} 1073741824\nnv_gpu_memory_total_bytes{gpu_uuid="b"} 2147483648\n'
            'nv_gpu_memory_used_bytes{gpu_uuid="a"} 536870912\nnv_gpu_memory_used_bytes{gpu_uuid="b"} 0\n',
            "2 GPUs, memory in use: 0.5 of 1.0 GiB, 0.0 of 2.0 GiB",
        ),
        ("", CPU_ONLY),
    ],
)
def test_memory_is_told_as_it_is(page: str, figure: str) -> None:
    """Each GPU's memory, in use and in all; a server that does not fill it in has not 0 GiB."""
    assert told(Counters(text=page)) == figure


def on_gpu(**accelerator: Any) -> dict[str, Any]:
    """Return a served configuration on a GPU, with these parameters of its accelerator."""
    listed = [{"name": "cuda", "parameters": accelerator}] if accelerator else []
    return {
        "instance_group": [{"kind": "KIND_GPU"}],
        "optimization": {"execution_accelerators": {"gpu_execution_accelerator": listed}},
    }


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"instance_group": [{"kind": "KIND_CPU"}]}, None),
        ({}, None),
        (on_gpu(), "TF32"),
        (on_gpu(use_tf32="0"), "FP32"),
        (on_gpu(precision_mode="FP16"), "FP16"),
    ],
)
def test_what_a_model_is_multiplied_in(config: dict[str, Any], expected: str | None) -> None:
    """A GPU takes TF32 unless the configuration says otherwise; a CPU has no such choice."""
    assert arithmetic(config) == expected
