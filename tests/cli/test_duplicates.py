"""hashcli duplicates, through the command on real files. Which photos are grouped is tested in tests/index."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from hashcli.cli import duplicates as duplicates_command
from hashcli.printable import human_size
from tests.conftest import PHOTOS, Run, json_rows
from tests.index.indexing import IndexFolder
from tests.index.test_duplicates import CATS, index_with_lite_256, make_pictures
from tests.terminal import shown_in_terminal


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """The photos with four versions of the cat, three names and a copy of the coffee; indexed with lite-256 in `ix`."""
    folder = make_pictures(tmp_path / "photos")
    index_with_lite_256(tmp_path / "ix", folder, *folder.glob("? *.png"))
    return folder


def groups(hashcli: Run, *arguments: object, status: int = 0) -> list[list[str]]:
    """The names of the photos in each group."""
    rows = json_rows(hashcli("duplicates", "--index", "ix", "--json", *arguments, status=status))
    return [[Path(photo["path"]).name for photo in row["photos"]] for row in rows]


def test_lines_for_pipes(hashcli: Run, album: Path) -> None:
    done = hashcli("duplicates", "--index", "ix")
    coffee, cats = done.stdout.split("\n\n")
    assert coffee.splitlines() == ["photos/b link.png", "photos/a copy.png"]
    assert [Path(line).name for line in cats.splitlines()] == CATS
    printed = hashcli("duplicates", "--index", "ix", "--extras").stdout.splitlines()
    assert [Path(line).name for line in printed] == ["a copy.png"]
    size = human_size((album / "a copy.png").stat().st_size)
    first, second, _ = done.stderr.splitlines()
    assert first.startswith("Groups of duplicates: 2; extra photos in them: 4, ")
    assert second == f"--extras prints the identical copies, 1, {size}; --extras --edited prints all 4."


def test_json(hashcli: Run, album: Path) -> None:
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
    index_with_lite_256(tmp_path / "ix", album)
    done = hashcli("duplicates", "--index", "ix", "--extras", "--edited", "-0")
    assert done.stdout == ""
    assert "No duplicates among" in done.stderr


def test_extras_are_copies_byte_for_byte_unless_edited_ones_are_wanted(hashcli: Run, album: Path) -> None:
    done = hashcli("duplicates", "--index", "ix", "--extras")
    assert done.stdout.splitlines() == [str(album / "a copy.png")]
    assert "look before you delete" not in done.stderr


def test_copies_of_an_edited_version_count_as_extras_do(hashcli: Run, album: Path, tmp_path: Path) -> None:
    """The first of their group is another file, so that nothing in the group says that they are copies."""
    edited = next(path for path in album.glob("*") if path.name == CATS[1])
    shutil.copy(edited, album / "z copy.png")
    index_with_lite_256(tmp_path / "ix", album)
    extras = hashcli("duplicates", "--index", "ix", "--extras").stdout.splitlines()
    assert "z copy.png" in [Path(path).name for path in extras]
    assert f"--extras prints the identical copies, {len(extras)}, " in hashcli("duplicates", "--index", "ix").stderr


def test_small_files_have_a_size(hashcli: Run, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "small").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 40), "red").save(tmp_path / "small" / name)
    index_with_lite_256(tmp_path / "ix", tmp_path / "small")
    size = (tmp_path / "small" / "a.png").stat().st_size
    shown = shown_in_terminal(["duplicates", "--index", "ix"], tmp_path, environment)
    assert [line.split()[3:5] for line in shown.splitlines()] == [[str(size), "B"]] * 2


def test_pages_of_text_and_screenshots_are_no_extras(hashcli: Run, tmp_path: Path) -> None:
    """They look alike: a note says so wherever they are shown as groups."""
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
    index_with_lite_256(tmp_path / "ix", pictures)
    assert hashcli("duplicates", "--index", "ix", "--extras").stdout == ""
    assert hashcli("duplicates", "--index", "ix", "--extras", "--edited").stdout == ""


def test_limits(hashcli: Run, album: Path) -> None:
    assert groups(hashcli, "--exact") == [["b link.png", "a copy.png"]]
    assert groups(hashcli, "--max-distance", "0") == [["b link.png", "a copy.png"]]


def test_what_has_changed_or_cannot_be_read_is_named(hashcli: Run, album: Path) -> None:
    (album / "chelsea.png").unlink()
    state = (album / "small.jpg").stat()
    (album / "small.jpg").write_bytes(bytes(state.st_size))
    os.utime(album / "small.jpg", ns=(state.st_atime_ns, state.st_mtime_ns))
    done = hashcli("duplicates", "--index", "ix", "--json")
    assert [Path(photo["path"]).name for photo in json_rows(done)[1]["photos"]] == CATS[1:3]
    assert f"Changed or deleted since they were indexed: 1, including {album / 'chelsea.png'}\n" in done.stderr
    assert "hashcli index --index" in done.stderr
    assert "small.jpg could not be read" in done.stderr


def test_only_in_some_folders(hashcli: Run, album: Path) -> None:
    shutil.copyfile(album / "trip" / "moon.png", album / "trip" / "full moon.png")
    index_with_lite_256(album.parent / "ix", album)
    assert groups(hashcli, "photos/trip/../trip/") == [["moon.png", "full moon.png"]]
    found = hashcli("duplicates", "--index", "ix", "--extras", "-", stdin="photos/trip\n")
    assert found.stdout.splitlines() == [str(album / "trip" / "full moon.png")]
    done = hashcli("duplicates", "--index", "ix", "photos/tirp", status=1)
    assert "Did you mean photos/trip?" in done.stderr


def test_an_empty_list_is_not_the_whole_index(hashcli: Run, album: Path) -> None:
    for option in ("--extras", "--json"):
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
    IndexFolder(tmp_path / "ix", tiny_model).update(photos)
    found = [["one.png", "two.png"]]
    for folder in ("photos/link/", "pictures/link"):
        assert groups(hashcli, folder, "--exact") == found
    assert groups(hashcli, photos / "link" / "one.png", photos / "link" / "two.png", "--exact") == found


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"print0": True}, "--extras"),
        ({"json": True, "extras": True}, "choose one"),
        ({"edited": True}, "--extras"),
        ({"extras": True, "exact": True, "edited": True}, "cannot be combined"),
        ({"extras": True, "max_distance": 9}, "byte-for-byte"),
        ({"exact": True, "max_distance": 9}, "byte-for-byte"),
    ],
)
def test_options_that_exclude_each_other(
    capsys: pytest.CaptureFixture[str], options: dict[str, bool], problem: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        duplicates_command.run(**options)  # type: ignore[arg-type]
    assert stopped.value.code == 2
    assert problem in capsys.readouterr().err


def test_without_an_index_or_without_photos(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    assert "There is no index" in hashcli("duplicates", "--index", "none", status=1).stderr
    (tmp_path / "empty").mkdir()
    IndexFolder(tmp_path / "empty-ix", tiny_model).update(tmp_path / "empty")
    assert "holds no photos" in hashcli("duplicates", "--index", "empty-ix", status=1).stderr


def test_names_of_any_bytes_come_out_as_they_are(
    photos: Path, tiny_model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    for name in (b"line\nend.png", b"not utf8 \xff.png"):
        shutil.copyfile(photos / "coins.png", os.path.join(os.fsencode(photos), name))
    IndexFolder(tmp_path / "ix", tiny_model).update(photos)
    command = [sys.executable, "-m", "hashcli", "duplicates", "--exact", "--index", "ix", "--extras", "-0"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True).stdout
    assert sorted(found.split(b"\0")[:-1]) == [
        os.fsencode(photos) + b"/line\nend.png",
        os.fsencode(photos) + b"/not utf8 \xff.png",
    ]
