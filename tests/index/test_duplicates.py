"""Duplicates: the groups of an album, and what is no evidence that two photos are the same."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw, ImageEnhance

from hashcli.index import near_codes
from hashcli.index.catalog_file import IndexNotFoundError
from hashcli.index.duplicates import DuplicateOptions, Duplicates, find_duplicates
from hashcli.index.summary import UpdateOptions
from hashcli.index.update import update
from tests.conftest import PHOTOS, SKIMAGE
from tests.hashmodel.dng import write_dng
from tests.index.indexing import IndexFolder, Recorder

CATS = ["chelsea.png", "bright.jpg", "cropped.jpg", "small.jpg"]  # the largest picture and file first


# --- the groups of an album, with the model that ships ---


def index_with_lite_256(folder: Path, *paths: Path) -> Path:
    update(folder, [str(path) for path in paths], UpdateOptions(model="lite-256"))
    return folder


def make_pictures(folder: Path) -> Path:
    """The photos with four versions of the cat, and three names and a copy of the coffee."""
    (folder / "trip").mkdir(parents=True)
    for name in PHOTOS:
        shutil.copy(SKIMAGE / name, folder / "trip" if name in ("rocket.jpg", "moon.png") else folder)
    cat = Image.open(folder / "chelsea.png").convert("RGB")
    width, height = cat.size
    cat.resize((width // 2, height // 2)).save(folder / "small.jpg", quality=80)
    ImageEnhance.Brightness(cat).enhance(1.2).save(folder / "bright.jpg", quality=90)
    cat.crop((5, 4, width - 5, height - 4)).save(folder / "trip" / "cropped.jpg", quality=90)
    shutil.copy(SKIMAGE / "motorcycle_right.png", folder)  # the same scene as the left one, but another photo
    shutil.copyfile(folder / "coffee.png", folder / "a copy.png")
    os.utime(folder / "coffee.png", (1e9, 1e9))
    os.link(folder / "coffee.png", folder / "b link.png")
    (folder / "c link.png").symlink_to("coffee.png")
    return folder


@pytest.fixture(scope="module")
def indexed_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures, beside an index `ix` of them, for tests that change nothing."""
    folder = make_pictures(tmp_path_factory.mktemp("duplicates") / "photos")
    index_with_lite_256(folder.parent / "ix", folder, *folder.glob("? *.png"))
    return folder


@pytest.fixture
def pictures(indexed_pictures: Path, tmp_path: Path) -> Path:
    """The same for a test that changes some; what it changes is another file than the module's."""
    shutil.copytree(indexed_pictures.parent, tmp_path, symlinks=True, dirs_exist_ok=True)
    (tmp_path / "photos" / "b link.png").unlink()
    os.link(tmp_path / "photos" / "coffee.png", tmp_path / "photos" / "b link.png")
    return tmp_path / "photos"


def groups(found: Duplicates) -> list[list[str]]:
    """The names of the photos in each group."""
    return [[Path(photo.path).name for photo in group] for group in found.groups]


def test_copies_and_altered_copies_are_grouped_and_nothing_else(indexed_pictures: Path) -> None:
    index = indexed_pictures.parent / "ix"
    assert groups(find_duplicates(index)) == [["b link.png", "a copy.png"], CATS]
    assert groups(find_duplicates(index, DuplicateOptions(exact=True))) == [["b link.png", "a copy.png"]]
    assert groups(find_duplicates(index, DuplicateOptions(max_distance=0))) == [["b link.png", "a copy.png"]]


def test_what_is_said_of_each_photo(indexed_pictures: Path) -> None:
    progress = Recorder()
    found = find_duplicates(indexed_pictures.parent / "ix", callback=progress)
    coffee, cats = found.groups
    assert [photo.identical for photo in coffee] == [True, True]
    assert cats[0].path == str(indexed_pictures / "chelsea.png")
    assert cats[0].bytes == (indexed_pictures / "chelsea.png").stat().st_size
    assert (cats[0].distance, cats[0].identical) == (0, True)
    sizes = [(photo.width, photo.height) for photo in cats]
    assert sizes == [(451, 300), (451, 300), (441, 292), (225, 150)]
    assert all(0 < photo.distance <= 24 and not photo.identical for photo in cats[1:])
    assert (found.stale, found.unreadable) == ([], [])
    assert found.compared == len(PHOTOS) + 7
    ((planned, advanced),) = progress.stages
    assert planned == advanced > 4


def test_what_has_changed_since_it_was_indexed_is_left_out(pictures: Path) -> None:
    (pictures / "chelsea.png").unlink()
    shutil.copyfile(pictures / "coffee.png", pictures / "bright.jpg")
    state = (pictures / "a copy.png").stat()
    content = (pictures / "a copy.png").read_bytes()
    (pictures / "a copy.png").write_bytes(content[:-1] + b"?")  # another content of the same size and time
    os.utime(pictures / "a copy.png", ns=(state.st_atime_ns, state.st_mtime_ns))
    found = find_duplicates(pictures.parent / "ix")
    assert groups(found) == [CATS[2:]]
    assert sorted(Path(path).name for path in found.stale) == ["a copy.png", "bright.jpg", "chelsea.png"]


