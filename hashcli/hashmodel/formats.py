"""Which image formats are photos, told apart by the first bytes of a file, and which of them need an extra.

The ending of a name says only which files are looked at: phones and programs put JPEGs into files named .HEIC.
"""

import os
from functools import cache
from importlib.util import find_spec

from PIL import Image

from hashcli.errors import how_to_install

# Formats that need a library of their own, by the extra that installs it. Suffixes in lower case.
RAW_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "iiq", "kdc", "mef", "mos", "mrw", "nef"),
        *("nrw", "orf", "pef", "raf", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)
_EXTRAS = {"heic": frozenset({".heic", ".heif", ".hif"}), "jxl": frozenset({".jxl"}), "raw": RAW_SUFFIXES}
EXTRA_SUFFIXES = frozenset().union(*_EXTRAS.values())

# What Pillow may open, by its names. It knows more: documents (for which it starts Ghostscript), films, data, and
# formats that it can name but not decode.
_PICTURES = frozenset(
    (
        *("AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FLI", "FTEX", "GBR", "GIF", "HEIF", "ICNS", "ICO", "IM"),
        *("IMT", "JPEG", "JPEG2000", "JXL", "MCIDAS", "MPO", "MSP", "PCD", "PCX", "PIXAR", "PNG", "PPM", "PSD", "QOI"),
        *("SGI", "SPIDER", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM", "XVTHUMB"),
    )
)

_HEAD = 256  # bytes that tell the format, and the size of a JPEG XL
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Formats that are nothing but camera RAW. All others are TIFFs inside, known by their names.
_RAW = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb", b"II\x1a\0\0\0HEAP")
_PLAIN = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"BM", b"8BPS")
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))

_missing_extras: set[str] = set()
try:
    from pillow_heif import register_heif_opener
except ImportError:
    _missing_extras.add("heic")
else:
    register_heif_opener()
try:
    import pillow_jxl  # noqa: F401 - it registers itself
except ImportError:
    _missing_extras.add("jxl")
if find_spec("rawpy") is None:
    _missing_extras.add("raw")


class UnreadableImageError(Exception):
    """An image that cannot be decoded; the message is the reason, without the path."""


class MissingExtraError(UnreadableImageError):
    """An image whose format needs an extra that is not installed: nothing is wrong with the image."""


@cache
def photo_suffixes() -> frozenset[str]:
    """The file name endings of the formats that may hold photos: in lower case, with their dot."""
    Image.init()
    readable = (set(Image.OPEN) | {"MPO"}) & _PICTURES  # MPO is opened as the JPEG it begins with
    return (
        frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in readable) | EXTRA_SUFFIXES
    )


def check_format(path: str | os.PathLike[str], head: bytes) -> None:
    """Raise MissingExtraError for a file of a format whose extra is not installed; `head` is its `first_bytes`."""
    if is_jpeg(head):
        return
    extra = "raw" if is_raw(path, head) and _is_known_raw(head) else _extra_of(head)
    if extra in _missing_extras:
        raise MissingExtraError(f"{extra.upper()} needs an extra. {how_to_install(extra)}")


def first_bytes(path: str | os.PathLike[str]) -> bytes:
    """What tells the format of a file."""
    with open(path, "rb", buffering=0) as file:
        return file.read(_HEAD)


def is_raw(path: str | os.PathLike[str], head: bytes) -> bool:
    """Whether a file with these first bytes is for LibRaw to read: one named as camera RAW that is no other picture."""
    if head.startswith(_RAW) or head[4:12] == b"ftypcrx " or (head.startswith(b"II*\0") and head[8:10] == b"CR"):
        return True
    is_other = head.startswith((*_PLAIN, *_JXL)) or head[4:8] == b"ftyp"
    return os.path.splitext(path)[1].lower() in RAW_SUFFIXES and not is_other


def is_jpeg(head: bytes) -> bool:
    return head.startswith(b"\xff\xd8\xff")


def is_jxl(head: bytes) -> bool:
    return head.startswith(_JXL)


def png_chunk(head: bytes, name: bytes) -> bytes | None:
    """The content of a chunk among the first bytes of a PNG."""
    start = 8 if head.startswith(b"\x89PNG") else len(head)
    while start + 8 < len(head):
        end = start + 8 + int.from_bytes(head[start : start + 4])
        if head[start + 4 : start + 8] == name:
            return head[start + 8 : end]
        start = end + 4
    return None


def pillow_formats(head: bytes) -> tuple[str, ...]:
    """The formats that Pillow may take a file with these first bytes for."""
    if is_jpeg(head):
        return ("JPEG",)
    if head.startswith(b"\x89PNG"):
        return ("PNG",)  # without the others, whose loading takes a while
    return _all_formats()


@cache
def _all_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name in Image.OPEN and name in _PICTURES)


def _is_known_raw(head: bytes) -> bool:
    """Whether it is RAW by its content too, as far as that can be told without LibRaw."""
    return head.startswith((*_RAW, *_TIFF)) or head[4:12] == b"ftypcrx "


def _extra_of(head: bytes) -> str:
    if head.startswith(_JXL):
        return "jxl"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[place : place + 4] for place in range(16, len(head), 4))}
        is_avif = head[8:12] in _AVIF_BRANDS or (head[8:12] in (b"mif1", b"msf1") and brands & _AVIF_BRANDS)
        return "heic" if brands & _HEIC_BRANDS and not is_avif else ""
    return ""
