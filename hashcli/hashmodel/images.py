"""From an image file to the square of RGB pixels a hash model reads."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from hashcli.errors import how_to_install, reason_of
from hashcli.hashmodel.description import Interpolation, Resize
from hashcli.plain_files import check_plain

# Decoding takes about 4 bytes a pixel, and several images decode at once: 250 megapixels are 1 GB each.
MAX_PIXELS = 250_000_000

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

# Pillow also opens these, but they are not photos: documents, films, data, and formats it can name but not decode.
_NOT_PHOTOS = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}

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

_RAW_PREVIEW = 512  # pixels: a smaller preview in a RAW file is only a stamp

# We limit the pixels that are really decoded; Pillow's own limit is on the size before `draft` makes it smaller.
Image.MAX_IMAGE_PIXELS = None


class UnreadableImageError(Exception):
    """An image that cannot be decoded; the message is the reason, without the path."""


class MissingExtraError(UnreadableImageError):
    """An image whose format needs an extra that is not installed: nothing is wrong with the image."""


@cache
def photo_suffixes() -> frozenset[str]:
    """The file name endings of the formats that may hold photos: in lower case, with their dot."""
    Image.init()
    readable = (set(Image.OPEN) | {"MPO"}) - _NOT_PHOTOS  # MPO is opened as the JPEG it begins with
    return (
        frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in readable) | EXTRA_SUFFIXES
    )


def load_pixels(
    path: str | os.PathLike[str], size: int, resize: Resize, interpolation: Interpolation = "bicubic"
) -> np.ndarray:
    """Decode the first frame of an image file, upright, on white, as uint8 [size, size, 3] RGB.

    `squash` fits the whole picture into the square, whatever its shape; `crop` keeps the shape and takes the middle.
    Raises UnreadableImageError for content that cannot be decoded in full, OSError for a file that cannot be read now.
    """
    return np.asarray(_load(path, size, lambda image: _resized(image, size, resize, interpolation)))


def load_thumbnail(path: str | os.PathLike[str], side: int) -> Image.Image:
    """Decode the first frame of an image file, upright, on white, as RGB, its longer side at most `side` pixels.

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
    check_format(path)
    try:
        check_plain(path)  # reading from a pipe or a device may never end
        with _open_raw(path) if _suffix(path) in RAW_SUFFIXES else Image.open(path) as image:
            yield image
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError("not an image that can be read") from None
    except MemoryError:
        raise OSError(errno.ENOMEM, "not enough memory to decode it") from None
    except Exception as error:  # decoders raise nearly anything on a damaged file
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableImageError(reason_of(error)) from error


def copied(image: Image.Image) -> Image.Image:
    """A copy of an open image, which decoding would change. Raises UnreadableImageError if it cannot be decoded."""
    try:
        return image.copy()
    except Exception as error:  # decoders raise nearly anything on a damaged file
        raise UnreadableImageError(reason_of(error)) from error


def check_format(path: str | os.PathLike[str]) -> None:
    """Raise MissingExtraError for a format whose extra is not installed, without reading the file."""
    suffix = _suffix(path)
    for extra in _missing_extras:
        if suffix in _EXTRAS[extra]:
            raise MissingExtraError(f"{extra.upper()} needs an extra. {how_to_install(extra)}")


def _suffix(path: str | os.PathLike[str]) -> str:
    return os.path.splitext(path)[1].lower()


def _decoded(image: Image.Image, size: int, resized: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Decode at `size` pixels a side or more, if it has them; then resize, turn upright and put on white."""
    image.draft(None, (size, size))  # a JPEG decodes up to 8 times smaller, and that much faster
    _check_size(*image.size)
    image.load()  # a TIFF is turned upright here, and its orientation tag is reset
    orientation = _orientation(image)
    small = _on_white(resized(_as_rgb(image)))
    if orientation in _TRANSPOSE:
        small = small.transpose(_TRANSPOSE[orientation])
    return small


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f"{width} x {height} pixels, more than the {MAX_PIXELS // 10**6} megapixels allowed")


def _open_raw(path: str | os.PathLike[str]) -> Image.Image:
    """A camera RAW file as an image with its orientation and date: the preview in it, or else the developed data."""
    import rawpy

    try:
        with open(path, "rb") as file, rawpy.imread(file) as raw:
            size = raw.sizes.width, raw.sizes.height
            image = _preview(raw)
            if image is None or max(image.size) < min(_RAW_PREVIEW, *size):
                _check_size(*size)
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
    return Image.open(BytesIO(preview.data)) if preview.format == rawpy.ThumbFormat.JPEG else None


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # the picture may be fine even where its EXIF is damaged
        return 1


def _as_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB, or as RGBA if parts are transparent."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    """Grey values of 16 or 32 bits as uint8: Pillow's own conversion cuts everything above 255 to white."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low >= 0 and high <= 255 and values.dtype != np.uint16:
        return values.astype(np.uint8)
    if low >= 0 and values.dtype.kind in "iu" and high <= 65535:
        return (values // 257).astype(np.uint8)
    scaled = (values.astype(np.float64) - low) * (255 / max(high - low, 1e-12))
    return np.nan_to_num(scaled).clip(0, 255).astype(np.uint8)


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


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
