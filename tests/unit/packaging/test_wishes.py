"""What a model's owner says by flags."""

import pytest

from scripts.host.errors import TaskFailure
from scripts.packaging.wishes import USUAL, GpuWish, wish


def test_the_flags_say_what_the_graph_for_gpus_is() -> None:
    """Nothing means the usual graph, none means none, and both flags at odds are refused."""
    assert wish(None, None) is USUAL
    assert wish("fp16", (1, 2)) == GpuWish(precision="fp16", buckets=(1, 2))
    assert wish(None, (1, 2)) == GpuWish(buckets=(1, 2))
    assert wish("none", None) is None
    with pytest.raises(TaskFailure, match="Give one of both"):
        wish("none", (1, 2))
