"""From an image file to the square of RGB pixels a hash model reads."""

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import jpeg_factory

from hashcli.errors import reason_of
from hashcli.hashmodel import jpeg, jpeg2000, jxl
from hashcli.hashmodel.colours import CODE_POINTS, in_srgb, on_background, plain
from hashcli.hashmodel.damage import load_onto, mended, padded, salvaged
from hashcli.hashmodel.deep_colours import add_lower_bytes, is_deep, is_dim, take_lower_bytes
from hashcli.hashmodel.description import Interpolation, Resize
from hashcli.hashmodel.formats import (
    UnreadableImageError,
    check_format,
    first_bytes,
    is_jpeg,
    is_jxl,
    is_raw,
    pillow_formats,
    png_chunk,
)
from hashcli.hashmodel.memory import decoding_budget, machine_memory
from hashcli.plain_files import check_plain

MAX_PIXELS = 250_000_000  # 1 GB when decoded
MAX_SLOW_PIXELS = 50_000_000  # where Pillow decodes in Python, as for QOI, which takes a second for each million
MAX_SCANS = 100  # of a JPEG; photos have about 10
MAX_SCANNED = 4_000_000_000  # pixels times scans, each of which is worked through whole

# What `opened` notes in the `info` of an image: its file, that this ends too early, and the share that is lost.
_FILE, _CUT, _LOST = "hashcli_file", "hashcli_cut", "hashcli_lost"
_MOST_PIXELS_PER_BYTE = 1000  # of a damaged file; photos have less than 100
_MOST_MENDED = 256 << 20  # bytes: a larger file that is damaged is not read into memory
_JXL_BYTES = 16  # a pixel, while it is decoded: libjxl works in floats
_READ_WHOLE = ("WEBP", "AVIF", "HEIF", "JXL")  # formats whose libraries take a file as a whole, and copy its pixels

ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_RAW_FLIPS = {3: 3, 5: 8, 6: 6}  # LibRaw's turns as EXIF orientations

_RAW_BYTES = 6  # a pixel, developed at half size: the sensor's values, and four of 16 bits for each four of them
_RAW_PREVIEW = 512  # pixels: a smaller preview in a RAW file is only a stamp

# Pillow warns of half of what it refuses. It looks also at pictures within others, such as the PNGs of an icon.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

# Large pictures lie in blocks of this many bytes. Those of the default size, 16 MB, the C library would mostly keep for
# each thread when they are freed; it returns blocks of more than 32 MB to the system.
Image.core.set_block_size(64 << 20)  # type: ignore[attr-defined]


def load_pixels(
    path: str | os.PathLike[str], size: int, resize: Resize, interpolation: Interpolation = "bicubic"
) -> np.ndarray:
    """Decode the first frame of an image file, upright, in sRGB, as uint8 [size, size, 3] RGB.

    `squash` fits the whole picture into the square, whatever its shape; `crop` keeps the shape and takes the middle.
    Transparent parts are white, or black behind something light. Of a damaged file, what decodes is taken if that is
    nine tenths. Raises UnreadableImageError for other content, OSError for a file that cannot be read now.
    """
    return np.asarray(_load(path, size, lambda image: _resized(image, size, resize, interpolation)))


def load_thumbnail(path: str | os.PathLike[str], side: int) -> Image.Image:
    """Decode the first frame of an image file, upright, as RGB in sRGB, its longer side at most `side` pixels.

    Raises as load_pixels does.
    """
    return _load(path, side, lambda image: _fitted(image, side))


def _load(path: str | os.PathLike[str], size: int, resized: Callable[[Image.Image], Image.Image]) -> Image.Image:
    with opened(path) as image:
        return _decoded(image, size, resized)


def pixels_of(image: Image.Image, size: int, resize: Resize, interpolation: Interpolation = "bicubic") -> np.ndarray:
    """The same as load_pixels, from an image that is already `opened`. Changes the image: a JPEG is decoded smaller."""
    return np.asarray(_decoded(image, size, lambda decoded: _resized(decoded, size, resize, interpolation)))


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """An image file, opened and not yet decoded. Of a camera RAW file, the preview in it if that is large enough.

    Any failure within the `with` block is raised as UnreadableImageError for content that cannot be decoded, and as
    OSError for a file that cannot be read now. Raises MissingExtraError for a format whose extra is not installed.
    """
    try:
        check_plain(path)  # reading from a pipe or a device may never end
        head = first_bytes(path)
        check_format(path, head)
        with _open_raw(path) if is_raw(path, head) else _open(path, head) as image:
            yield image
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image that can be read") from None
    except Image.DecompressionBombError:
        raise UnreadableImageError(f"more than the {MAX_PIXELS // 10**6} megapixels allowed") from None
    except MemoryError:
        raise OSError(errno.ENOMEM, "not enough memory to decode it") from None
    except Exception as error:  # decoders raise nearly anything on a damaged file
        if _is_of_disk(error):
            raise
        raise UnreadableImageError(reason_of(error)) from error


