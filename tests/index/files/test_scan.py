"""Which files a scan finds: hidden ones, links, loops and sidecars."""

import os
import shutil
from pathlib import Path

import pytest

from hashcli.hashmodel.formats import photo_suffixes
from hashcli.index.catalog import FileState
from hashcli.index.files.exclusion import Rules
from hashcli.index.files.scan import photos_beside, scan
from tests.conftest import PHOTOS

not_as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")


def found_below(folder: Path, *, hidden: bool = False, texts: bool = False) -> list[str]:
    """The files that a scan finds, relative to the folder, in order."""
    return [os.path.relpath(path, folder) for path in scan({str(folder): Rules()}, hidden=hidden, texts=texts).files]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def test_photos_are_found_with_their_states_and_others_are_left_alone(album: Path) -> None:
    touch(album, "notes.doc", "film.mp4", "page.pdf", "captions.csv", "chelsea.txt")
    found = scan({str(album): Rules()})
    assert {Path(path).name for path in found.files} == set(PHOTOS)
    state = (album / "coffee.png").stat()
    assert found.files[str(album / "coffee.png")] == FileState.of(state)
    assert (found.sidecars, found.problems) == ({}, [])


def test_files_come_in_the_order_of_their_names_with_subfolders_after_them(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "d/2.jpg", "d/1.jpg", "c/3.jpg", "c/e/4.jpg")
    assert found_below(tmp_path) == ["a.jpg", "b.jpg", "c/3.jpg", "c/e/4.jpg", "d/1.jpg", "d/2.jpg"]


def test_progress_is_the_number_of_files_so_far(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c/1.jpg")
    counts: list[int] = []
    scan({str(tmp_path): Rules()}, on_progress=counts.append)
    assert counts == [2, 3]


def test_hidden_files_and_folders_are_left_out_unless_they_are_wanted(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "._a.jpg", ".cache/b.jpg")
    assert found_below(tmp_path) == ["a.jpg"]
    assert sorted(found_below(tmp_path, hidden=True)) == ["._a.jpg", ".cache/b.jpg", "a.jpg"]


def test_link_loops_end_and_each_photo_is_found_once(tmp_path: Path) -> None:
    photos, outside = tmp_path / "photos", tmp_path / "outside"
    touch(photos, "coffee.png", "trip/rocket.jpg")
    touch(outside, "linked.png")
    (photos / "a-loop").symlink_to(photos)
    (photos / "trip" / "up").symlink_to("..")
    (photos / "a-link.png").symlink_to(photos / "coffee.png")
    (photos / "broken.png").symlink_to(photos / "nothing.png")
    (photos / "album").symlink_to(outside)
    (photos / "album again").symlink_to(outside)
    assert found_below(photos) == ["coffee.png", "trip/rocket.jpg", "album/linked.png"]
    assert scan({str(photos): Rules()}).problems == []


def test_two_folders_one_within_the_other(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "trip/b.jpg")
    assert len(scan({str(tmp_path): Rules(), str(tmp_path / "trip"): Rules()}).files) == 2


def test_what_is_not_a_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    touch(tmp_path, "folder.jpg/a.jpg")
    assert found_below(tmp_path) == ["folder.jpg/a.jpg"]


def test_sidecars_are_found_with_their_photos(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.txt", "b.jpg", "b.jpg.txt", "c.TXT", "c.png", "notes.txt", "d/a.txt", ".a.txt")
    found = scan({str(tmp_path): Rules()}, texts=True)
    sidecars = {Path(text).name: Path(photo).name for text, photo in found.sidecars.items()}
    assert sidecars == {"a.txt": "a.jpg", "b.jpg.txt": "b.jpg", "c.TXT": "c.png"}
    assert set(found.sidecars) <= set(found.files)
    assert len(found.files) == 6


def test_of_a_raw_file_and_its_jpeg_the_jpeg_has_the_sidecar(tmp_path: Path) -> None:
    touch(tmp_path, "a.ARW", "a.jpg", "b.ARW")
    beside = photos_beside(str(tmp_path))
    assert (beside["a"], beside["a.ARW"], beside["b"]) == ("a.jpg", "a.ARW", "b.ARW")
    assert photos_beside(str(tmp_path / "nowhere")) == {}


def test_folders_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    found = scan({str(tmp_path / "nowhere"): Rules(), str(tmp_path): Rules()})
    assert found.problems == [(str(tmp_path / "nowhere"), "no such file or directory")]
    assert len(found.files) == 1


@not_as_root
def test_a_folder_without_permission_is_a_problem(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "trip/b.jpg")
    (tmp_path / "trip").chmod(0)
    try:
        found = scan({str(tmp_path): Rules()})
    finally:
        (tmp_path / "trip").chmod(0o755)
    assert found.problems == [(str(tmp_path / "trip"), "permission denied")]
    assert len(found.files) == 1


def test_a_file_that_goes_during_the_scan_is_no_problem(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b/c.jpg")
    found = scan({str(tmp_path): Rules()}, on_progress=lambda _: shutil.rmtree(tmp_path / "b", ignore_errors=True))
    assert len(found.files) == 1


def test_formats_with_and_without_photos() -> None:
    assert {".jpg", ".png", ".heic", ".nef", ".jxl", ".mpo", ".webp"} <= photo_suffixes()
    assert not {".pdf", ".eps", ".mpg", ".h5", ".txt"} & photo_suffixes()
