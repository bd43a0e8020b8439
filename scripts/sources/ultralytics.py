"""What Ultralytics' exporter writes into an ONNX file: task, names, imgsz, channels."""

import ast
from collections.abc import Iterator, Mapping

from scripts.host.errors import TaskFailure
from scripts.repository.preprocessing import Scaling
from scripts.sources.claims import Claim, Place, names, whole

# Far longer than any class list; ast is not meant for more.
_LONGEST = 2**20


def claims(metadata: Mapping[str, str], place: Place) -> Iterator[Claim]:
    """Yield what the keys of an Ultralytics classifier say; nothing for other files.

    Its pictures are resized on the shorter side to ``imgsz``, cropped to the middle, and divided by 255
    (``ultralytics.data.augment.classify_transforms``); the exported graph ends in a softmax.

    Raises:
        TaskFailure: If it is one of Ultralytics' models for another task.
    """
    if not {"task", "names", "imgsz"} <= metadata.keys():
        return
    task = metadata["task"]
    if task != "classify":
        raise TaskFailure(
            f"{place.name[:1].upper()}{place.name[1:]} is an Ultralytics model for the task {task[:40]!r}, and no "
            "classifier. Export one that was trained with task=classify."
        )
    unit = Scaling(scale=1 / 255, mean=(0.0,), std=(1.0,))
    yield place.claim("colour", "gray" if metadata.get("channels") == "1" else "rgb", "Ultralytics' task classify")
    yield place.claim("scaling", unit, "Ultralytics' task classify")
    yield place.claim("interpolation", "bilinear", "Ultralytics' task classify")
    yield place.claim("fit", "crop", "Ultralytics' task classify")
    size = _literal(metadata["imgsz"])
    sides = [whole(side) for side in (size if isinstance(size, list | tuple) else [size, size])]
    if len(sides) == 2 and sides[0] and sides[1]:
        yield place.claim("size", (sides[0], sides[1]), f"imgsz {metadata['imgsz']}")
        yield place.claim("resize", max(sides[0], sides[1]), f"imgsz {metadata['imgsz']}")
    else:
        yield place.unusable("size", f"imgsz {metadata['imgsz'][:40]!r}", "is no height and width")
    found = names(_literal(metadata["names"]))
    if isinstance(found, str):
        yield place.unusable("labels", "names", found)
    else:
        yield place.claim("labels", found, "names")


def _literal(text: str) -> object:
    """Return the Python value that *text* writes down; None where it is none."""
    if len(text) > _LONGEST:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
