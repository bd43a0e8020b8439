"""Our client as it is without the extra `simd`."""

import sys

# As if it were not installed.
sys.modules["cykooz_resizer"] = None  # type: ignore[assignment]

from benchmarks.contenders import sdk  # noqa: E402
from benchmarks.contenders.harness import serve  # noqa: E402

if __name__ == "__main__":
    serve(sdk.make)
