"""What is measured: each workload once, with the contenders that take part and how they are tuned."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from benchmarks.served import LARGE, SMALL, Model


@attrs.frozen(kw_only=True)
class Variant:
    """One way to run a contender.

    Attributes:
        group: Variants of one group compete, and the fastest stands for it.
        program: Module in `benchmarks.contenders`.
        environment: Whose interpreter runs it; None for ours.
        model: What it asks.
        settings: What differs in its task.
        peer: Whether it is somebody else's client.
    """

    group: str
    program: str
    environment: str | None
    model: Model
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    peer: bool = False

    @property
    def share(self) -> int:
        """The least images that keep all its requests in flight busy once."""
        return int(self.settings.get("batch", 1)) * int(self.settings.get("threads", 1))

    def images(self, wanted: float) -> int:
        """Return about as many images as are wanted, but full batches for everybody that works at once."""
        return max(1, round(wanted / self.share)) * self.share

    @property
    def label(self) -> str:
        """Its tuning, in words."""
        words = {"way": "{}", "threads": "{} in flight", "batch": "batch {}", "decode": "{}"}
        return ", ".join(words[key].format(value) for key, value in self.settings.items() if key in words) or "a loop"


@attrs.frozen(kw_only=True)
class Workload:
    """What all of some variants do.

    The first variant of a group is the one that is fastest as a rule: a quick run takes it without tuning.

    Attributes:
        name: Short, for the command line and the table.
        title: What it is, in a line.
        size: Of the JPEGs.
        variants: Who takes part.
        common: Settings of all their tasks.
        seconds: About how long one contender runs in a round, times the length of the mode.
    """

    name: str
    title: str
    variants: tuple[Variant, ...]
    size: tuple[int, int] = SMALL
    common: Mapping[str, Any] = attrs.field(factory=dict)
    seconds: float = 1.0


# Groups that the aims name.
FP32, UINT8, FAST = "triton_sdk, FP32", "triton_sdk, uint8", "triton_sdk, uint8, fast"
NAIVE: Final = "tritonclient loop, FP32"
FOLLOWING: Final = "triton_sdk, uint8, by a traffic plan"
PLAIN: Final = "triton_sdk without simd, uint8"
PILLOW, DECODE = "decode and resize alone, by Pillow", "decode and resize alone"
STUB, RAW = "bare gRPC stub", "raw onnxruntime, 1 thread"


def _grid(**settings: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield each combination."""
    combinations: list[dict[str, Any]] = [{}]
    for key, values in settings.items():
        combinations = [{**known, key: value} for known in combinations for value in list(values)]
    yield from combinations


def _sdk(group: str, model: Model, ways: Iterable[Mapping[str, Any]], program: str = "sdk") -> Iterator[Variant]:
    for settings in ways:
        yield Variant(group=group, program=program, environment=None, model=model, settings=settings)


