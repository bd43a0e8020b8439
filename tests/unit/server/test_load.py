"""When many callers get enough beside one."""

import pytest

from scripts.server.load import CPU_FLOOR, GPU_FLOOR, Rates, judge
from scripts.server.result import Failed

# Images a second on an H100 by 1, 4 and 16 callers: docs/gpu.md.
PLAIN = Rates(images_s={1: 469.0, 4: 25.0, 16: 96.0}, shared=8.0)
PLAIN_IN_LUCK = Rates(images_s={1: 469.0, 4: 912.0, 16: 88.0}, shared=8.0)
NO_BATCHING = Rates(images_s={1: 467.0, 4: 619.0, 16: 576.0}, shared=1.0)
BUCKETS = Rates(images_s={1: 445.0, 4: 963.0, 16: 1869.0}, shared=8.0)
BUSY_CPU = Rates(images_s={1: 5.29, 4: 4.55, 16: 4.25}, shared=13.0)


@pytest.mark.parametrize("floor", [CPU_FLOOR, GPU_FLOOR])
@pytest.mark.parametrize("rates", [PLAIN, PLAIN_IN_LUCK])
def test_a_graph_that_is_planned_anew_at_each_size_fails(rates: Rates, floor: float) -> None:
    """One slow number of callers is enough, whatever the others got."""
    with pytest.raises(Failed, match=f"{rates.slowest} callers get 0.[01].* package the model again"):
        judge(rates, floor=floor)


@pytest.mark.parametrize(("rates", "floor"), [(BUCKETS, GPU_FLOOR), (NO_BATCHING, GPU_FLOOR), (BUSY_CPU, CPU_FLOOR)])
def test_healthy_servers_pass(rates: Rates, floor: float) -> None:
    """Buckets, no batching, and a CPU that gains nothing from it are all right."""
    judge(rates, floor=floor)
    assert "by 1, 4, 16 callers" in str(rates)
