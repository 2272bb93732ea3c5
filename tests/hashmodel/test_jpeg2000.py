"""JPEG 2000 files of more pixels than are decoded at once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashcli.hashmodel import jpeg2000
from hashcli.hashmodel.images import load_pixels, load_thumbnail
from tests.conftest import SKIMAGE

SIZE = 64


@pytest.fixture
def photo() -> Image.Image:
    return Image.open(SKIMAGE / "chelsea.png").convert("RGB")


@pytest.mark.parametrize("suffix", ["jp2", "j2k"])
@pytest.mark.parametrize("width", [451, 450, 449])  # which are not halved without a rest
def test_a_large_file_is_decoded_smaller(
    tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch, suffix: str, width: int
) -> None:
    photo.resize((width, 300)).save(tmp_path / f"photo.{suffix}")
    whole = load_pixels(tmp_path / f"photo.{suffix}", SIZE, "squash").astype(int)
    monkeypatch.setattr(jpeg2000, "_MOST_PIXELS", 10_000)
    assert load_thumbnail(tmp_path / f"photo.{suffix}", 1000).size == (113, 75)
    smaller = load_pixels(tmp_path / f"photo.{suffix}", SIZE, "squash").astype(int)
    assert np.abs(smaller - whole).mean() < 8


def test_no_smaller_than_its_levels_allow(tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg2000, "_MOST_PIXELS", 10)
    photo.save(tmp_path / "photo.jp2", num_resolutions=2)
    assert load_thumbnail(tmp_path / "photo.jp2", 1000).size == (226, 150)
    photo.save(tmp_path / "photo.jp2", num_resolutions=1)
    assert load_thumbnail(tmp_path / "photo.jp2", 1000).size == (451, 300)
