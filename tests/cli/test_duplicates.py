"""hashcli duplicates, through the command on real files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from tests.conftest import PHOTOS, SKIMAGE, Run, json_rows

CATS = ["chelsea.png", "bright.jpg", "cropped.jpg", "small.jpg"]  # the largest picture and file first


@pytest.fixture
def album(hashcli: Run, photos: Path, tmp_path: Path) -> Path:
    """The photos with four versions of the cat, three names and a copy of the coffee; indexed with lite-256 in `ix`."""
    cat = Image.open(photos / "chelsea.png").convert("RGB")
    width, height = cat.size
    cat.resize((width // 2, height // 2)).save(photos / "small.jpg", quality=80)
    ImageEnhance.Brightness(cat).enhance(1.2).save(photos / "bright.jpg", quality=90)
    cat.crop((5, 4, width - 5, height - 4)).save(photos / "trip" / "cropped.jpg", quality=90)
    shutil.copy(SKIMAGE / "motorcycle_right.png", photos)  # the same scene, and another photo
    shutil.copyfile(photos / "coffee.png", photos / "a copy.png")
    os.utime(photos / "coffee.png", (1e9, 1e9))
    os.link(photos / "coffee.png", photos / "b link.png")
    (photos / "c link.png").symlink_to("coffee.png")
    hashcli("index", photos, *photos.glob("? *.png"), "--index", tmp_path / "ix")
    return photos


def groups(hashcli: Run, *arguments: object, status: int = 0) -> list[list[str]]:
    """The names of the photos in each group."""
    rows = json_rows(hashcli("duplicates", "--index", "ix", "--json", *arguments, status=status))
    return [[Path(photo["path"]).name for photo in row["photos"]] for row in rows]


def test_copies_and_altered_copies_are_grouped_and_nothing_else(hashcli: Run, album: Path) -> None:
    assert groups(hashcli) == [["b link.png", "a copy.png"], CATS]
    assert groups(hashcli, "--exact") == [["b link.png", "a copy.png"]]
    assert groups(hashcli, "--max-distance", "0") == [["b link.png", "a copy.png"]]


def test_lines_for_pipes(hashcli: Run, album: Path) -> None:
    done = hashcli("duplicates", "--index", "ix")
    coffee, cats = done.stdout.split("\n\n")
    assert coffee.splitlines() == ["photos/b link.png", "photos/a copy.png"]
    assert [Path(line).name for line in cats.splitlines()] == CATS
    assert "same photo: 2; extras in them: 4" in done.stderr
    assert hashcli("duplicates", "--index", "ix").stdout == done.stdout


def test_json_tells_what_tells_them_apart(hashcli: Run, album: Path) -> None:
    coffee, cats = (row["photos"] for row in json_rows(hashcli("duplicates", "--index", "ix", "--json")))
    assert [photo["identical"] for photo in coffee] == [True, True]
    assert cats[0] == {
        "path": str(album / "chelsea.png"),
        "bytes": (album / "chelsea.png").stat().st_size,
        "width": 451,
        "height": 300,
        "distance": 0,
        "identical": True,
    }
    assert [(photo["width"], photo["height"]) for photo in cats[1:]] == [(451, 300), (441, 292), (225, 150)]
    assert all(0 < photo["distance"] <= 24 and not photo["identical"] for photo in cats[1:])


def test_extras_can_be_deleted_and_every_picture_is_still_there(hashcli: Run, album: Path, tmp_path: Path) -> None:
    extras = hashcli("duplicates", "--index", "ix", "--extras", "-0").stdout.split("\0")[:-1]
    assert [Path(path).name for path in extras] == ["a copy.png", *CATS[1:]]
    for path in extras:
        Path(path).unlink()
    left = {path.name for path in album.rglob("*.*")}
    assert left == set(PHOTOS) | {"motorcycle_right.png", "b link.png", "c link.png"}
    hashcli("index", "--index", "ix")
    done = hashcli("duplicates", "--index", "ix", "--extras", "-0")
    assert done.stdout == ""
    assert "No duplicates among" in done.stderr


def test_what_has_changed_since_it_was_indexed_is_left_out(hashcli: Run, album: Path) -> None:
    (album / "chelsea.png").unlink()
    shutil.copyfile(album / "coffee.png", album / "bright.jpg")
    state = (album / "a copy.png").stat()
    content = (album / "a copy.png").read_bytes()
    (album / "a copy.png").write_bytes(content[:-1] + b"?")  # another content of the same size and time
    os.utime(album / "a copy.png", ns=(state.st_atime_ns, state.st_mtime_ns))
    done = hashcli("duplicates", "--index", "ix", "--json")
    assert [[Path(photo["path"]).name for photo in row["photos"]] for row in json_rows(done)] == [CATS[2:]]
    assert "gone since they were indexed: 3" in done.stderr
    assert "hashcli index --index" in done.stderr


def test_only_in_some_folders(hashcli: Run, album: Path) -> None:
    shutil.copyfile(album / "trip" / "moon.png", album / "trip" / "full moon.png")
    hashcli("index", "--index", "ix")
    assert groups(hashcli, album / "trip") == [["moon.png", "full moon.png"]]
    assert groups(hashcli, "photos/trip/../trip/") == [["moon.png", "full moon.png"]]
    assert len(groups(hashcli)) == 3
    done = hashcli("duplicates", "--index", "ix", "photos/tirp", status=1)
    assert "Did you mean photos/trip?" in done.stderr


def test_a_photo_that_cannot_be_read_by_now_is_no_duplicate(hashcli: Run, album: Path) -> None:
    """Its copies still are of each other."""
    state = (album / "small.jpg").stat()
    (album / "small.jpg").write_bytes(bytes(state.st_size))
    os.utime(album / "small.jpg", ns=(state.st_atime_ns, state.st_mtime_ns))
    done = hashcli("duplicates", "--index", "ix", "--json")
    assert [Path(photo["path"]).name for photo in json_rows(done)[1]["photos"]] == CATS[:3]
    assert "small.jpg could not be read" in done.stderr


def test_wrong_use_is_told(hashcli: Run, album: Path, tmp_path: Path) -> None:
    assert "--extras" in hashcli("duplicates", "-0", "--index", "ix", status=2).stderr
    assert "choose one" in hashcli("duplicates", "--json", "--extras", "--index", "ix", status=2).stderr
    assert "There is no index" in hashcli("duplicates", "--index", "none", status=1).stderr
    (tmp_path / "empty").mkdir()
    hashcli("index", "empty", "--index", "empty-ix")
    assert "holds no photos" in hashcli("duplicates", "--index", "empty-ix", status=1).stderr


def test_names_of_any_bytes_come_out_as_they_are(
    hashcli: Run, photos: Path, tiny_model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    for name in (b"line\nend.png", b"not utf8 \xff.png"):
        shutil.copyfile(photos / "coins.png", os.path.join(os.fsencode(photos), name))
    hashcli("index", photos, "--index", "ix", "--model", tiny_model)
    command = [sys.executable, "-m", "hashcli", "duplicates", "--exact", "--index", "ix", "--extras", "-0"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True).stdout
    assert sorted(found.split(b"\0")[:-1]) == [
        os.fsencode(photos) + b"/line\nend.png",
        os.fsencode(photos) + b"/not utf8 \xff.png",
    ]
