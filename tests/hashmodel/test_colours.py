"""Colours of every profile and mode come out as sRGB."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from hashcli.hashmodel import colours
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
    values = np.asarray(photo) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_srgb = np.array([[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]])
    adobe = (linear @ np.linalg.inv(to_srgb).T).clip(0, 1) ** (256 / 563)
    return Image.fromarray((adobe * 255).round().astype(np.uint8))


def profile_of(image_profile: object) -> bytes:
    return ImageCms.ImageCmsProfile(image_profile).tobytes()  # type: ignore[arg-type]


def test_a_profile_is_followed(tmp_path: Path, in_adobe_rgb: Image.Image, expected: np.ndarray) -> None:
    for suffix in ("png", "tiff", "webp"):
        path = tmp_path / f"adobe.{suffix}"
        in_adobe_rgb.save(path, icc_profile=colours._adobe_rgb(), lossless=True)
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
    profile = colours._adobe_rgb()
    clear = in_adobe_rgb.copy()
    clear.putalpha(255)
    clear.save(tmp_path / "alpha.png", icc_profile=profile)
    in_adobe_rgb.quantize(256).save(tmp_path / "palette.png", icc_profile=profile)
    assert np.abs(load_pixels(tmp_path / "alpha.png", SIZE, "squash") - expected).mean() < 1
    assert np.abs(load_pixels(tmp_path / "palette.png", SIZE, "squash") - expected).mean() < 6


def test_profiles_that_are_srgb_damaged_or_for_other_modes_change_nothing(
    tmp_path: Path, photo: Image.Image, expected: np.ndarray
) -> None:
    adobe = colours._adobe_rgb()
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
