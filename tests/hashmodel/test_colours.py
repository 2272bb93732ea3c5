"""Colours of every profile and mode come out as sRGB."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from hashcli.hashmodel import icc
from hashcli.hashmodel.images import load_pixels, load_thumbnail
from tests.conftest import SKIMAGE

SIZE = 64


@pytest.fixture
def photo() -> Image.Image:
    return Image.open(SKIMAGE / "chelsea.png").convert("RGB")


@pytest.fixture
def expected(tmp_path: Path, photo: Image.Image) -> np.ndarray:
    photo.save(tmp_path / "srgb.png")
    return load_pixels(tmp_path / "srgb.png", SIZE, "squash").astype(int)


@pytest.fixture
def in_adobe_rgb(photo: Image.Image) -> Image.Image:
    """The photo in Adobe RGB (1998), by the matrices of its specification: through linear light, D65 to D65."""
    to_srgb = np.array([[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]])
    adobe = (linear_light(photo) @ np.linalg.inv(to_srgb).T).clip(0, 1) ** (256 / 563)
    return as_image(adobe)


def profile_of(image_profile: object) -> bytes:
    return ImageCms.ImageCmsProfile(image_profile).tobytes()  # type: ignore[arg-type]


def test_a_profile_is_followed(tmp_path: Path, in_adobe_rgb: Image.Image, expected: np.ndarray) -> None:
    for suffix in ("png", "tiff", "webp"):
        path = tmp_path / f"adobe.{suffix}"
        in_adobe_rgb.save(path, icc_profile=icc.adobe_rgb(), lossless=True)
        assert np.abs(load_pixels(path, SIZE, "squash") - expected).mean() < 1
        assert np.abs(np.asarray(load_thumbnail(path, 451).resize((SIZE, SIZE))) - expected).mean() < 2
    in_adobe_rgb.save(tmp_path / "bare.png")
    assert np.abs(load_pixels(tmp_path / "bare.png", SIZE, "squash") - expected).mean() > 4


def test_adobe_rgb_that_only_exif_names(tmp_path: Path, in_adobe_rgb: Image.Image, expected: np.ndarray) -> None:
    """As cameras write it."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    in_adobe_rgb.save(tmp_path / "camera.jpg", quality=97, subsampling=0, exif=exif)
    assert np.abs(load_pixels(tmp_path / "camera.jpg", SIZE, "squash") - expected).mean() < 2


def test_transparency_and_palettes_keep_their_profile(
    tmp_path: Path, in_adobe_rgb: Image.Image, expected: np.ndarray
) -> None:
    profile = icc.adobe_rgb()
    clear = in_adobe_rgb.copy()
    clear.putalpha(255)
    clear.save(tmp_path / "alpha.png", icc_profile=profile)
    in_adobe_rgb.quantize(256).save(tmp_path / "palette.png", icc_profile=profile)
    assert np.abs(load_pixels(tmp_path / "alpha.png", SIZE, "squash") - expected).mean() < 1
    assert np.abs(load_pixels(tmp_path / "palette.png", SIZE, "squash") - expected).mean() < 6


def test_profiles_that_are_srgb_damaged_or_for_other_modes_change_nothing(
    tmp_path: Path, photo: Image.Image, expected: np.ndarray
) -> None:
    adobe = icc.adobe_rgb()
    grey = np.asarray(photo.convert("L").convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)).astype(int)
    for name, profile in {
        "srgb": profile_of(ImageCms.createProfile("sRGB")),
        "cut": adobe[:200],
        "noise": bytes(range(256)) * 9,
        "lab": profile_of(ImageCms.createProfile("LAB")),
        "huge": adobe + bytes(5 << 20),
    }.items():
        photo.save(tmp_path / f"{name}.tiff", icc_profile=profile)
        assert (load_pixels(tmp_path / f"{name}.tiff", SIZE, "squash") == expected).all(), name
        photo.convert("L").save(tmp_path / "grey.tiff", icc_profile=profile)
        assert np.abs(load_pixels(tmp_path / "grey.tiff", SIZE, "squash") - grey).mean() < 1, name
    for mode in ("CMYK", "LAB"):  # Adobe RGB says nothing about these
        srgb = ImageCms.createProfile("sRGB")
        lab = ImageCms.profileToProfile(photo, srgb, ImageCms.createProfile("LAB"), outputMode="LAB")
        stored = lab if mode == "LAB" else photo.convert(mode)
        assert stored is not None
        stored.save(tmp_path / "bare.tiff")
        stored.save(tmp_path / "adobe.tiff", icc_profile=adobe)
        bare = load_pixels(tmp_path / "bare.tiff", SIZE, "squash")
        assert (load_pixels(tmp_path / "adobe.tiff", SIZE, "squash") == bare).all(), mode


def with_chunks(path: Path, image: Image.Image, chunks: dict[str, bytes]) -> Path:
    """A PNG with chunks before its picture."""
    image.save(path)
    content = path.read_bytes()
    between = b"".join(
        struct.pack(">I", len(data)) + name.encode() + data + struct.pack(">I", zlib.crc32(name.encode() + data))
        for name, data in chunks.items()
    )
    path.write_bytes(content[:33] + between + content[33:])
    return path


LINEAR, USUAL = struct.pack(">I", 100_000), struct.pack(">I", 45_455)
ADOBE_RGB = struct.pack(">8I", *(round(n * 1e5) for n in (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)))