def test_a_photo_that_cannot_be_read_by_now_is_no_duplicate(pictures: Path) -> None:
    state = (pictures / "small.jpg").stat()
    (pictures / "small.jpg").write_bytes(bytes(state.st_size))
    os.utime(pictures / "small.jpg", ns=(state.st_atime_ns, state.st_mtime_ns))
    found = find_duplicates(pictures.parent / "ix")
    assert groups(found)[1] == CATS[:3]
    assert found.unreadable == [str(pictures / "small.jpg")]


def test_a_jpeg_that_carries_a_small_copy_of_itself_is_one_picture(pictures: Path) -> None:
    cat = Image.open(pictures / "chelsea.png").convert("RGB")
    cat.save(pictures / "phone.jpg", format="MPO", save_all=True, append_images=[cat.resize((45, 30))])
    index = index_with_lite_256(pictures.parent / "ix", pictures)
    assert "phone.jpg" in groups(find_duplicates(index))[1]


def test_only_in_some_folders(indexed_pictures: Path, tmp_path: Path) -> None:
    index = indexed_pictures.parent / "ix"
    trip = find_duplicates(index, DuplicateOptions(folders=(str(indexed_pictures / "trip"),)))
    assert (trip.groups, trip.compared) == ([], 3)
    everything = find_duplicates(index, DuplicateOptions(folders=(str(indexed_pictures),)))
    assert len(everything.groups) == 2
    assert find_duplicates(index, DuplicateOptions(folders=(str(tmp_path),))) == Duplicates()


def test_photos_below_a_linked_folder(new_index: IndexFolder, album: Path, tmp_path: Path) -> None:
    """The index knows them by the link's name; the folders to compare are given by their real paths."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("one.png", "two.png"):
        shutil.copyfile(album / "coins.png", outside / name)
    (album / "link").symlink_to("../outside")
    new_index.update(album)
    for folders in ((str(outside),), (str(outside / "one.png"), str(outside / "two.png"))):
        found = find_duplicates(new_index.folder, DuplicateOptions(folders, exact=True))
        assert groups(found) == [["one.png", "two.png"]]
    options = DuplicateOptions(folders=(str(album / "trip"),), exact=True)
    assert find_duplicates(new_index.folder, options).groups == []


@pytest.mark.skipif(find_spec("rawpy") is None, reason="rawpy is not installed")
def test_a_camera_raw_file_is_not_the_jpeg_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    cup = Image.open(SKIMAGE / "coffee.png").convert("RGB")
    write_dng(folder / "cup.dng", cup, cup)
    write_dng(folder / "cup again.DNG", cup, cup.resize((580, 388)))
    cup.save(folder / "cup.jpg", quality=90)
    cup.save(folder / "cup.png")
    index = index_with_lite_256(tmp_path / "ix", folder)
    found = groups(find_duplicates(index, DuplicateOptions(max_distance=64)))
    assert sorted(sorted(group) for group in found) == [["cup again.DNG", "cup.dng"], ["cup.jpg", "cup.png"]]


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp"])
def test_files_of_several_frames_are_compared_by_their_bytes(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    cover, *inside = (Image.open(SKIMAGE / name).convert("RGB").resize((300, 300)) for name in list(PHOTOS)[:3])
    for name, page in zip("ab", inside, strict=True):
        cover.save(folder / f"{name}.{suffix}", save_all=True, append_images=[page])
    shutil.copyfile(folder / f"b.{suffix}", folder / f"c.{suffix}")
    cover.save(folder / "cover.png")
    cover.resize((200, 200)).save(folder / "small cover.png")
    index = index_with_lite_256(tmp_path / "ix", folder)
    found = find_duplicates(index)
    assert groups(found) == [[f"b.{suffix}", f"c.{suffix}"], ["cover.png", "small cover.png"]]


def test_hundreds_of_copies_are_one_group(
    new_index: IndexFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though of each only few pairs are kept, so that they take little memory."""
    monkeypatch.setattr(near_codes, "_MOST", 3)
    (tmp_path / "burst").mkdir()
    photo = Image.open(SKIMAGE / "coffee.png").convert("RGB").resize((128, 128))
    photo.save(tmp_path / "burst" / "best.png")
    for number in range(60):
        photo.save(tmp_path / "burst" / f"{number}.jpg", quality=94 - number)
    new_index.update(tmp_path / "burst")
    ((best, *others),) = groups(find_duplicates(new_index.folder))
    assert best == "best.png"
    assert len(others) == 60


def test_there_must_be_an_index(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError):
        find_duplicates(tmp_path / "none")


# --- what is no evidence ---


