"""Image files of every kind come out as the same upright RGB square."""

import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashcli.hashmodel import formats, images, jxl
from hashcli.hashmodel.formats import UnreadableImageError
from hashcli.hashmodel.images import load_pixels
from tests.conftest import SKIMAGE
from tests.hashmodel.dng import write_dng

SIZE = 64


@pytest.fixture
def photo() -> Image.Image:
    """A real photo, 451 x 300."""
    return Image.open(SKIMAGE / "chelsea.png").convert("RGB")


@pytest.fixture
def expected(photo: Image.Image) -> np.ndarray:
    return np.asarray(photo.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "tga"])
def test_lossless_formats_give_the_same_pixels(
    tmp_path: Path, photo: Image.Image, expected: np.ndarray, suffix: str
) -> None:
    path = tmp_path / f"photo.{suffix}"
    photo.save(path)
    assert difference(load_pixels(path, SIZE, "squash"), expected) < 1  # reducing in two steps costs a little


@pytest.mark.parametrize("suffix", ["jpg", "webp", "avif", "jp2"])
def test_lossy_formats_come_close(tmp_path: Path, photo: Image.Image, expected: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"photo.{suffix}"
    photo.save(path)
    assert difference(load_pixels(path, SIZE, "squash"), expected) < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, photo: Image.Image, expected: np.ndarray, orientation: int) -> None:
    undo = images._TRANSPOSE.get(orientation)
    stored = photo
    if undo is not None:  # the inverse of a quarter turn is the other one; all other moves undo themselves
        turns = {
            Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
            Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
        }
        stored = photo.transpose(turns.get(undo, undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in ("png", "tiff", "webp"):
        path = tmp_path / f"photo.{suffix}"
        stored.save(path, exif=exif, lossless=True)
        assert difference(load_pixels(path, SIZE, "squash"), expected) < 1, suffix


@pytest.mark.parametrize("suffix", ["png", "avif", "jxl"])
def test_exif_orientation_6_is_a_quarter_turn_clockwise(tmp_path: Path, suffix: str) -> None:
    """By hand: a camera held upright stores the scene's top on the left, and writes 6."""
    if suffix in formats._missing_extras:
        pytest.skip("needs its extra")
    stored = Image.new("RGB", (80, 40), "blue")
    stored.paste("red", (0, 0, 20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / f"turned.{suffix}", exif=exif.tobytes())
    pixels = load_pixels(tmp_path / f"turned.{suffix}", 8, "squash").astype(int)
    assert np.abs(pixels[0, 4] - [255, 0, 0]).max() < 9
    assert np.abs(pixels[7, 4] - [0, 0, 255]).max() < 9


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    for mode, colour in (("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))):
        Image.new(mode, (20, 20), colour).save(tmp_path / "clear.png")
        assert load_pixels(tmp_path / "clear.png", 8, "squash").min() == 255
    palette = Image.new("P", (20, 20), 3)
    palette.putpalette([0] * 768)
    palette.save(tmp_path / "palette.png", transparency=3)
    assert load_pixels(tmp_path / "palette.png", 8, "squash").min() == 255


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LAB"])
def test_other_modes_become_rgb(tmp_path: Path, photo: Image.Image, expected: np.ndarray, mode: str) -> None:
    path = tmp_path / f"photo.{'jpg' if mode == 'YCbCr' else 'tiff'}"
    if mode == "LAB":
        from PIL import ImageCms

        lab = ImageCms.createProfile("LAB")
        stored = ImageCms.profileToProfile(photo, ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
        assert stored is not None
    else:
        stored = photo.convert(mode)
    stored.save(path)
    pixels = load_pixels(path, SIZE, "squash")
    assert pixels.shape == (SIZE, SIZE, 3)
    grey = expected @ [0.299, 0.587, 0.114]
    assert difference(pixels @ [0.299, 0.587, 0.114], grey) < 8


def test_16_bit_grey_keeps_its_shades(tmp_path: Path, photo: Image.Image) -> None:
    """Pillow's own conversion would cut all but the darkest to white."""
    grey = np.asarray(photo.convert("L"))
    for suffix in ("png", "tiff"):
        path = tmp_path / f"deep.{suffix}"
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
        Image.fromarray(grey).save(tmp_path / "flat.png")
        deep = load_pixels(path, SIZE, "squash")
        assert difference(deep, load_pixels(tmp_path / "flat.png", SIZE, "squash")) < 1


def test_float_and_32_bit_images_are_stretched_to_8_bits(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(ramp * 1000).save(tmp_path / "float.tiff")
    pixels = load_pixels(tmp_path / "float.tiff", 8, "squash")
    assert pixels[0, 0, 0] == 0
    assert pixels[7, 7, 0] == 255
    Image.fromarray((ramp * 1e6).astype(np.int32)).save(tmp_path / "int.tiff")
    assert np.abs(load_pixels(tmp_path / "int.tiff", 8, "squash").astype(int) - pixels).max() <= 1


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    for suffix in ("gif", "webp", "png"):
        path = tmp_path / f"film.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
        assert load_pixels(path, 4, "squash")[0, 0].tolist() == [255, 0, 0]


def test_a_large_jpeg_is_decoded_small(tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pixel cap below the photo's own size is not reached, because the decoder halves it first."""
    large = photo.resize((1804, 1200))
    large.save(tmp_path / "large.jpg", quality=95)
    monkeypatch.setattr(images, "MAX_PIXELS", 1804 * 1200 // 2)
    pixels = load_pixels(tmp_path / "large.jpg", 224, "squash")
    assert difference(pixels, np.asarray(large.resize((224, 224), Image.Resampling.BICUBIC))) < 4


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(bomb)
    assert bomb.stat().st_size < 100_000
    with pytest.raises(UnreadableImageError, match="more than the 250 megapixels"):
        load_pixels(bomb, SIZE, "squash")


def test_crop_takes_the_middle_and_squash_takes_all(tmp_path: Path) -> None:
    wide = Image.new("RGB", (60, 20), "red")
    wide.paste("blue", (20, 0, 40, 20))
    wide.save(tmp_path / "wide.png")
    assert (load_pixels(tmp_path / "wide.png", 8, "crop")[:, 1:-1] == [0, 0, 255]).all()  # edges blend a little
    assert load_pixels(tmp_path / "wide.png", 8, "squash")[4, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tiff", "gif"])
def test_truncated_files_are_refused_with_a_reason(tmp_path: Path, photo: Image.Image, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    photo.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=r"\w"):
        load_pixels(path, SIZE, "squash")


def test_damaged_files_never_raise_anything_else(tmp_path: Path, photo: Image.Image) -> None:
    rng = np.random.default_rng(0)
    for suffix in ("jpg", "png", "gif", "tiff", "webp", "bmp"):
        path = tmp_path / f"damaged.{suffix}"
        photo.resize((90, 60)).save(path)
        whole = path.read_bytes()
        for _ in range(40):
            damaged = bytearray(whole)
            for position in rng.integers(0, min(len(whole), 400), 4):
                damaged[position] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                assert load_pixels(path, 16, "squash").shape == (16, 16, 3)
            except UnreadableImageError as error:
                assert str(error)  # noqa: PT017 - both outcomes are right, anything else is not


def test_what_is_not_an_image_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("buy milk")
    (tmp_path / "empty.png").touch()
    for name in ("notes.jpg", "empty.png"):
        with pytest.raises(UnreadableImageError, match="not an image"):
            load_pixels(tmp_path / name, SIZE, "squash")
    with pytest.raises(FileNotFoundError):
        load_pixels(tmp_path / "gone.jpg", SIZE, "squash")


def test_content_decides_the_format_whatever_the_name(
    tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No extra is named for what needs none."""
    monkeypatch.setattr(formats, "_missing_extras", {"heic", "jxl", "raw"})
    for name, format_ in (("a.HEIC", "JPEG"), ("b.NEF", "JPEG"), ("c.dng", "PNG"), ("d.jxl", "WEBP"), ("e.jpg", "GIF")):
        photo.save(tmp_path / name, format_)
        assert load_pixels(tmp_path / name, SIZE, "squash").std() > 20
    (tmp_path / "words.heic").write_text("buy milk")
    with pytest.raises(UnreadableImageError, match="not an image"):
        load_pixels(tmp_path / "words.heic", SIZE, "squash")


@pytest.mark.parametrize("format_", ["heic", "jxl"])
def test_formats_of_the_extras_are_known_under_other_names(tmp_path: Path, photo: Image.Image, format_: str) -> None:
    if format_ in formats._missing_extras:
        pytest.skip("needs its extra")
    photo.save(tmp_path / f"photo.{format_}")
    (tmp_path / f"photo.{format_}").rename(tmp_path / "photo.jpg")
    assert load_pixels(tmp_path / "photo.jpg", SIZE, "squash").std() > 20


def test_documents_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would start Ghostscript for PostScript, whatever its name."""
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    lines = "%!PS-Adobe-3.0 EPSF-3.0", "%%BoundingBox: 0 0 9 9", "%%EndComments", "showpage", "%%EOF", ""
    (tmp_path / "holiday.jpg").write_text("\n".join(lines))
    with pytest.raises(UnreadableImageError, match="not an image"):
        load_pixels(tmp_path / "holiday.jpg", SIZE, "squash")


def test_a_progressive_jpeg_is_bounded_by_all_of_its_pixels(
    tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its decoder keeps them all, however small the picture that is asked for."""
    photo.save(tmp_path / "plain.jpg")
    photo.save(tmp_path / "progressive.jpg", progressive=True)
    monkeypatch.setattr(images, "MAX_PIXELS", photo.width * photo.height - 1)
    load_pixels(tmp_path / "plain.jpg", SIZE, "squash")
    with pytest.raises(UnreadableImageError, match="pixels, more than"):
        load_pixels(tmp_path / "progressive.jpg", SIZE, "squash")


def test_slow_formats_are_bounded_by_fewer_pixels(
    tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A QOI of 250 megapixels, which may have a few kilobytes, would take minutes."""
    photo.save(tmp_path / "photo.qoi")
    photo.save(tmp_path / "photo.bmp")
    monkeypatch.setattr(images, "MAX_SLOW_PIXELS", photo.width * photo.height)
    load_pixels(tmp_path / "photo.qoi", SIZE, "squash")
    monkeypatch.setattr(images, "MAX_SLOW_PIXELS", photo.width * photo.height - 1)
    load_pixels(tmp_path / "photo.bmp", SIZE, "squash")
    with pytest.raises(UnreadableImageError, match="megapixels allowed for QOI"):
        load_pixels(tmp_path / "photo.qoi", SIZE, "squash")


def test_a_jpeg_of_very_many_scans_is_refused(tmp_path: Path, photo: Image.Image) -> None:
    """But not one with a film behind it, which looks as if it held scans."""
    photo.save(tmp_path / "photo.jpg", progressive=True)
    content = (tmp_path / "photo.jpg").read_bytes()
    last = content.rindex(b"\xff\xda")
    (tmp_path / "scans.jpg").write_bytes(content[:last] + content[last:-2] * 300 + content[-2:])
    with pytest.raises(UnreadableImageError, match="scans"):
        load_pixels(tmp_path / "scans.jpg", SIZE, "squash")
    (tmp_path / "film.jpg").write_bytes(content + b"\xff\xda\0" * 300)
    load_pixels(tmp_path / "film.jpg", SIZE, "squash")


def test_what_the_machine_has_no_memory_for_may_be_read_elsewhere(
    tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo.save(tmp_path / "photo.png")
    monkeypatch.setattr(images, "machine_memory", lambda: 500_000)
    with pytest.raises(OSError, match="not enough memory"):
        load_pixels(tmp_path / "photo.png", SIZE, "squash")


def test_pictures_within_others_are_bounded_too(tmp_path: Path) -> None:
    """An icon of 16 pixels may hold a PNG of 400 megapixels."""
    png = BytesIO()
    Image.new("1", (20_000, 20_000)).save(png, "PNG")
    content = png.getvalue()
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(content), 22)
    (tmp_path / "bomb.ico").write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + content)
    header = b"icns" + struct.pack(">I", 16 + len(content)) + b"ic07" + struct.pack(">I", 8 + len(content))
    (tmp_path / "bomb.icns").write_bytes(header + content)
    for name in ("bomb.ico", "bomb.icns"):
        with pytest.raises(UnreadableImageError, match="more than the 250 megapixels"):
            load_pixels(tmp_path / name, SIZE, "squash")


@pytest.mark.parametrize("size", [(8, 8), (64, 40), (300, 200), (7, 300), (451, 300), (900, 7), (2000, 1000)])
def test_the_size_of_a_jpeg_xl_is_known_before_it_is_decoded(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "jxl" in formats._missing_extras:
        pytest.skip("needs its extra")
    path = tmp_path / "photo.jxl"
    Image.new("RGB", size, "red").save(path)
    assert jxl.size_of(formats.first_bytes(path)) == size
    monkeypatch.setattr(images, "MAX_PIXELS", size[0] * size[1] - 1)
    with pytest.raises(UnreadableImageError, match=f"{size[0]} x {size[1]} pixels"):
        load_pixels(path, 8, "squash")


def needs(extra: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(extra in formats._missing_extras, reason=f"needs the extra {extra}")


@pytest.mark.parametrize(
    ("name", "content", "extra"),
    [
        ("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
        ("photo.JXL", b"\xff\x0a", "jxl"),
        ("camera.NEF", b"MM\0*", "raw"),
        ("camera.dng", b"II*\0", "raw"),
    ],
)
def test_a_format_without_its_extra_names_the_extra(tmp_path: Path, name: str, content: bytes, extra: str) -> None:
    """In a Python that finds none of the extras' libraries."""
    (tmp_path / name).write_bytes(content + bytes(64))
    program = f"""if True:
        import sys
        for library in ("pillow_heif", "pillow_jxl", "rawpy"):
            sys.modules[library] = None
        from hashcli.hashmodel.formats import MissingExtraError
        from hashcli.hashmodel.images import load_pixels
        try:
            load_pixels({str(tmp_path / name)!r}, 8, "squash")
        except MissingExtraError as error:
            print(error)
    """
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed == f"{extra.upper()} needs an extra. In a checkout of hashcli: pip install '.[{extra}]'\n"


@pytest.mark.parametrize("name", ["photo.heic", "photo.jxl"])
def test_formats_of_the_extras_come_close(tmp_path: Path, photo: Image.Image, expected: np.ndarray, name: str) -> None:
    if Path(name).suffix[1:] in formats._missing_extras:
        pytest.skip("needs its extra")
    photo.save(tmp_path / name)
    assert difference(load_pixels(tmp_path / name, SIZE, "squash"), expected) < 6
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:2000])
    with pytest.raises(UnreadableImageError, match=r"\w"):
        load_pixels(tmp_path / name, SIZE, "squash")


@needs("raw")
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_preview_in_a_raw_file_is_taken_upright(tmp_path: Path, photo: Image.Image, orientation: int) -> None:
    turned = photo if orientation == 1 else photo.transpose(images._TRANSPOSE[orientation])
    expected = np.asarray(turned.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    write_dng(tmp_path / "camera.dng", Image.new("RGB", (900, 600), "red"), photo.resize((902, 600)), orientation)
    assert difference(load_pixels(tmp_path / "camera.dng", SIZE, "squash"), expected) < 6
    with images.opened(tmp_path / "camera.dng") as image:
        assert image.format == "JPEG"
        assert image.getexif().get_ifd(0x8769)[0x9003] == "2021:07:04 12:30:00"


@needs("raw")
@pytest.mark.parametrize("preview", [None, (90, 60)])
def test_a_raw_file_without_a_preview_worth_it_is_developed(
    tmp_path: Path, photo: Image.Image, preview: tuple[int, int] | None
) -> None:
    """The colours are a converter's own; where it is light and dark is the photo's."""
    small = Image.new("RGB", preview, "red") if preview else None
    write_dng(tmp_path / "camera.DNG", photo.resize((1200, 800)), small, orientation=6)
    with images.opened(tmp_path / "camera.DNG") as image:
        assert image.size == (400, 600)
        assert image.getexif().get_ifd(0x8769)[0x9003] == "2021:07:04 12:30:00"
    developed = load_pixels(tmp_path / "camera.DNG", SIZE, "squash").mean(axis=2)
    upright = photo.rotate(-90, expand=True).resize((SIZE, SIZE)).convert("L")
    assert np.corrcoef(developed.ravel(), np.asarray(upright).ravel())[0, 1] > 0.9


@needs("raw")
def test_damaged_raw_files_are_refused(tmp_path: Path, photo: Image.Image) -> None:
    """TIFFs named as RAW files among them: what Pillow would show of a RAW file is a stamp."""
    write_dng(tmp_path / "whole.dng", photo, None)
    (tmp_path / "cut.dng").write_bytes((tmp_path / "whole.dng").read_bytes()[:2000])
    (tmp_path / "words.cr2").write_text("buy milk")
    (tmp_path / "empty.arw").touch()
    photo.save(tmp_path / "tiff.nef", "TIFF")
    for name in ("cut.dng", "words.cr2", "empty.arw", "tiff.nef"):
        with pytest.raises(UnreadableImageError, match="not a camera RAW file"):
            load_pixels(tmp_path / name, SIZE, "squash")
    with pytest.raises(FileNotFoundError):
        load_pixels(tmp_path / "gone.nef", SIZE, "squash")