def _tuned(**settings: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Yield the ways in which each peer is tried; ours are some of them."""
    yield from _grid(**settings, batch=[8, 4, 1], threads=[2, 3, 4, 8])


def _ours(group: str, model: Model, program: str = "sdk") -> Iterator[Variant]:
    """Our client, in fewer ways than any peer: threads and asyncio, with 2 or 3 requests in flight."""
    yield from _sdk(group, model, _grid(way=["many", "aio"], batch=[8, 4], threads=[2, 3]), program)


def _peers(model: Model, *, naive: bool = True) -> Iterator[Variant]:
    dtype = {"FP32": "FP32", "UINT8": "uint8"}[model.dtype]

    def some(title: str, program: str, environment: str, ways: Iterable[Mapping[str, Any]]) -> Iterator[Variant]:
        for settings in ways:
            yield Variant(
                group=f"{title}, {dtype}",
                program=program,
                environment=environment,
                model=model,
                settings=settings,
                peer=True,
            )

    if naive:
        yield from some("tritonclient loop", "tritonclient_grpc", "tritonclient", [{}])
    yield from some("tritonclient, threads", "tritonclient_grpc", "tritonclient", _tuned())
    yield from some("tritonclient aio", "tritonclient_aio", "tritonclient", _tuned())
    yield from some("pytriton", "pytriton_client", "pytriton", _tuned(way=["http", "grpc", "futures"]))
    yield from some("tritony", "tritony_client", "tritony", _tuned())


def _lone(fp32: Model, uint8: Model) -> Iterator[Variant]:
    """One call at a time: what a request handler does."""
    yield from _sdk(FP32, fp32, [{"way": "predict"}])
    yield from _sdk(UINT8, uint8, [{"way": "predict"}])
    yield from _sdk(FOLLOWING, uint8, [{"way": "follow"}])
    for group, program, environment, settings in (
        ("tritonclient", "tritonclient_grpc", "tritonclient", {}),
        ("tritonclient aio", "tritonclient_aio", "tritonclient", {}),
        ("pytriton, http", "pytriton_client", "pytriton", {"way": "http"}),
        ("tritony", "tritony_client", "tritony", {}),
    ):
        for model in (fp32, uint8):
            yield Variant(
                group=f"{group}, {'FP32' if model is fp32 else 'uint8'}",
                program=program,
                environment=environment,
                model=model,
                settings=settings,
                peer=True,
            )


def _floor(group: str, model: Model, ways: Iterable[Mapping[str, Any]], program: str = "floor") -> Iterator[Variant]:
    for settings in ways:
        yield Variant(group=group, program=program, environment=None, model=model, settings=settings)


def workloads(free: Mapping[str, Model], net: Mapping[str, Model]) -> tuple[Workload, ...]:
    """Return all of them, for models by dtype: nearly free ones, and MobileNetV2 on one core."""
    return (
        Workload(
            name="small",
            title="JPEGs of 500x375, end to end, nearly free model",
            variants=(
                *_ours(FP32, free["FP32"]),
                *_ours(UINT8, free["UINT8"]),
                *_ours(PLAIN, free["UINT8"], program="sdk_plain"),
                *_peers(free["FP32"]),
                *_peers(free["UINT8"], naive=False),
                *_floor(PILLOW, free["UINT8"], _grid(way=["pillow"], threads=[1, 2])),
                *_floor(DECODE, free["UINT8"], _grid(way=["decode"], threads=[1, 2])),
            ),
        ),
        Workload(
            name="large",
            title="JPEGs of 4000x3000, end to end, nearly free model",
            size=LARGE,
            seconds=2.0,
            variants=(
                *_sdk("triton_sdk, uint8, exact", free["UINT8"], _grid(way=["many", "aio"], batch=[4], threads=[2])),
                *_sdk(
                    FAST,
                    free["UINT8"],
                    _grid(way=["many", "aio"], batch=[1, 4], threads=[2, 4], decode=["fast"]),
                ),
                *_peers(free["FP32"]),
                *_floor(DECODE, free["UINT8"], _grid(way=["decode"], threads=[2], decode=["exact"])),
                *_floor(f"{DECODE}, fast", free["UINT8"], _grid(way=["decode"], threads=[2], decode=["fast"])),
            ),
        ),
        Workload(
            name="prepared",
            title="Prepared uint8 batches, nearly free model",
            common={"prepared": True},
            variants=(
                *_sdk(UINT8, free["UINT8"], _grid(batch=[8], threads=[2, 4, 1])),
                *_floor(STUB, free["UINT8"], _grid(batch=[8], threads=[2, 4, 1]), program="stub"),
                *_peers(free["UINT8"], naive=False),
            ),
        ),
        Workload(
            name="mobilenet",
            title="JPEGs of 500x375, end to end, MobileNetV2 on one core",
            seconds=1.5,
            variants=(
                *_ours(UINT8, net["UINT8"]),
                *_ours(FP32, net["FP32"]),
                *_peers(net["FP32"]),
                *_floor(RAW, net["FP32"], _grid(way=["onnxruntime"], threads=[1], batch=[1, 8])),
            ),
        ),
        Workload(
            name="lone",
            title="One call at a time, JPEGs of 500x375, nearly free model",
            variants=tuple(_lone(free["FP32"], free["UINT8"])),
        ),
    )