def in_index(folder: Path) -> list[list[str]]:
    return groups(find_duplicates(index_with_lite_256(folder.parent / "ix", folder)))


def photos(side: int) -> list[Image.Image]:
    return [Image.open(SKIMAGE / name).convert("RGB").resize((side, side)) for name in PHOTOS]


def test_different_photos_of_10_bits_in_16_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for number, photo in enumerate(photos(200)):
        values = np.asarray(photo.convert("L")).astype(np.uint16) * 4
        Image.fromarray(values).save(tmp_path / "p" / f"{number}.tif")
    assert in_index(tmp_path / "p") == []


def test_different_white_drawings_on_transparency_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    rng = np.random.default_rng(1)
    for number in range(8):
        drawing = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
        for _ in range(12):
            corners = rng.integers(20, 280, 4).tolist()
            ImageDraw.Draw(drawing).line(corners, fill=(255, 255, 255, 255), width=6)
        drawing.save(tmp_path / "p" / f"{number}.png")
    assert in_index(tmp_path / "p") == []


def test_flat_pictures_are_no_duplicates_unless_their_bytes_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    rng = np.random.default_rng(1)
    for number in range(4):
        noise = rng.normal(100, 2, (200, 200, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "p" / f"{number}.png")
    shutil.copyfile(tmp_path / "p" / "0.png", tmp_path / "p" / "copy.png")
    assert [sorted(group) for group in in_index(tmp_path / "p")] == [["0.png", "copy.png"]]


def test_pages_of_one_layout_are_told_apart_and_their_copies_found(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    rng = np.random.default_rng(1)
    for number in range(6):
        page = Image.new("L", (850, 1100), 255)
        for line in range(60, 1040, 24):
            right, place = 790, 60
            while place < right:
                width = int(rng.integers(15, 90))
                ImageDraw.Draw(page).rectangle((place, line, min(place + width, right), line + 11), fill=60)
                place += width + 9
        page.save(tmp_path / "p" / f"page {number}.png")
        if number < 2:
            page.resize((600, 776)).save(tmp_path / "p" / f"page {number}.jpg", quality=80)
    assert in_index(tmp_path / "p") == [["page 0.png", "page 0.jpg"], ["page 1.png", "page 1.jpg"]]


def test_exif_that_proves_another_shot_separates_and_a_copy_with_it_or_without_any_is_found(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    photo = Image.open(SKIMAGE / "coffee.png").convert("RGB")

    def save(name: str, brightness: float, tags: dict[int, object]) -> None:
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif).update(tags)
        ImageEnhance.Brightness(photo).enhance(brightness).save(tmp_path / "p" / name, quality=90, exif=exif)

    first: dict[int, object] = {0x9003: "2024:05:01 10:00:00", 0x829A: 1 / 60, 0x9204: 0.0}
    save("shot.jpg", 1, first)
    save("burst.jpg", 1.01, first | {0x9003: "2024:05:01 10:00:01"})
    save("fraction.jpg", 0.99, first | {0x9291: "25"} | {0x9003: "2024:05:01 10:00:02"})
    save("bracket.jpg", 0.8, first | {0x829A: 1 / 125})
    photo.resize((300, 200)).save(tmp_path / "p" / "copy.jpg", quality=80)
    save("edited.jpg", 1.1, first)
    (group,) = in_index(tmp_path / "p")
    assert len(group) == 3
    assert {"copy.jpg"} < set(group)
    assert len({"shot.jpg", "edited.jpg"} & set(group)) in (0, 2)


@pytest.mark.parametrize("name", ["astronaut.png", "coffee.png"])
def test_copies_of_small_photos_are_found_whatever_was_done_to_them(tmp_path: Path, name: str) -> None:
    """Also where codes are of no help: of the small and the grey ones they are far from those of the photos."""
    (tmp_path / "p").mkdir()
    photo = Image.open(SKIMAGE / name).convert("RGB").resize((224, 224))
    captioned = photo.copy()
    ImageDraw.Draw(captioned).rectangle((0, 195, 224, 224), fill="white")
    photo.save(tmp_path / "p" / "photo.png")
    copies = {
        "small": photo.resize((112, 112)),
        "cropped": photo.crop((6, 6, 218, 218)),
        "brighter": ImageEnhance.Brightness(photo).enhance(1.1),
        "captioned": captioned,
        "grey": photo.convert("L"),
        "turned": photo.rotate(1, Image.Resampling.BICUBIC),
    }
    for what, copy in copies.items():
        copy.save(tmp_path / "p" / f"{what}.jpg", quality=85)
    photo.save(tmp_path / "p" / "compressed.jpg", quality=50)
    for other in ("chelsea.png", "motorcycle_left.png", "motorcycle_right.png"):
        shutil.copy(SKIMAGE / other, tmp_path / "p")
    (group,) = in_index(tmp_path / "p")
    assert sorted(group) == sorted(["photo.png", "compressed.jpg", *(f"{what}.jpg" for what in copies)])
