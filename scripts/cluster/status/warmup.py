"""What a server asks itself while it loads a model: its counters hold that too, and it is no traffic."""

from collections.abc import Mapping
from typing import Any, Self

import attrs


@attrs.frozen(kw_only=True)
class WarmUp:
    """The warm-up of a version.

    Attributes:
        requests: How many requests that was, each of one image.
        runs: In how many runs of the model.
    """

    requests: int = 0
    runs: int = 0

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Read it from a model's configuration as the server gives it.

        Each instance runs each sample ``count`` times (0 is once), with as many requests as its batch has images:
        33 requests in 2 runs for batches of 1 and 32, as Triton 24.10 counts them.
        """
        groups = config.get("instance_group") or ()
        instances = sum(int(group.get("count", 1)) * max(1, len(group.get("gpus") or ())) for group in groups) or 1
        samples = config.get("model_warmup") or ()
        times = [max(1, int(sample.get("count", 0))) for sample in samples]
        images = [max(1, int(sample.get("batch_size", 0))) for sample in samples]
        requests = sum(each * many for each, many in zip(times, images, strict=True))
        return cls(requests=instances * requests, runs=instances * sum(times))