def lost_share(image: Image.Image) -> float | None:
    """What is missing of an image whose file is damaged, as a share of its pixels; None for a sound one, once decoded.

    0 is a file that is damaged behind all of its pixels.
    """
    lost = image.info.get(_LOST)
    return lost if isinstance(lost, float) else None


def copied(image: Image.Image) -> Image.Image:
    """A copy of an open image, which decoding would change. Raises UnreadableImageError if it cannot be decoded."""
    try:
        return image.copy()
    except Exception as error:  # decoders raise nearly anything on a damaged file
        raise UnreadableImageError(reason_of(error)) from error


def _is_of_disk(error: Exception) -> bool:
    """Whether it is an error of reading the file, which says nothing about its content."""
    return isinstance(error, OSError) and error.errno is not None


def _open(path: str | os.PathLike[str], head: bytes) -> Image.Image:
    """Open an image file by its content. Metadata that Pillow stumbles over is left out."""
    image: Image.Image
    try:
        with decoding_budget().reserved(_memory_to_open(head)):
            image = _open_as(head, path)
    except (MemoryError, UnreadableImageError, Image.DecompressionBombError):
        raise
    except Exception as error:
        if _is_of_disk(error) or os.path.getsize(path) > _MOST_MENDED:
            raise
        content = mended(_read(path))
        try:
            image = _open_as(head, BytesIO(content))
        except Exception:
            if head[:4] != b"RIFF" and head[4:8] != b"ftyp":
                raise error from None
            image = _open_as(head, BytesIO(padded(content)))
            image.info[_CUT] = True
    image.info[_FILE] = os.fspath(path)
    return image


def _open_as(head: bytes, file: str | os.PathLike[str] | BytesIO) -> Image.Image:
    """An image of one of the formats that begin with `head`."""
    if is_jpeg(head):  # of which Pillow would look at the size before `draft` makes it smaller
        try:
            return jpeg_factory(file)  # type: ignore[arg-type]  # a path is as good as an open file
        except SyntaxError as error:
            raise UnidentifiedImageError(str(error)) from error
    image = Image.open(file, formats=pillow_formats(head))
    if code_points := png_chunk(head, b"cICP"):  # which Pillow does not read
        image.info[CODE_POINTS] = code_points
    return image


def _memory_to_open(head: bytes) -> int:
    """The bytes that opening an image takes: those of a JPEG XL are the most, as it is decoded then."""
    size = jxl.size_of(head) if is_jxl(head) else None
    if size is None:
        return 0
    _check_size(*size)
    return _JXL_BYTES * size[0] * size[1]


