"""Of damaged files, what decodes is taken if that is nine tenths of the picture, and what is lost is measured."""

import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from hashcli.hashmodel.formats import UnreadableImageError
from hashcli.hashmodel.images import load_pixels, lost_share, opened, pixels_of
from tests.conftest import SKIMAGE

SIZE = 64
GREY_LEVELS = 40  # by which a lost pixel differs, mostly; changes of compression are smaller


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A real photo without large flat parts, 240 x 240."""
    return Image.open(SKIMAGE / "chelsea.png").convert("RGB").crop((100, 30, 340, 270))


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def decoded(path: Path, content: bytes) -> tuple[np.ndarray, float | None]:
    """The pixels [SIZE, SIZE, 3] of a file with that content, and the share that is lost."""
    path.write_bytes(content)
    with opened(path) as image:
        return pixels_of(image, SIZE, "squash").astype(int), lost_share(image)


CUT: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {"quality": 90}),
    "progressive": ("JPEG", {"progressive": True}),
    "with restarts": ("JPEG", {"restart_marker_rows": 1}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "bmp": ("BMP", {}),
    "ppm": ("PPM", {}),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_picture_that_is_nearly_whole_is_taken(tmp_path: Path, photo: Image.Image, kind: str) -> None:
    format_, options = CUT[kind]
    content = encoded(photo, format_, **options)
    whole, lost = decoded(tmp_path / "whole", content)
    assert lost is None
    pixels, lost = decoded(tmp_path / "cut", content[: len(content) * 95 // 100])
    assert lost is not None
    assert 0.01 < lost < 0.1
    differ = np.abs(pixels - whole).max(axis=2) > GREY_LEVELS
    assert differ.mean() <= lost + 0.07  # the model's pixels at the edge mix both
    if kind != "bmp":  # which begins with the lowest row
        assert not differ[: SIZE * 3 // 4].any()


@pytest.mark.parametrize("kind", CUT)
@pytest.mark.parametrize("there", [0.1, 0.5, 0.8])
def test_a_picture_with_more_missing_is_refused(tmp_path: Path, photo: Image.Image, kind: str, there: float) -> None:
    if kind == "progressive" and there == 0.8:
        there = 0.6  # it ends with fine details of all of the picture
    format_, options = CUT[kind]
    content = encoded(photo, format_, **options)
    with pytest.raises(UnreadableImageError, match=r"damaged|could not|truncated"):
        decoded(tmp_path / "cut", content[: int(len(content) * there)])


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_without_its_last_bytes_is_all_there(
    tmp_path: Path, photo: Image.Image, options: dict[str, bool]
) -> None:
    content = encoded(photo, "JPEG", **options)
    whole, _ = decoded(tmp_path / "whole.jpg", content)
    pixels, lost = decoded(tmp_path / "cut.jpg", content[:-2])
    assert lost == 0
    assert (pixels == whole).all()


def test_a_cut_behind_half_a_marker_is_not_taken_for_the_end(tmp_path: Path, photo: Image.Image) -> None:
    content = encoded(photo, "JPEG")
    half = content.index(b"\xff\x00", len(content) // 2) + 1
    with pytest.raises(UnreadableImageError, match="damaged"):
        decoded(tmp_path / "cut.jpg", content[:half])


def chunk(name: bytes, data: bytes, *, is_sound: bool = True) -> bytes:
    checksum = zlib.crc32(name + data) ^ (not is_sound)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


@pytest.mark.parametrize(
    "odd",
    [
        chunk(b"gAMA", b"\0\0\xb1\x8f", is_sound=False),
        chunk(b"iCCP", b"big\0\0" + zlib.compress(bytes(5_000_000))),
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"node " * 1_000_000)),
        chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(b"node " * 1_000_000)),
        chunk(b"tEXt", b"a\0" + bytes(70_000_000)),
        chunk(b"cHRM", b"short"),
        chunk(b"eXIf", b"no EXIF at all"),
        chunk(b"acTL", b"short"),
    ],
    ids=lambda content: content[4:8].decode(),
)
def test_a_png_is_not_lost_for_its_metadata(tmp_path: Path, photo: Image.Image, odd: bytes) -> None:
    """And what is sound of that is still read."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Description", "a cat")
    content = encoded(photo, "PNG", pnginfo=text)
    whole, _ = decoded(tmp_path / "whole.png", content)
    for place in (33, -12):  # before and behind the picture
        pixels, lost = decoded(tmp_path / "odd.png", content[:place] + odd + content[place:])
        assert (pixels == whole).all()
        assert lost is None
    with opened(tmp_path / "odd.png") as image:
        assert image.info["Description"] == "a cat"


