"""Whether two pictures are the same, on photos and on altered copies of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from hashcli.index import near_codes
from hashcli.index.duplicates import look_at
from hashcli.index.likeness import Look, alike_by_keys, keys_of, look_of, same_picture
from tests.conftest import PHOTOS, SKIMAGE
from tests.hashmodel.test_deep_colours import save_png


def look(path: str | Path) -> Look:
    found = look_at(str(path))
    assert found is not None
    return found[0]


def are_candidates(first: Look, second: Look) -> bool:
    ours, theirs = keys_of(first), keys_of(second)
    assert ours is not None
    assert theirs is not None
    return bool(alike_by_keys(np.stack([ours, theirs])).tolist())


@pytest.fixture(scope="module")
def looks() -> dict[str, Look]:
    return {name: look(SKIMAGE / name) for name in PHOTOS}


def test_different_photos_are_not_the_same_picture(looks: dict[str, Look]) -> None:
    """Not even the left and the right picture of a stereo pair."""
    every = [*looks.values(), look(SKIMAGE / "motorcycle_right.png")]
    for number, first in enumerate(every):
        assert [other for other, second in enumerate(every) if same_picture(first, second)] == [number]


@pytest.mark.parametrize("name", ["astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png"])
def test_altered_copies_are_the_same_and_edited_ones_are_not(looks: dict[str, Look], tmp_path: Path, name: str) -> None:
    photo = Image.open(SKIMAGE / name).convert("RGB")
    width, height = photo.size
    patched = photo.copy()
    patched.paste(photo.crop((0, 0, width // 5, height // 5)), (width // 2, height // 2))
    same = {
        "smaller": photo.resize((width // 3, height // 3)),
        "brighter": ImageEnhance.Brightness(photo).enhance(1.2),
        "cropped": photo.crop((width // 40, height // 40, width - width // 40, height - height // 40)),
        "cropped at one side": photo.crop((width // 20, 0, width, height)),
        "turned": photo.rotate(-1, Image.Resampling.BICUBIC),
        "grey": photo.convert("L"),
    }
    other = {
        "mirrored": photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "negative": Image.eval(photo, lambda value: 255 - value),
        "patched": patched,
    }
    for wanted, pictures in ((True, same), (False, other)):
        for what, picture in pictures.items():
            picture.save(tmp_path / "picture.bmp")
            altered = look(tmp_path / "picture.bmp")
            assert same_picture(looks[name], altered) is wanted, what
            assert not wanted or are_candidates(looks[name], altered), what


@pytest.mark.parametrize(
    "edges",
    [(1, 0, 20, 20), (0, 1, 20, 20), (0, 0, 19, 20), (0, 0, 20, 19), (1, 1, 19, 19), (1, 1, 20, 20), (0, 0, 19, 19)],
)
def test_a_photo_without_a_twentieth_at_some_sides_is_the_same(tmp_path: Path, edges: tuple[int, ...]) -> None:
    """Of a man before a wide sky, which gives an alignment little to go by."""
    photo = Image.open(SKIMAGE / "camera.png").convert("RGB")
    left, top, right, bottom = (edge * side // 20 for edge, side in zip(edges, photo.size * 2, strict=True))
    photo.crop((left, top, right, bottom)).save(tmp_path / "cropped.bmp")
    whole, cropped = look(SKIMAGE / "camera.png"), look(tmp_path / "cropped.bmp")
    assert same_picture(whole, cropped)
    assert same_picture(cropped, whole)
    assert are_candidates(whole, cropped)


@pytest.mark.parametrize("bits", [10, 12])
def test_a_photo_of_10_or_12_bits_in_16_looks_like_that_of_8(tmp_path: Path, bits: int) -> None:
    photo = np.asarray(Image.open(SKIMAGE / "coffee.png").convert("RGB")).astype(np.uint16)
    save_png(tmp_path / "deep.png", photo << (bits - 8))
    plain, deep = look(SKIMAGE / "coffee.png"), look(tmp_path / "deep.png")
    assert same_picture(plain, deep)
    assert are_candidates(plain, deep)


def test_keys_of_many_pictures_are_not_compared_with_every_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_codes, "_EVERY_TWO", 100)
    monkeypatch.delattr(near_codes, "_by_comparing_all")
    keys = np.random.default_rng(0).integers(0, 256, (2000, 9, 16), dtype=np.uint8)
    keys[1000:] = keys[:1000]
    keys[1000:, :, :2] ^= 0b11000011  # 8 bits of 128
    pairs = alike_by_keys(keys).tolist()
    assert [number for number in range(1000) if [number, number + 1000] not in pairs] == []


def test_the_same_drawing_in_another_colour_is_another_picture() -> None:
    photo = np.asarray(Image.open(SKIMAGE / "coffee.png").convert("L").resize((96, 96)))
    red, blue = (np.zeros((96, 96, 3), np.uint8) + 120 for _ in range(2))
    red[..., 0], blue[..., 2] = photo, photo
    assert same_picture(look_of(red), look_of(red))
    assert not same_picture(look_of(red), look_of(blue))


def test_a_picture_that_shows_too_little_has_no_keys() -> None:
    assert keys_of(look_of(np.full((96, 96, 3), 200, np.uint8))) is None
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[::6] = 255  # lines of text look like this, whatever they say
    assert keys_of(look_of(stripes)) is None
    assert keys_of(look_of(np.repeat(np.arange(0, 192, 2, dtype=np.uint8), 288).reshape(96, 96, 3))) is None
