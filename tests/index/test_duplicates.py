"""Near codes against a plain count of bits, and the look at two pictures."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from hashcli.index.code_index import near_rows
from hashcli.index.duplicates import default_distance, same_picture, thumbnail
from tests.conftest import PHOTOS, SKIMAGE


@pytest.mark.parametrize("bits", [32, 64, 256])
def test_near_rows_are_those_a_count_of_bits_finds(bits: int) -> None:
    """Of codes drawn near each other, equal ones among them, and more than one block of them."""
    rng = np.random.default_rng(bits)
    centres = rng.integers(0, 2, (40, bits))
    rows = centres[rng.integers(0, 40, 300)] ^ (rng.random((300, bits)) < 0.04)
    codes = np.packbits(rows, axis=1, bitorder="little")
    distances = (rows[:, None] != rows[None]).sum(-1)
    found = list(near_rows(codes, bits // 16))
    assert len(found) == len(codes)
    assert sum(len(others) for others, _ in found) > 300
    for row, (others, away) in enumerate(found):
        expected = np.flatnonzero((distances[row] <= bits // 16) & (np.arange(len(codes)) != row))
        np.testing.assert_array_equal(np.sort(others), expected)
        np.testing.assert_array_equal(away, distances[row, others])


def test_no_codes_are_near_nothing() -> None:
    assert list(near_rows(np.empty((0, 8), np.uint8), 3)) == []


def cells_of(path: str) -> np.ndarray:
    cells = thumbnail(path)
    assert cells is not None
    return cells


@pytest.fixture(scope="module")
def thumbnails(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return {name: cells_of(str(SKIMAGE / name)) for name in PHOTOS}


def test_different_photos_are_notsame_picture(thumbnails: dict[str, np.ndarray]) -> None:
    """Not even the left and the right picture of a stereo pair."""
    every = np.stack([*thumbnails.values(), cells_of(str(SKIMAGE / "motorcycle_right.png"))])
    for number, look in enumerate(every):
        assert np.flatnonzero(same_picture(look, every)).tolist() == [number]


def test_altered_copies_are_alike_and_edited_ones_are_not(thumbnails: dict[str, np.ndarray], tmp_path: object) -> None:
    for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png"):
        photo = Image.open(SKIMAGE / name).convert("RGB")
        width, height = photo.size
        patched = photo.copy()
        patched.paste(photo.crop((0, 0, width // 5, height // 5)), (width // 2, height // 2))
        same = {
            "smaller": photo.resize((width // 3, height // 3)),
            "brighter": ImageEnhance.Brightness(photo).enhance(1.2),
            "cropped": photo.crop((width // 100, height // 100, width - width // 100, height - height // 100)),
        }
        other = {"mirrored": photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "patched": patched}
        for wanted, pictures in ((True, same), (False, other)):
            for what, picture in pictures.items():
                path = f"{tmp_path}/{what}.png"
                picture.save(path)
                assert bool(same_picture(thumbnails[name], cells_of(path)[None])[0]) is wanted, (name, what)


def test_flat_pictures_are_told_apart_by_their_colour() -> None:
    flat = np.zeros((4, 16, 16, 3), np.uint8)
    flat[1] = 255
    flat[2] = [200, 0, 0]
    flat[3] = 3  # noise
    assert same_picture(flat[0], flat).tolist() == [True, False, False, True]


def test_the_default_distance_goes_with_the_length_of_the_codes() -> None:
    assert [default_distance(bits) for bits in (16, 64, 256, 1024)] == [1, 6, 24, 96]
