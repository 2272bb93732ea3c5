"""Duplicates: near codes against a plain count of bits, the comparison of two pictures, and the groups of an album."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from hashcli.index.catalog_file import IndexNotFoundError
from hashcli.index.code_index import neighbours_within
from hashcli.index.duplicates import (
    DuplicateOptions,
    Duplicates,
    default_distance,
    find_duplicates,
    same_picture,
    thumbnail,
)
from hashcli.index.summary import UpdateOptions
from hashcli.index.update import update
from tests.conftest import PHOTOS, SKIMAGE
from tests.hashmodel.dng import write_dng
from tests.index.indexing import IndexFolder, Recorder

CATS = ["chelsea.png", "bright.jpg", "cropped.jpg", "small.jpg"]  # the largest picture and file first


@pytest.mark.parametrize("bits", [32, 64, 256])
def test_neighbours_within_are_those_a_count_of_bits_finds(bits: int) -> None:
    """Of codes drawn near each other, equal ones among them, and more than one block of them."""
    rng = np.random.default_rng(bits)
    centres = rng.integers(0, 2, (40, bits))
    rows = centres[rng.integers(0, 40, 300)] ^ (rng.random((300, bits)) < 0.04)
    codes = np.packbits(rows, axis=1, bitorder="little")
    distances = (rows[:, None] != rows[None]).sum(-1)
    found = list(neighbours_within(codes, bits // 16))
    assert len(found) == len(codes)
    assert sum(len(others) for others, _ in found) > 300
    for row, (others, away) in enumerate(found):
        expected = np.flatnonzero((distances[row] <= bits // 16) & (np.arange(len(codes)) != row))
        np.testing.assert_array_equal(np.sort(others), expected)
        np.testing.assert_array_equal(away, distances[row, others])


def test_no_codes_are_near_nothing() -> None:
    assert list(neighbours_within(np.empty((0, 8), np.uint8), 3)) == []


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
                path = f"{tmp_path}/{what}.bmp"
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
    found = find_duplicates(index, DuplicateOptions(max_distance=64))
    assert groups(found) == [[f"b.{suffix}", f"c.{suffix}"], ["cover.png", "small cover.png"]]


def test_there_must_be_an_index(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError):
        find_duplicates(tmp_path / "none")
