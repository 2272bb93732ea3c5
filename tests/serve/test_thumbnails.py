"""Thumbnails and the folder that keeps them."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from hashcli.serve.thumbnails import Thumbnails
from tests.conftest import SKIMAGE


def test_they_are_upright_and_within_their_side(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    Image.open(SKIMAGE / "rocket.jpg").save(tmp_path / "turned.jpg", exif=exif.tobytes())
    content, _ = Thumbnails(None).of(str(tmp_path / "turned.jpg"), 320)
    with Image.open(io.BytesIO(content)) as thumbnail:
        assert thumbnail.height == 320
        assert thumbnail.width < 320


def test_a_photo_that_changes_gets_another(tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path / "kept")
    photo = tmp_path / "photo.png"
    Image.new("RGB", (400, 300), "red").save(photo)
    first = thumbnails.of(str(photo), 320)
    assert thumbnails.of(str(photo), 320) == first
    Image.new("RGB", (400, 300), "blue").save(photo)
    os.utime(photo, (1, 1))
    assert thumbnails.of(str(photo), 320)[1] != first[1]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "kept").iterdir()} == {0o600}
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700


def test_the_folder_stays_within_its_bound_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    photos = [tmp_path / f"{number}.png" for number in range(6)]
    for number, photo in enumerate(photos):
        Image.open(SKIMAGE / "coffee.png").rotate(number).save(photo)
    kept = tmp_path / "kept"
    first, name = Thumbnails(kept).of(str(photos[0]), 320)
    os.utime(kept / name, (1, 1))
    bounded = Thumbnails(kept, most_bytes=4 * len(first))
    for photo in photos[1:]:
        bounded.of(str(photo), 320)
    assert sum(path.stat().st_size for path in kept.iterdir()) <= 4 * len(first)
    assert not (kept / name).exists()
    assert (kept / bounded.of(str(photos[5]), 320)[1]).exists()


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    content, _ = Thumbnails(tmp_path / "file" / "kept").of(str(SKIMAGE / "coffee.png"), 320)
    assert content
    with pytest.raises(FileNotFoundError):
        Thumbnails(tmp_path).of(str(tmp_path / "gone.png"), 320)