def test_a_png_counts_only_as_far_as_its_checksums_are_right(tmp_path: Path, photo: Image.Image) -> None:
    """A wrong byte in compressed data changes what follows, and need not stop the decoder."""
    packed = bytearray(zlib.compress(b"".join(b"\0" + row.tobytes() for row in np.asarray(photo)), 0))
    packed[-3] ^= 255  # the checksum of the pixels: all of them can be unpacked
    parts = [bytes(packed[start : start + 8192]) for start in range(0, len(packed), 8192)]
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 240, 240, 8, 2, 0, 0, 0))
    for bad, is_taken in ((len(parts) // 2, False), (len(parts) - 1, True)):
        chunks = b"".join(chunk(b"IDAT", part, is_sound=number != bad) for number, part in enumerate(parts))
        (tmp_path / "bad.png").write_bytes(header + chunks + chunk(b"IEND", b""))
        if is_taken:
            _, lost = decoded(tmp_path / "bad.png", header + chunks + chunk(b"IEND", b""))
            assert lost is not None
            assert 0 < lost < 0.1
        else:
            with pytest.raises(UnreadableImageError, match="of the picture is lost"):
                decoded(tmp_path / "bad.png", header + chunks + chunk(b"IEND", b""))


@pytest.mark.parametrize("marker", [0xE1, 0xE2, 0xED, 0xFE])
def test_a_jpeg_with_a_segment_of_wrong_length_shows_its_picture(
    tmp_path: Path, photo: Image.Image, marker: int
) -> None:
    """Not the small picture that the segment holds."""
    content = encoded(photo, "JPEG")
    whole, _ = decoded(tmp_path / "whole.jpg", content)
    stamp = encoded(Image.new("RGB", (160, 120), "red"), "JPEG")
    broken = b"\xff" + bytes([marker]) + struct.pack(">H", len(stamp) - 60) + b"Exif\0\0" + stamp
    pixels, _ = decoded(tmp_path / "broken.jpg", content[:2] + broken + content[2:])
    assert (pixels == whole).all()


def test_bytes_behind_the_picture_change_nothing(tmp_path: Path, photo: Image.Image) -> None:
    for format_ in ("JPEG", "PNG", "GIF", "WEBP", "BMP"):
        content = encoded(photo, format_)
        whole, _ = decoded(tmp_path / "whole", content)
        pixels, lost = decoded(tmp_path / "longer", content + b"MotionPhoto" + bytes(range(256)) * 20)
        assert (pixels == whole).all()
        assert lost is None


def test_odd_exif_costs_at_most_itself(tmp_path: Path, photo: Image.Image) -> None:
    for orientation in (0, 9, 99, "north", (3, 6), 2.5):
        exif = Image.Exif()
        exif[0x0112] = orientation
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                content = encoded(photo, "JPEG", exif=exif.tobytes())
            except (struct.error, TypeError):
                continue
            path = tmp_path / "odd.jpg"
            path.write_bytes(content)
            assert load_pixels(path, SIZE, "squash").shape == (SIZE, SIZE, 3)


def test_the_metadata_of_a_damaged_photo_is_read(tmp_path: Path, photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a cat"
    for format_ in ("JPEG", "PNG"):
        content = encoded(photo, format_, exif=exif)
        (tmp_path / "cut").write_bytes(content[: len(content) * 95 // 100])
        with opened(tmp_path / "cut") as image:
            pixels_of(image, SIZE, "squash")
            assert lost_share(image)
            assert image.getexif()[0x010E] == "a cat"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_size_that_cannot_be_that_of_the_file(tmp_path: Path, photo: Image.Image) -> None:
    """Nothing is made of such a size, which would take gigabytes."""
    content = bytearray(encoded(photo, "PNG"))
    content[16:24] = (20_000).to_bytes(4) + (12_000).to_bytes(4)
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    with pytest.raises(UnreadableImageError, match="far too short"):
        decoded(tmp_path / "photo.png", bytes(content))
