"""Pictures out of damaged files: without the parts that only say something about them, and as far as they decode."""

import re
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from hashcli.hashmodel import jpeg
from hashcli.hashmodel.formats import UnreadableImageError

MOST_LOST = 0.1  # of the picture: with more missing, it is refused

_MOST_METADATA = 1 << 20  # bytes of one chunk of a PNG, uncompressed; Pillow refuses the file for more
_NOISE = bytes(range(1, 200))  # without a marker


def mended(content: bytes) -> bytes:
    """A file without what keeps its picture from being read: damaged or huge metadata, and what follows the damage."""
    if content.startswith(b"\xff\xd8"):
        return jpeg.without_metadata(content, keep=jpeg.SHOWING)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"".join((content[:8], *_sound_chunks(content)))
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _mended_webp(content)
    return content


def salvaged(content: bytes, load: Callable[[bytes, int], Image.Image]) -> tuple[Image.Image, float]:
    """The picture of a file that was cut off or is damaged, and the share of its pixels that are lost, 0 to 1.

    It is decoded twice, with different bytes after its end and onto different grounds, as `load(content, ground)`
    does. The pixels that differ then were not in the file. Raises UnreadableImageError if too many are lost.
    """
    content = mended(content)
    is_jpeg = content.startswith(b"\xff\xd8")
    if is_jpeg:  # libjpeg makes grey of what is missing at the end, so that there must be enough noise before it
        tails = jpeg.END, _NOISE * (1000 + len(content) // len(_NOISE)) + jpeg.END
    else:
        padding = 1024 + len(content) // 8
        tails = bytes(padding), b"\x55" * padding
    first, second = (load(content + tail, ground) for tail, ground in zip(tails, (0, 255), strict=True))
    lost = _differing(first, second)
    if is_jpeg:
        lost = jpeg.lost_share(content, lost)
    if lost > MOST_LOST:
        raise UnreadableImageError(f"damaged: {lost * 100:.0f} % of the picture are lost")
    return first, lost


def load_onto(image: Image.Image, ground: int) -> Image.Image:
    """Decode an image as far as it goes. What does not decode has the value `ground`. Raises if nothing decodes."""
    prepare = getattr(image, "load_prepare", None)
    if prepare is not None:

        def prepare_ground() -> None:
            prepare()
            bands = len(image.getbands())
            image.im.paste(ground if bands == 1 else (ground,) * bands, (0, 0, *image.im.size))

        image.load_prepare = prepare_ground  # type: ignore[attr-defined]
    try:
        image.load()
    except MemoryError:
        raise
    except Exception:
        if image._im is None:
            raise
        image.tile = []  # type: ignore[attr-defined]  # there is no more to decode
    return image


def _differing(first: Image.Image, second: Image.Image) -> float:
    """The share of the pixels that differ."""
    if first.size != second.size or first.mode != second.mode:
        return 1.0
    differ = np.asarray(first) != np.asarray(second)
    return float((differ.any(axis=2) if differ.ndim == 3 else differ).mean())


def _sound_chunks(content: bytes) -> Iterator[bytes]:
    """The chunks of a PNG that show the picture, and those about it that are whole and small, up to the first damage.

    Frames after the first are left out.
    """
    start = 8
    while start + 8 <= len(content):
        length, name = int.from_bytes(content[start : start + 4]), content[start + 4 : start + 8]
        end = start + 12 + length
        chunk = content[start:end]
        is_sound = end <= len(content) and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if not name.isalpha() or (name[:1].isupper() and not is_sound and end <= len(content)):
            return
        if name[:1].isupper() or (is_sound and name not in (b"acTL", b"fcTL", b"fdAT") and _is_small(name, chunk)):
            yield chunk
        start = end


def _is_small(name: bytes, chunk: bytes) -> bool:
    if len(chunk) > _MOST_METADATA:
        return False
    if name not in (b"iCCP", b"zTXt", b"iTXt"):
        return True
    for start in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", chunk[8:400]):  # a compressed part begins so
        unpacker = zlib.decompressobj()
        try:
            unpacker.decompress(chunk[8 + start.start() : -4], _MOST_METADATA)
        except zlib.error:
            continue
        return not unpacker.unconsumed_tail
    return name == b"iTXt"


def _mended_webp(content: bytes) -> bytes:
    """A WebP without the metadata at its end if that was cut off."""
    start = 12
    while start + 8 <= len(content):
        length = int.from_bytes(content[start + 4 : start + 8], "little")
        if start + 8 + length > len(content) and content[start : start + 4] in (b"EXIF", b"XMP "):
            break
        start += 8 + length + length % 2
    else:
        return content
    mended = bytearray(content[:start])
    mended[4:8] = (start - 8).to_bytes(4, "little")
    if mended[12:16] == b"VP8X":
        mended[20] &= ~0x0C  # it no longer has EXIF and XMP
    return bytes(mended)
