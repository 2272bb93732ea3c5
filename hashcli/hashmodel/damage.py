"""Pictures out of damaged files: without the parts that only say something about them, and as far as they decode."""

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
from PIL import Image

from hashcli.hashmodel import jpeg
from hashcli.hashmodel.formats import UnreadableImageError

MOST_LOST = 0.1  # of the picture: with more missing, it is refused

_ROWS = 256  # that are compared at a time
_MOST_METADATA = 1 << 20  # bytes of one chunk of a PNG, uncompressed; Pillow refuses the file for more
_MOST_METADATA_TOGETHER = 16 << 20
_KEPT_CHUNKS = (b"tRNS", b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # of a PNG, beside the picture itself
_KEPT_LENGTHS = {b"sRGB": 1, b"gAMA": 4, b"cHRM": 32, b"cICP": 4}  # bytes of further ones; Pillow refuses shorter ones
_PACKED_CHUNKS = (b"iCCP", b"zTXt", b"iTXt")
_NOISE = bytes(range(1, 200))  # without a marker


def mended(content: bytes) -> bytes:
    """A file without what keeps its picture from being read: damaged or huge metadata, and what follows the damage."""
    if content.startswith(b"\xff\xd8"):
        return jpeg.without_metadata(content, keep=jpeg.SHOWING).rstrip(b"\xff")  # half a marker
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"".join((content[:8], *_sound_chunks(content)))
    return content


def salvaged(content: bytes, load: Callable[[bytes, int], Image.Image]) -> tuple[Image.Image, float]:
    """The picture of a `mended` file that was cut off or is damaged, and the share of its pixels that are lost, 0 to 1.

    It is decoded twice, with different bytes after its end and onto different grounds, as `load(content, ground)`
    does. The pixels that differ then were not in the file. Raises UnreadableImageError if too many are lost.
    """
    is_jpeg = content.startswith(b"\xff\xd8")
    versions: list[Image.Image] = []
    for tail in _jpeg_tails(content) if is_jpeg else _tails(content):
        try:
            versions.append(load(_with_tail(content, tail), 255 * len(versions)))
        except (MemoryError, UnreadableImageError, Image.DecompressionBombError):
            raise
        except Exception:  # this tail does not pass for data of the format; decoders raise nearly anything
            continue
        if len(versions) == 2:
            break
    else:
        raise UnreadableImageError("damaged: less than nine tenths of the picture can be decoded")
    first, second = versions
    lost = _differing(first, second)
    if is_jpeg:
        lost = jpeg.lost_share(content, lost)
    if lost > MOST_LOST:
        raise UnreadableImageError(f"damaged: {_percent(lost)} of the picture is lost")
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
    finally:
        vars(image).pop("load_prepare", None)  # it refers to the image, which would be kept for long
    return image


def padded(content: bytes) -> bytes:
    """A file of one of the formats that are not even opened unless they are as long as they say, made longer."""
    return _with_tail(content, next(_tails(content)))


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share < 1 else "more than a tenth"


def _differing(first: Image.Image, second: Image.Image) -> float:
    """The share of the pixels that differ."""
    if first.size != second.size or first.mode != second.mode:
        return 1.0
    count = 0
    for top in range(0, first.height, _ROWS):
        box = 0, top, first.width, min(top + _ROWS, first.height)
        differ = np.asarray(first.crop(box)) != np.asarray(second.crop(box))
        count += int(np.count_nonzero(differ.any(axis=2) if differ.ndim == 3 else differ))
    return count / (first.width * first.height)


def _sound_chunks(content: bytes) -> Iterator[bytes]:
    """The chunks of a PNG that show the picture, and known ones about it, sound and small, up to the first damage."""
    start, left = 8, _MOST_METADATA_TOGETHER
    while start + 8 <= len(content):
        length, name = int.from_bytes(content[start : start + 4]), content[start + 4 : start + 8]
        end = start + 12 + length
        chunk = content[start:end]
        is_sound = end <= len(content) and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])
        if not name.isalpha() or (name[:1].isupper() and not is_sound and end <= len(content)):
            return
        if name[:1].isupper():
            yield chunk
        elif is_sound and (name in _KEPT_CHUNKS or _KEPT_LENGTHS.get(name) == length):
            size = _unpacked_size(name, chunk)
            if size <= _MOST_METADATA and size <= left:
                left -= size
                yield chunk
        start = end


def _unpacked_size(name: bytes, chunk: bytes) -> int:
    """The bytes of a chunk once its compressed part, if it has one, is unpacked; no more than are too many."""
    size = len(chunk)
    for start in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", chunk[8:400]) if name in _PACKED_CHUNKS else ():
        unpacker = zlib.decompressobj()
        with suppress(zlib.error):  # it only looked like the beginning of one
            size = max(size, len(unpacker.decompress(chunk[8 + start.start() : -4], _MOST_METADATA + 1)))
    return size


def _jpeg_tails(content: bytes) -> Iterator[bytes]:
    """libjpeg makes grey of what is missing at the end, so that there must be enough noise before it."""
    yield jpeg.END
    yield _NOISE * (1000 + len(content) // len(_NOISE)) + jpeg.END


def _tails(content: bytes) -> Iterator[bytes]:
    """Bytes to go on with where a file was cut off; at least as many as a container says there are."""
    size = 1024 + len(content) // 8
    if _is_webp(content):
        size += min(max(0, _number(content, 4) - len(content)), len(content))
    yield bytes(size)
    for value in (0x55, 0xFF, 0x80, 0xAA, 0x33, 0x0F):
        yield bytes((value,)) * size


def _with_tail(content: bytes, tail: bytes) -> bytes:
    """A file with more bytes at its end, which for a WebP go into its last chunk if that is the picture."""
    if not _is_webp(content):
        return content + tail
    start = 12
    while start + 8 <= len(content) and (end := start + 8 + _number(content, start + 4)) < len(content):
        start = end + end % 2
    extended = bytearray(content + tail)
    if content[start : start + 4] in (b"VP8 ", b"VP8L"):
        extended += bytes(len(extended) % 2)
        extended[start + 4 : start + 8] = (len(extended) - start - 8).to_bytes(4, "little")
        extended[4:8] = (len(extended) - 8).to_bytes(4, "little")
    return bytes(extended)


def _is_webp(content: bytes) -> bool:
    return content.startswith(b"RIFF") and content[8:12] == b"WEBP"


def _number(content: bytes, start: int) -> int:
    return int.from_bytes(content[start : start + 4], "little")