def linear_light(image: Image.Image) -> np.ndarray:
    values = np.asarray(image) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def as_image(values: np.ndarray) -> Image.Image:
    return Image.fromarray((values * 255).round().astype(np.uint8))


def test_what_a_png_says_of_its_colours(
    tmp_path: Path, photo: Image.Image, in_adobe_rgb: Image.Image, expected: np.ndarray
) -> None:
    linear = as_image(linear_light(photo))
    for image, chunks in (
        (linear, {"gAMA": LINEAR}),
        (linear.quantize(256), {"gAMA": LINEAR}),
        (linear, {"cICP": b"\x01\x08\0\x01", "gAMA": USUAL}),
        (in_adobe_rgb, {"gAMA": USUAL, "cHRM": ADOBE_RGB}),
        (in_adobe_rgb, {"cHRM": ADOBE_RGB}),
    ):
        path = with_chunks(tmp_path / "photo.png", image, chunks)
        assert np.abs(load_pixels(path, SIZE, "squash") - expected).mean() < 4, chunks
        path.write_bytes(path.read_bytes()[:-20])  # decoded in another way
        assert np.abs(load_pixels(path, SIZE, "squash") - expected).mean() < 4, chunks


def test_what_a_png_says_of_the_shades_of_grey(tmp_path: Path, photo: Image.Image) -> None:
    grey = photo.convert("L")
    grey.save(tmp_path / "grey.png")
    expected = load_pixels(tmp_path / "grey.png", SIZE, "squash").astype(int)
    path = with_chunks(tmp_path / "photo.png", as_image(linear_light(grey)), {"gAMA": LINEAR})
    assert np.abs(load_pixels(path, SIZE, "squash") - expected).mean() < 4


@pytest.mark.parametrize(
    "chunks",
    [
        {"gAMA": USUAL},
        {"sRGB": b"\0", "gAMA": LINEAR},
        {"cICP": b"\x01\x0d\0\x01", "gAMA": LINEAR},
        {"cICP": b"\x01\x01\0\x01"},  # as ffmpeg writes it
        {"gAMA": bytes(4)},
        {"gAMA": USUAL, "cHRM": bytes(32)},
        {"cHRM": b"\0\0\0\1" * 8},
        {"cICP": b"\xff\xff\0\x01"},
        {"cICP": b"\x0c\x0d\0\0"},
    ],
)
def test_what_a_png_says_of_srgb_or_wrongly_changes_nothing(
    tmp_path: Path, photo: Image.Image, expected: np.ndarray, chunks: dict[str, bytes]
) -> None:
    assert (load_pixels(with_chunks(tmp_path / "photo.png", photo, chunks), SIZE, "squash") == expected).all()


@pytest.mark.parametrize("transfer", [16, 18])
def test_high_dynamic_range_in_a_png(tmp_path: Path, photo: Image.Image, expected: np.ndarray, transfer: int) -> None:
    """Up to the white of paper, the photo looks as it would in sRGB."""
    linear = linear_light(photo)
    if transfer == 16:
        power = (linear * 203 / 10_000) ** 0.1593017578125
        coded = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    else:
        scene = linear * 0.265
        bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        coded = np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
    path = with_chunks(tmp_path / "photo.png", as_image(coded), {"cICP": bytes((1, transfer, 0, 1))})
    assert np.abs(load_pixels(path, SIZE, "squash") - expected).mean() < 4


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_sensors_of_fewer_bits_than_16_use_all_shades(tmp_path: Path, photo: Image.Image, bits: int) -> None:
    shades = np.asarray(photo.convert("L"))
    Image.fromarray(shades).save(tmp_path / "flat.png")
    expected = load_pixels(tmp_path / "flat.png", SIZE, "squash").astype(int)
    for suffix in ("png", "tiff"):
        path = tmp_path / f"deep.{suffix}"
        Image.fromarray(shades.astype(np.uint16) << (bits - 8)).save(path)
        assert np.abs(load_pixels(path, SIZE, "squash") - expected).max() <= 2


def test_floats_between_0_and_1_are_shades(tmp_path: Path, photo: Image.Image) -> None:
    shades = np.asarray(photo.convert("L"))
    Image.fromarray(shades).save(tmp_path / "flat.png")
    floats = (shades / 255).astype(np.float32)
    floats[0, :3] = np.nan
    Image.fromarray(floats).save(tmp_path / "float.tiff")
    expected = load_pixels(tmp_path / "flat.png", SIZE, "squash").astype(int)
    assert np.abs(load_pixels(tmp_path / "float.tiff", SIZE, "squash") - expected)[2:].max() <= 2


def test_a_white_drawing_on_transparency_can_be_seen(tmp_path: Path) -> None:
    for ink, background in (("white", 0), ("black", 255), ("blue", 255), ("yellow", 0)):
        for mode in ("RGBA", "LA", "P"):
            drawing = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
            drawing.paste(ink, (20, 20, 40, 40))
            if mode == "LA" and ink in ("blue", "yellow"):
                continue
            drawing.convert(mode).save(tmp_path / "drawing.png")
            pixels = load_pixels(tmp_path / "drawing.png", 60, "squash")
            assert (pixels[0, 0] == background).all(), (ink, mode)
            assert np.abs(pixels[30, 30].astype(int) - background).max() > 100
