"""Which of Pillow's plugins reads a file, told by how it begins."""

import importlib
import re
from typing import Any, Final

from PIL import ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

# In messages: what is read wherever this package is.
EXPECTED: Final = "a JPEG, PNG, WebP, BMP, GIF or TIFF"
# For what Pillow reads and this package does not.
WAY_ON: Final = "If Pillow reads it, open it with Pillow and pass the image: predict(PIL.Image.open(path))"

# The plugins are called directly, not through Image.open: that would warn of decompression bombs before the size can be
# looked at here, and a warning can only be silenced for all threads at once.
_FORMATS: Final[tuple[tuple[re.Pattern[bytes], type[ImageFile.ImageFile]], ...]] = (
    (re.compile(rb"\xff\xd8\xff"), JpegImageFile),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImageFile),
    (re.compile(rb"GIF8[79]a"), GifImageFile),
    (re.compile(rb"BM"), BmpImageFile),
    (re.compile(rb"II[*+]\x00|MM\x00[*+]"), TiffImageFile),
)
_BRANDS: Final = re.compile(rb"....ftyp(.{4})....((?:.{4}){0,12})", re.DOTALL)
_AVIF: Final = {b"avif", b"avis"}
_HEIC: Final = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


def plugin_for(content: bytes) -> type[ImageFile.ImageFile] | None:
    """Return the plugin that reads *content*; None where it is none of the known formats, or its plugin is not here."""
    for magic, plugin in _FORMATS:
        if magic.match(content):
            return plugin
    name = name_of(content)
    if name == "AVIF":
        return _loaded("PIL.AvifImagePlugin", "AvifImageFile")
    return _loaded("pillow_heif", "HeifImageFile") if name == "HEIC" else None


def name_of(content: bytes) -> str | None:
    """Return ``"AVIF"`` or ``"HEIC"`` where *content* is such a picture, as phones take them."""
    if (found := _BRANDS.match(content)) is None:
        return None
    size = int.from_bytes(content[:4], "big") - 16
    others = found[2][: max(size, 0)]
    brands = {found[1], *(others[at : at + 4] for at in range(0, len(others), 4))}
    if brands & _AVIF:
        return "AVIF"
    return "HEIC" if brands & _HEIC else None


def missing(name: str) -> str:
    """Return what to do where the plugin for *name* is not here."""
    if name == "AVIF":
        return "This Pillow cannot read AVIF: version 11.3 or later, as its own wheels are, can. Install one"
    return "HEIC is read if pillow-heif is installed: pip install pillow-heif. Or pass the picture as a JPEG"


def _loaded(module: str, name: str) -> type[ImageFile.ImageFile] | None:
    try:
        found: Any = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return found if isinstance(found, type) and issubclass(found, ImageFile.ImageFile) else None
