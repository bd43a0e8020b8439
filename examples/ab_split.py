"""Send a tenth of the users to a new version, always the same ones, and measure both.

Run:  TRITON_GRPC_URL=localhost:8001 python -m examples.ab_split photo.jpg 1 2
"""

import sys
from collections import Counter, defaultdict
from statistics import median

from triton_sdk import ClientConfig, ImageLike, InvalidImageError, ResNetClient, Split, TritonError
from triton_sdk.telemetry import CallReport, on_call


class Comparison:
    """What the calls to each version had in common; in production these would be metrics."""

    def __init__(self) -> None:
        self.latencies: defaultdict[int | None, list[float]] = defaultdict(list)
        self.errors: Counter[int | None] = Counter()

    def record(self, report: CallReport) -> None:
        """Count one call; a failed one under the version that was asked."""
        if report.error is None:
            self.latencies[report.model_version].append(report.latency_s)
        else:
            self.errors[report.call.version] += 1

    def _answered(self, version: int | None) -> str:
        times = self.latencies.get(version)
        return f"{len(times)} calls, {median(times) * 1000:.1f} ms median" if times else "0 calls"

    def __str__(self) -> str:
        return "\n".join(
            f"version {version}: {self._answered(version)}, {self.errors[version]} lost"
            for version in sorted({*self.latencies, *self.errors}, key=str)
        )


def serve_users(client: ResNetClient, image: ImageLike, *, split: Split, users: range) -> dict[int, int]:
    """Ask once for each user, and return which version answered whom."""
    answered = {}
    for user in users:
        try:
            answered[user] = client.predict(image, version=split, key=user).model_version
        except InvalidImageError:
            raise  # the same for every user
        except TritonError:
            continue  # counted by the hook; a service would answer its user here
    return answered


def main(image: str, stable: str, candidate: str) -> None:
    """Serve a thousand users of the server that the environment names."""
    comparison = Comparison()
    split = Split({int(stable): 90, int(candidate): 10})
    if stable == candidate:
        raise ValueError(f"Version {stable} cannot be compared with itself.")
    with ResNetClient.from_config(ClientConfig.from_env(), hooks=[on_call(comparison.record)]) as client:
        serve_users(client, image, split=split, users=range(1000))
    print(comparison)  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (TritonError, ValueError) as error:
        sys.exit(str(error))
