"""hashcli duplicates, through the command on real files."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from tests.conftest import PHOTOS, SKIMAGE, Run, json_rows
from tests.hashmodel.dng import write_dng

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
    extras = hashcli("duplicates", "--index", "ix", "--extras", "--edited", "-0").stdout.split("\0")[:-1]
    assert [Path(path).name for path in extras] == ["a copy.png", *CATS[1:]]
    for path in extras:
        Path(path).unlink()
    left = {path.name for path in album.rglob("*.*")}
    assert left == set(PHOTOS) | {"motorcycle_right.png", "b link.png", "c link.png"}
    hashcli("index", "--index", "ix")
    done = hashcli("duplicates", "--index", "ix", "--extras", "--edited", "-0")
    assert done.stdout == ""
    assert "No duplicates among" in done.stderr


def test_extras_are_copies_byte_for_byte_unless_edited_ones_are_asked_for(hashcli: Run, album: Path) -> None:
    done = hashcli("duplicates", "--index", "ix", "--extras")
    assert done.stdout.splitlines() == [str(album / "a copy.png")]
    assert "look before you delete" not in done.stderr


def test_pages_of_text_and_screenshots_are_no_extras(hashcli: Run, tmp_path: Path) -> None:
    """They look alike, which is said wherever they are shown as groups."""
    pictures = tmp_path / "scans"
    pictures.mkdir()
    words = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").split()
    for number in range(4):
        text = iter(words[number * 50 :] + words)
        page = Image.new("RGB", (620, 877), "white")
        chat = Image.new("RGB", (540, 960), (240, 240, 245))
        on_page, on_chat = ImageDraw.Draw(page), ImageDraw.Draw(chat)
        for y in range(75, 800, 19):
            on_page.text((65, y), " ".join(next(text) for _ in range(8))[:50], "black", ImageFont.load_default(13))
        for bubble in range(9):
            corner = 160 - bubble % 2 * 130, 100 + bubble * 90
            on_chat.rounded_rectangle((*corner, corner[0] + 350, corner[1] + 70), 10, (220, 248, 198))
            line = " ".join(next(text) for _ in range(5))[:34]
            on_chat.text((corner[0] + 10, corner[1] + 20), line, "black", ImageFont.load_default(17))
        page.save(pictures / f"page {number}.png")
        chat.save(pictures / f"chat {number}.png")
    hashcli("index", pictures, "--index", "ix")
    assert hashcli("duplicates", "--index", "ix", "--extras").stdout == ""
    shown = hashcli("duplicates", "--index", "ix")
    asked = hashcli("duplicates", "--index", "ix", "--extras", "--edited")
    assert shown.stdout
    assert asked.stdout
    for done in (shown, asked):
        assert "Pages of text and screenshots" in done.stderr
        assert "look before you delete" in done.stderr


@pytest.mark.skipif(find_spec("rawpy") is None, reason="rawpy is not installed")
def test_a_camera_raw_file_is_not_the_jpeg_beside_it(hashcli: Run, tmp_path: Path) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    cup = Image.open(SKIMAGE / "coffee.png").convert("RGB")
    write_dng(folder / "cup.dng", cup, cup)
    write_dng(folder / "cup again.DNG", cup, cup.resize((580, 388)))
    cup.save(folder / "cup.jpg", quality=90)
    cup.save(folder / "cup.png")
    hashcli("index", folder, "--index", "ix")
    found = groups(hashcli, "--max-distance", 64)
    assert sorted(sorted(group) for group in found) == [["cup again.DNG", "cup.dng"], ["cup.jpg", "cup.png"]]


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp"])
def test_files_of_several_frames_are_compared_by_their_bytes(hashcli: Run, tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    cover, *inside = (Image.open(SKIMAGE / name).convert("RGB").resize((300, 300)) for name in list(PHOTOS)[:3])
    for name, page in zip("ab", inside, strict=True):
        cover.save(folder / f"{name}.{suffix}", save_all=True, append_images=[page])
    shutil.copyfile(folder / f"b.{suffix}", folder / f"c.{suffix}")
    cover.save(folder / "cover.png")
    cover.resize((200, 200)).save(folder / "small cover.png")
    hashcli("index", folder, "--index", "ix")
    assert groups(hashcli, "--max-distance", 64) == [
        [f"b.{suffix}", f"c.{suffix}"],
        ["cover.png", "small cover.png"],
    ]


def test_a_jpeg_that_carries_a_small_copy_of_itself_is_one_picture(hashcli: Run, album: Path) -> None:
    cat = Image.open(album / "chelsea.png").convert("RGB")
    cat.save(album / "phone.jpg", format="MPO", save_all=True, append_images=[cat.resize((45, 30))])
    hashcli("index", "--index", "ix")
    assert "phone.jpg" in groups(hashcli)[1]


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
    found = hashcli("duplicates", "--index", "ix", "--extras", "-", stdin="photos/trip\n")
    assert found.stdout.splitlines() == [str(album / "trip" / "full moon.png")]
    done = hashcli("duplicates", "--index", "ix", "photos/tirp", status=1)
    assert "Did you mean photos/trip?" in done.stderr


def test_an_empty_list_is_not_the_whole_index(hashcli: Run, album: Path) -> None:
    for option in ("--extras", "--json", "--exact"):
        done = hashcli("duplicates", "--index", "ix", option, "-", stdin="")
        assert done.stdout == ""
        assert "list of paths is empty" in done.stderr


def test_a_linked_folder_goes_by_both_its_names(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("one.png", "two.png"):
        shutil.copyfile(photos / "coins.png", outside / name)
    (photos / "link").symlink_to("../outside")
    (tmp_path / "pictures").symlink_to(photos)
    hashcli("index", photos, "--index", "ix", "--model", tiny_model)
    found = [["one.png", "two.png"]]
    for folder in (photos / "link", "photos/link/", "pictures/link", outside):
        assert groups(hashcli, folder, "--exact") == found
    assert groups(hashcli, photos / "link" / "one.png", photos / "link" / "two.png", "--exact") == found
    assert groups(hashcli, photos / "trip", "--exact") == []


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
    assert "--extras" in hashcli("duplicates", "--edited", "--index", "ix", status=2).stderr
    exact = ("--extras", "--exact")
    assert "choose one" in hashcli("duplicates", *exact, "--edited", "--index", "ix", status=2).stderr
    for option in exact:
        done = hashcli("duplicates", option, "--max-distance", "9", "--index", "ix", status=2)
        assert "byte for byte" in done.stderr
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