def _read(path: str | bytes | os.PathLike[str]) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _decoded(image: Image.Image, size: int, resized: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Decode at `size` pixels a side or more, if it has them; then resize, turn upright and convert to sRGB."""
    coefficients = _coefficients(image)
    _draft(image, size)
    memory = coefficients + _memory(image)
    if memory > machine_memory() // 2:
        raise OSError(errno.ENOMEM, f"{image.width} x {image.height} pixels, not enough memory to decode them")
    try:
        with decoding_budget().reserved(memory):
            if not image.info.get(_CUT):
                deep = is_deep(image)
                image.load()  # a TIFF is turned upright here, and its orientation tag is reset
                if deep and is_dim(image):
                    _add_lower_bytes(image)
                return _finished(image, resized)
    except Exception as error:
        is_sound = isinstance(error, MemoryError | Image.DecompressionBombError)
        if is_sound or _is_of_disk(error) or not _can_be_salvaged(image):
            raise
    image.close()  # to free what was decoded; its metadata can still be read
    with decoding_budget().reserved(2 * memory):  # it is decoded twice, to compare
        return _finished(_salvaged(image, size), resized)


def _add_lower_bytes(image: Image.Image) -> None:
    path: Any = image.info.get(_FILE)
    if path:
        with _open_as(first_bytes(path), path) as lower:
            take_lower_bytes(lower)
            lower.load()
            add_lower_bytes(image, lower)


def _draft(image: Image.Image, size: int) -> None:
    """Have an image decoded smaller where its format allows it, and refuse one that is too large nevertheless."""
    image.draft(None, (size, size))  # a JPEG decodes up to 8 times smaller, and that much faster
    _check_size(*image.size)
    tiles = getattr(image, "tile", None)
    if tiles and tiles[0].codec_name in Image.DECODERS and image.width * image.height > MAX_SLOW_PIXELS:
        raise UnreadableImageError(
            f"{image.width} x {image.height} pixels, more than the {MAX_SLOW_PIXELS // 10**6} megapixels allowed for "
            f"{image.format}"
        )
    jpeg2000.decode_smaller(image)


def _finished(image: Image.Image, resized: Callable[[Image.Image], Image.Image]) -> Image.Image:
    orientation = _orientation(image)
    small = on_background(in_srgb(resized(plain(image)), image))
    return small.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else small


def _can_be_salvaged(image: Image.Image) -> bool:
    path = image.info.get(_FILE)
    return isinstance(path, str | bytes) and os.path.getsize(path) <= _MOST_MENDED


def _salvaged(image: Image.Image, size: int) -> Image.Image:
    """What can be decoded of an image that cannot be loaded; if some of it is lost, that share is noted in `image`."""
    path = image.info[_FILE]
    head = first_bytes(path)
    content = mended(_read(path))

    def part_of(content: bytes) -> Image.Image:
        part = _open_as(head, BytesIO(content))
        _draft(part, size)
        return part

    whole = _loaded(partial(part_of, content))
    if whole is None:
        if image.width * image.height > _MOST_PIXELS_PER_BYTE * len(content):  # its size is what is damaged
            raise UnreadableImageError("damaged: its file is far too short for its size")
        whole, image.info[_LOST] = salvaged(content, lambda content, ground: load_onto(part_of(content), ground))
    return whole


def _loaded(open_: Callable[[], Image.Image]) -> Image.Image | None:
    """An image if it can be loaded to its end. A function, so that nothing of it is kept otherwise."""
    try:
        image = open_()
        image.load()
    except Exception:  # decoders raise nearly anything on a damaged file
        return None
    return image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f"{width} x {height} pixels, more than the {MAX_PIXELS // 10**6} megapixels allowed")


def _coefficients(image: Image.Image) -> int:
    """The bytes that libjpeg takes for a JPEG of several scans, which it keeps at full size whatever is made of it.

    Raises UnreadableImageError for one of too many pixels or scans. Call it before `draft`.
    """
    if image.format not in ("JPEG", "MPO") or not getattr(image, "tile", None) or not _has_several_scans(image):
        return 0
    width, height = image.size
    _check_size(width, height)
    path = image.info.get(_FILE)
    scans = jpeg.count_scans(_read(path)) if isinstance(path, str | bytes) else 0
    if scans > MAX_SCANS or scans * width * height > MAX_SCANNED:
        raise UnreadableImageError(f"{scans} scans of {width} x {height} pixels, more than are allowed")
    return 2 * width * height * len(image.getbands())


def _has_several_scans(image: Image.Image) -> bool:
    """Whether a JPEG is progressive, or its first scan lacks some of its components."""
    file = getattr(image, "fp", None)
    if "progressive" in image.info or file is None:
        return "progressive" in image.info
    place = file.tell()  # behind the header of the first scan
    file.seek(max(0, place - 16))
    _, header, rest = file.read(min(place, 16)).rpartition(b"\xff\xda\0")
    file.seek(place)
    return len(header) > 0 and len(rest) > 1 and rest[1] < len(image.getbands())


def _memory(image: Image.Image) -> int:
    """The bytes that decoding an image takes, about: its file, its pixels, those of its conversion, and copies."""
    is_grey = image.mode in ("I", "F") or image.mode.startswith("I;16")
    converted = {"RGB": 0, "RGBA": 0, "LA": 8, "PA": 8}.get(image.mode, 20 if is_grey else 4)
    each = (1 if image.mode in ("1", "L", "P") else 4) + converted + (4 if is_deep(image) else 0)
    if image.format in _READ_WHOLE:
        each += 12
    elif image.format == "JPEG2000":
        each += jpeg2000.BYTES * len(image.getbands())
    path = image.info.get(_FILE)
    return each * image.width * image.height + (os.path.getsize(path) if isinstance(path, str | bytes) else 0)


def _open_raw(path: str | os.PathLike[str]) -> Image.Image:
    """A camera RAW file as an image with its orientation and date: the preview in it, or else the developed data."""
    import rawpy

    try:
        with open(path, "rb") as file, rawpy.imread(file) as raw:
            size = raw.sizes.width, raw.sizes.height
            image = _preview(raw)
            if image is None or max(image.size) < min(_RAW_PREVIEW, *size):
                _check_size(*size)
                with decoding_budget().reserved(_RAW_BYTES * size[0] * size[1]):
                    image = Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True))  # upright
            elif ORIENTATION_TAG not in image.getexif():
                image.getexif()[ORIENTATION_TAG] = _RAW_FLIPS.get(raw.sizes.flip, 1)
            taken = raw.other.timestamp
    except rawpy.LibRawError:
        raise UnreadableImageError("not a camera RAW file that can be read") from None
    if taken is not None:
        exif = image.getexif().get_ifd(ExifTags.IFD.Exif)
        exif.setdefault(ExifTags.Base.DateTimeOriginal, f"{taken:%Y:%m:%d %H:%M:%S}")
    return image


def _preview(raw: Any) -> Image.Image | None:
    """The largest JPEG that a RAW file carries beside the sensor's data."""
    import rawpy

    try:
        preview = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        return None
    return Image.open(BytesIO(preview.data), formats=("JPEG",)) if preview.format == rawpy.ThumbFormat.JPEG else None


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # the picture may be fine even where its EXIF is damaged
        return 1


def _resized(image: Image.Image, size: int, resize: Resize, interpolation: Interpolation) -> Image.Image:
    width, height = image.size
    box = (0.0, 0.0, float(width), float(height))
    if resize == "crop":
        side = min(width, height)
        box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    method = Image.Resampling.BICUBIC if interpolation == "bicubic" else Image.Resampling.BILINEAR
    return image.resize((size, size), method, box=box, reducing_gap=2.0)


def _fitted(image: Image.Image, side: int) -> Image.Image:
    scale = min(1.0, side / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
