"""Bringing the photos of an index up to date: which are encoded, which keep their codes, and which are dropped."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from filelock import FileLock
from PIL import Image

from hashcli.errors import HashcliError
from hashcli.hashmodel import formats
from hashcli.index.catalog import FileState
from hashcli.index.catalog_file import IndexGoneError, IndexNotFoundError, UnusableIndexFolderError
from hashcli.index.lock import IndexBusyError
from hashcli.index.search import Index
from hashcli.index.summary import UpdateOptions, UpdateSummary
from hashcli.index.update import NotAnIndexFolderError, OtherModelError, forget, indexed_paths, update
from hashcli.index.update_callback import UpdateCallback
from tests.conftest import PHOTOS, SKIMAGE, Run, json_rows, make_tiny_model
from tests.index.files.test_metadata import gps
from tests.index.indexing import PLANTED, IndexFolder, to_version

ALL = len(PHOTOS)


def test_first_update_then_nothing_to_do(new_index: IndexFolder, album: Path) -> None:
    assert new_index.update(album) == {"added": ALL}
    assert new_index.report.stages == [[ALL, ALL]]
    assert new_index.report.scanned_counts[-1] == ALL
    assert new_index.update(album) == {"unchanged": ALL}
    assert new_index.update() == {"unchanged": ALL}  # everything indexed before


def test_new_changed_moved_and_deleted_photos(index: IndexFolder, album: Path) -> None:
    before = index.codes()
    shutil.copy(album / "coffee.png", album / "new.png")
    Image.open(album / "chelsea.png").rotate(180).save(album / "chelsea.png")
    (album / "brick.png").rename(album / "trip" / "wall.png")
    (album / "coins.png").unlink()
    assert index.update(album) == {"added": 1, "updated": 1, "moved": 1, "removed": 1, "unchanged": ALL - 3}
    after = index.codes()
    assert after["wall.png"] == before["brick.png"]
    assert after["new.png"] == before["coffee.png"]
    assert after["chelsea.png"] != before["chelsea.png"]
    assert "coins.png" not in after


def test_a_moved_photo_and_a_copy_of_it_are_not_encoded_again(index: IndexFolder, album: Path) -> None:
    index.plant_codes("path LIKE '%brick.png'")
    (album / "brick.png").rename(album / "trip" / "wall.png")
    shutil.copy(album / "trip" / "wall.png", album / "again.png")
    assert index.update(album) == {"added": 1, "moved": 1, "unchanged": ALL - 1}
    assert index.planted() == ["photos/again.png", "photos/trip/wall.png"]


def test_a_folder_renamed_whole(index: IndexFolder, album: Path) -> None:
    (album / "trip").rename(album / "voyage")
    assert index.update(album) == {"moved": 2, "unchanged": ALL - 2}


def test_a_renamed_folder_with_the_same_photo_twice(index: IndexFolder, album: Path) -> None:
    shutil.copy(album / "trip" / "moon.png", album / "trip" / "moon again.png")
    index.update(album)
    (album / "trip").rename(album / "voyage")
    assert index.update(album) == {"moved": 3, "unchanged": ALL - 2}


def test_a_photo_moved_over_another_is_not_encoded_again(index: IndexFolder, album: Path) -> None:
    index.plant_codes("path LIKE '%brick.png'")
    (album / "brick.png").replace(album / "coins.png")
    assert index.update(album) == {"updated": 1, "removed": 1, "unchanged": ALL - 2}
    assert index.planted() == ["photos/coins.png"]


def test_a_new_time_alone_encodes_nothing(index: IndexFolder, album: Path) -> None:
    index.plant_codes()
    os.utime(album / "coffee.png")
    assert index.update(album) == {"unchanged": ALL}
    assert len(index.planted()) == ALL
    assert index.report.stages == [[1, 1]]
    index.update(album)
    assert index.report.stages == [[0, 0]]  # the new time has been recorded


def test_photos_that_cannot_be_read_are_named_and_the_rest_is_indexed(new_index: IndexFolder, album: Path) -> None:
    (album / "cut.jpg").write_bytes((album / "trip" / "rocket.jpg").read_bytes()[:700])
    (album / "notes.png").write_text("buy milk")
    assert new_index.update(album) == {"added": ALL, "skipped": 2}
    (cut, _), notes = new_index.report.skips
    assert cut == str(album / "cut.jpg")
    assert notes == (str(album / "notes.png"), "not an image that can be read")


def test_a_photo_that_is_damaged_later_leaves_the_index(index: IndexFolder, album: Path) -> None:
    (album / "coffee.png").write_bytes(b"")
    assert index.update(album) == {"unchanged": ALL - 1, "removed": 1, "skipped": 1}
    assert "coffee.png" not in index.codes()


def test_photos_whose_extra_is_missing_are_counted_and_kept(
    index: IndexFolder, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (album / f"camera{number}.NEF").write_bytes(b"II*\0" + bytes([number]) * 99)
    # as if it had been encoded where the extra is installed
    index.sql("UPDATE items SET path = 'photos/camera2.NEF' WHERE path = 'photos/coffee.png'")
    index.set_check_values()
    monkeypatch.setattr(formats, "_missing_extras", {"raw"})
    assert index.update() == {"added": 1, "unchanged": ALL - 1, "skipped": 3}
    reason = "RAW needs an extra. In a checkout of hashcli: pip install '.[raw]'"
    assert index.report.skips == [(str(album / "camera0.NEF"), reason), ("2 more", reason)]
    assert "camera2.NEF" in index.codes()


def test_what_decodes_of_a_damaged_photo_is_indexed_and_said(index: IndexFolder, album: Path) -> None:
    with Image.open(album / "coffee.png") as image:
        image.convert("RGB").resize((320, 320)).save(album / "whole.jpg", quality=95)
    content = (album / "whole.jpg").read_bytes()
    (album / "whole.jpg").unlink()
    (album / "short.jpg").write_bytes(content[: len(content) * 96 // 100])
    (album / "half.jpg").write_bytes(content[: len(content) // 2])
    assert index.update(album) == {"added": 1, "unchanged": ALL, "damaged": 1, "skipped": 1}
    ((path, reason),) = index.report.damages
    assert path == str(album / "short.jpg")
    assert reason.endswith(" % of the picture is missing")
    assert index.report.skips[0][0] == str(album / "half.jpg")
    assert "short.jpg" in index.codes()
    assert index.update(album) == {"unchanged": ALL + 1, "skipped": 1}


def test_a_photo_that_became_a_pipe_does_not_hang(index: IndexFolder, album: Path) -> None:
    (album / "brick.png").unlink()
    os.mkfifo(album / "brick.png")
    assert index.update(album) == {"removed": 1, "unchanged": ALL - 1}


def test_names_with_spaces_newlines_and_bytes_that_are_not_utf8(new_index: IndexFolder, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    names = [b"a b.png", b"two\nlines.png", b"red\x1b[31m.png", "höhe 日本.png".encode(), b"latin-\xe9.png"]
    for shade, name in enumerate(names):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            Image.new("RGB", (9, 9), (50 * shade,) * 3).save(file, "PNG")
    assert new_index.update(folder) == {"added": 5}
    assert new_index.update(folder) == {"unchanged": 5}
    with new_index.read() as catalog:
        assert sorted(map(os.fsencode, dict(catalog.photos()))) == sorted(
            os.path.join(os.fsencode(folder), n) for n in names
        )


def test_an_index_beside_the_photos_moves_with_them(album: Path, tiny_model: Path, tmp_path: Path) -> None:
    IndexFolder(album / ".hashcli", tiny_model).update(album)
    moved = tmp_path / "elsewhere" / "pictures"
    moved.parent.mkdir()
    album.rename(moved)
    index = IndexFolder(moved / ".hashcli", tiny_model)
    assert index.update() == {"unchanged": ALL}
    with index.read() as catalog:
        assert sorted(dict(catalog.photos())) == sorted(str(path) for path in moved.rglob("*.*g") if path.is_file())


# --- folders that are away, emptied or deleted ---


def test_a_root_that_cannot_be_reached_keeps_its_photos(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    album.rename(tmp_path / "unplugged")
    assert index.update() == {"skipped": 1}
    assert index.report.skips == [(str(album), f"not reachable; its {ALL} photos are kept")]
    assert len(index.rows()) == ALL
    (tmp_path / "unplugged").rename(album)
    assert index.update() == {"unchanged": ALL}


def test_an_empty_mount_point_keeps_its_photos(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    """The root is there, but it is empty and on another disk than before."""
    index.move_roots_to_another_disk()
    album.rename(tmp_path / "unplugged")
    album.mkdir()
    assert index.update() == {"skipped": 1}
    assert len(index.rows()) == ALL


def test_an_unmounted_folder_inside_an_indexed_one_keeps_its_photos(index: IndexFolder, album: Path) -> None:
    """The inner folder was indexed by itself too, so the catalog says that it was on another disk."""
    index.update(album / "trip")
    index.move_roots_to_another_disk("path LIKE '%trip'")
    for photo in list((album / "trip").iterdir()):
        photo.unlink()
    assert index.update(album) == {"unchanged": ALL - 2, "skipped": 1}
    assert index.report.skips == [(str(album / "trip"), "not reachable; its 2 photos are kept")]
    assert len(index.rows()) == ALL


@pytest.fixture
def disk(album: Path) -> Iterator[Path]:
    """A folder on another disk, with a photo in it, that a link in the album leads to."""
    if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == album.stat().st_dev:
        pytest.skip("no other disk here")
    with TemporaryDirectory(dir="/dev/shm") as folder:
        shutil.copy(album / "coffee.png", Path(folder) / "more.png")
        (album / "disk").symlink_to(folder)
        yield Path(folder)


def test_a_disk_below_a_root_keeps_its_photos_while_it_is_away(
    index: IndexFolder, album: Path, disk: Path, tmp_path: Path
) -> None:
    """Whether its mount point is left behind, empty and on the disk around it, or not."""
    assert index.update() == {"added": 1, "unchanged": ALL}
    photo = (disk / "more.png").rename(disk / "away")
    (album / "disk").unlink()
    assert index.update() == {"unchanged": ALL, "skipped": 1}
    (album / "disk").mkdir()
    assert index.update() == {"unchanged": ALL, "skipped": 1}
    assert index.update(album) == {"unchanged": ALL, "skipped": 1}
    assert index.report.skips == [(str(album / "disk"), "not reachable; its 1 photos are kept")]
    (album / "disk").rmdir()
    (album / "disk").symlink_to(disk)
    photo.rename(disk / "more.png")
    assert index.update() == {"unchanged": ALL + 1}
    (disk / "more.png").unlink()  # the disk is there, so this is believed
    (disk / "other.png").symlink_to(album / "coins.png")
    assert index.update() == {"removed": 1, "unchanged": ALL}


def test_a_disk_below_a_root_that_is_left_out_or_forgotten_is_not_missed(
    index: IndexFolder, album: Path, disk: Path
) -> None:
    index.update()
    assert index.update(exclude=["disk"]) == {"removed": 1, "unchanged": ALL}
    index.update(include=["disk"])
    assert forget(index.folder, [str(album / "disk")]) == (1, 0)
    (album / "disk").unlink()
    assert index.update() == {"unchanged": ALL}


def test_what_a_catalog_says_of_disks_may_make_no_sense(index: IndexFolder) -> None:
    for value in ("'{'", "'[]'", "5", "x'ff'", '\'{"a": "b"}\'', "'{\"\": 1}'"):
        index.sql(f"INSERT OR REPLACE INTO meta VALUES ('mounts', {value})")
        with pytest.raises(HashcliError):
            index.update()


def test_a_missing_root_beside_others_keeps_its_photos(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    """Its disk is away, and the folder it was mounted in has another device number than it had."""
    index.update(album / "trip")
    index.move_roots_to_another_disk("path LIKE '%trip'")
    (album / "trip").rename(tmp_path / "unplugged")
    assert index.update() == {"unchanged": ALL - 2, "skipped": 1}
    assert len(index.rows()) == ALL


def test_a_deleted_folder_that_was_indexed_by_itself_is_dropped(index: IndexFolder, album: Path) -> None:
    index.update(album / "trip")
    shutil.rmtree(album / "trip")
    assert index.update(album) == {"removed": 2, "unchanged": ALL - 2}
    assert indexed_paths(index.folder) == [str(album)]
    assert index.update() == {"unchanged": ALL - 2}


def test_an_emptied_folder_is_believed(index: IndexFolder, album: Path) -> None:
    shutil.rmtree(album)
    album.mkdir()
    assert index.update() == {"removed": ALL}


def test_a_file_given_by_name_is_refreshed_and_dropped_when_deleted(new_index: IndexFolder, album: Path) -> None:
    assert new_index.update(album / "coffee.png", album / "trip") == {"added": 3}
    (album / "coffee.png").unlink()
    assert new_index.update() == {"removed": 1, "unchanged": 2}


# --- what may not be indexed ---


def test_paths_that_are_not_there(new_index: IndexFolder, album: Path, tmp_path: Path) -> None:
    with pytest.raises(HashcliError, match="no such file or folder"):
        new_index.update(tmp_path / "nowhere")
    with pytest.raises(HashcliError, match="There is no hash model 'nosuch'"):
        update(new_index.folder, [str(album)], UpdateOptions(model="nosuch"))
    assert not new_index.folder.exists()
    assert new_index.update(tmp_path / "nowhere", album) == {"added": ALL, "skipped": 1}
    assert new_index.report.skips == [(str(tmp_path / "nowhere"), "no such file or folder")]
    os.mkfifo(tmp_path / "pipe.jpg")
    assert new_index.update(tmp_path / "pipe.jpg") == {"skipped": 1}
    assert new_index.report.skips == [(str(tmp_path / "pipe.jpg"), "not a file or a folder")]


def test_an_empty_folder_is_fine(new_index: IndexFolder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert new_index.update(tmp_path / "empty") == {}


def test_an_index_has_a_folder_of_its_own(album: Path, tiny_model: Path) -> None:
    before = sorted(album.rglob("*"))
    with pytest.raises(NotAnIndexFolderError, match=f"holds other files, for example {min(PHOTOS)}") as raised:
        IndexFolder(album, tiny_model).update(album)
    assert str(album / ".hashcli") in raised.value.remedy
    assert sorted(album.rglob("*")) == before
    (album / "empty").mkdir()
    (album / "empty" / "lock").touch()  # of an update that was killed before it made the catalog
    assert IndexFolder(album / "empty", tiny_model).update(album) == {"added": ALL}


def test_a_second_writer_is_refused(index: IndexFolder, album: Path) -> None:
    with FileLock(index.folder / "lock"):
        for change in (lambda: index.update(album), lambda: forget(index.folder, [str(album)])):
            with pytest.raises(IndexBusyError, match="Another hashcli is writing the index") as raised:
                change()
            assert raised.value.index_folder == index.folder
    assert len(index.rows()) == ALL


def test_a_folder_that_cannot_be_made(album: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableIndexFolderError, match="cannot be written") as raised:
        IndexFolder(tmp_path / "file" / "ix", tiny_model).update(album)
    assert "--" not in raised.value.remedy
    assert raised.value.index_folder == tmp_path / "file" / "ix"


def test_files_of_an_index(index: IndexFolder) -> None:
    """Those of the design, and nothing else that stays behind."""
    names = {path.name for path in index.folder.iterdir()}
    needed = {"catalog.sqlite", "images.faiss", "images.ids.npy", "images.filter", "images.words"}
    assert needed <= names <= needed | {"lock"}
    assert not stat.S_IMODE((index.folder / "catalog.sqlite").stat().st_mode) & 0o111


# --- models ---


def test_codes_of_two_models_never_mix(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other", seed=1)
    before = index.codes()
    with pytest.raises(OtherModelError, match="their codes cannot be compared") as raised:
        index.update(album, model=other)
    assert (raised.value.model, raised.value.index_folder) == (str(other), index.folder)
    assert index.codes() == before
    assert index.update(rehash=True, model=other) == {"updated": ALL}
    assert all(code != before[name] for name, code in index.codes().items())
    assert index.update() == {"unchanged": ALL}


def test_rehash_of_a_part_encodes_everything(index: IndexFolder, album: Path) -> None:
    index.plant_codes()
    assert index.update(album / "trip", rehash=True) == {"updated": ALL}
    assert index.planted() == []


def test_rehash_keeps_the_codes_of_photos_that_cannot_be_reached(
    index: IndexFolder, album: Path, tmp_path: Path
) -> None:
    album.rename(tmp_path / "unplugged")
    assert index.update(rehash=True) == {"skipped": 1}
    assert None not in index.codes().values()


def test_a_model_that_was_changed_in_place_is_refused(album: Path, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "own", seed=1)
    index = IndexFolder(tmp_path / "ix", model)
    index.update(album)
    shutil.rmtree(model)
    make_tiny_model(model, seed=2)
    with pytest.raises(OtherModelError) as raised:
        index.update(album)
    assert raised.value.model == str(model)


@pytest.mark.parametrize("rehash", [False, True])
def test_a_model_that_was_moved_is_used_at_its_new_place(album: Path, tmp_path: Path, rehash: bool) -> None:
    old = make_tiny_model(tmp_path / "old", seed=1)
    index = IndexFolder(tmp_path / "ix", old)
    index.update(album)
    codes = index.codes()
    new = old.rename(tmp_path / "new")
    with pytest.raises(HashcliError, match="There is no hash model"):
        index.update()
    assert index.update(model=new, rehash=rehash) == {"updated" if rehash else "unchanged": ALL}
    assert index.codes() == codes
    with Index(index.folder) as searched:
        assert searched.load_model().folder == new
        assert len(searched.search("a cat", ALL)) == ALL
    make_tiny_model(old, seed=2)
    assert index.update() == {"unchanged": ALL}


def test_a_copy_of_the_model_does_not_take_its_place(album: Path, tmp_path: Path) -> None:
    own = make_tiny_model(tmp_path / "own", seed=1)
    index = IndexFolder(tmp_path / "ix", own)
    index.update(album)
    index.update(model=Path(shutil.copytree(own, tmp_path / "copy")))
    with Index(index.folder) as opened:
        assert opened.indexed_model.source == str(own)


def test_a_damaged_model_is_refused(album: Path, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "own", seed=1)
    with (model / "image.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(HashcliError, match=r"image.onnx is damaged"):
        IndexFolder(tmp_path / "ix", model).update(album)


# --- derived files ---


def test_damaged_and_missing_search_files_are_written_anew(index: IndexFolder) -> None:
    for name in ("images.faiss", "images.ids.npy", "images.filter"):
        whole = (index.folder / name).read_bytes()
        damaged = bytearray(whole)
        damaged[60] ^= 0xFF
        (index.folder / name).write_bytes(damaged)
        index.update()
        assert (index.folder / name).read_bytes() == whole
        (index.folder / name).unlink()
        index.update()
        assert (index.folder / name).read_bytes() == whole


def test_a_catalog_set_back_does_not_take_newer_search_files_for_its_own(
    hashcli: Run, index: IndexFolder, album: Path
) -> None:
    """A backup of the catalog alone is put back, and the same number of changes are made to it again."""
    backup = (index.folder / "catalog.sqlite").read_bytes()
    Image.open(album / "coffee.png").rotate(90).save(album / "turned.png")
    index.update(album)
    (album / "turned.png").unlink()
    (index.folder / "catalog.sqlite").write_bytes(backup)
    Image.open(album / "chelsea.png").rotate(90).save(album / "other.png")
    index.update(album)
    rows = json_rows(hashcli("search", "--image", album / "other.png", "--json", "--index", index.folder))
    assert (Path(rows[0]["path"]).name, rows[0]["distance"]) == ("other.png", 0)


def test_an_index_of_version_1_that_was_made_from_a_later_one(index: IndexFolder) -> None:
    """By hand, with a table renamed, which SQLite notes with quotes, and with later tables still there."""
    rows = index.rows()
    to_version(1, index.folder)
    with sqlite3.connect(index.folder / "catalog.sqlite") as db:
        db.executescript(
            """
            ALTER TABLE items RENAME TO others; ALTER TABLE others RENAME TO items;
            CREATE TABLE excludes (number INTEGER PRIMARY KEY, pattern TEXT NOT NULL UNIQUE);
            """
        )
    assert index.update() == {"unchanged": ALL}
    assert index.rows() == rows


def test_an_older_index_is_migrated_without_encoding(index: IndexFolder) -> None:
    index.plant_codes("path LIKE '%brick.png'")
    before = index.rows()
    to_version(1, index.folder)
    assert index.update() == {"unchanged": ALL}
    assert index.report.stages == [[ALL, ALL]]  # each photo is read once more
    assert index.rows() == before
    assert index.update() == {"unchanged": ALL}
    assert index.report.stages == [[0, 0]]


def test_an_index_of_version_2_reads_the_metadata_of_its_photos_once_more(index: IndexFolder, album: Path) -> None:
    (album / "chelsea.txt").write_text("a cat")
    index.update()
    index.plant_codes("path LIKE '%brick.png'")
    before = index.rows()
    to_version(2, index.folder)
    assert index.update() == {"unchanged": ALL, "texts_unchanged": 1}
    assert index.report.migrations == [2]
    assert index.report.stages == [[ALL, ALL]]
    assert index.rows() == before
    assert index.update() == {"unchanged": ALL, "texts_unchanged": 1}
    assert index.report.stages == [[0, 0]]
    assert index.sql("SELECT count(*) FROM items WHERE ctime_ns IS NULL") == [(0,)]  # recorded, from now on


@pytest.mark.parametrize("version", [3, 4])
def test_an_older_index_learns_where_photos_were_taken_without_encoding(
    new_index: IndexFolder, tmp_path: Path, version: int
) -> None:
    (tmp_path / "p").mkdir()
    photo = Image.open(SKIMAGE / "rocket.jpg").resize((90, 60))
    photo.info.clear()
    photo.save(tmp_path / "p" / "a.jpg", exif=gps((48, 51, 24), "N", (2, 21, 8), "E"))
    assert new_index.update(tmp_path / "p") == {"added": 1}
    places = "SELECT latitude, longitude FROM items"
    assert (before := new_index.sql(places)) == [(488_566_667, 23_522_222)]
    new_index.plant_codes()
    to_version(version, new_index.folder)
    with Index(new_index.folder) as index:  # as it is
        index.catalog.check_rows()
        assert index.info().photos == 1
    assert new_index.update() == {"unchanged": 1}
    assert new_index.report.migrations == [version]
    assert new_index.sql(places) == before
    assert new_index.planted() == ["p/a.jpg"]
    assert new_index.update() == {"unchanged": 1}
    assert new_index.report.stages == [[0, 0]]


# --- forgetting ---


def test_forget_drops_photos_and_roots_and_keeps_the_files(index: IndexFolder, album: Path, tmp_path: Path) -> None:
    assert forget(index.folder, [str(album / "trip")]) == (2, 0)
    assert forget(index.folder, [str(album / "trip")]) == (0, 0)
    assert forget(index.folder, [str(album)]) == (ALL - 2, 0)
    assert index.rows() == []
    assert indexed_paths(index.folder) == []
    assert (album / "coffee.png").exists()
    with pytest.raises(IndexNotFoundError, match="There is no index in") as raised:
        forget(tmp_path / "none", [str(album)])
    assert raised.value.index_folder == tmp_path / "none"
    assert not (tmp_path / "none").exists()


def test_what_was_forgotten_comes_back_only_if_it_is_named(index: IndexFolder, album: Path) -> None:
    (album / "coffee.txt").write_text("a cup")
    index.update()
    assert forget(index.folder, [str(album / "trip"), str(album / "coffee.png")]) == (3, 1)
    assert index.update() == {"unchanged": ALL - 3}
    with index.read() as catalog:
        assert catalog.forgotten() == [str(album / "coffee.png"), str(album / "trip")]
    assert index.update(album / "trip" / "moon.png") == {"added": 1}
    assert index.update() == {"unchanged": ALL - 2}
    assert index.update(album / "trip") == {"added": 1, "unchanged": 1}
    assert index.update(album / "coffee.png") == {"added": 1}
    assert index.update() == {"unchanged": ALL, "texts_added": 1}
    with index.read() as catalog:
        assert catalog.forgotten() == []
    forget(index.folder, [str(album / "trip")])
    assert index.update(album)["added"] == 2  # the folder that it is in is named
    forget(index.folder, [str(album)])
    assert index.update(album) == {"added": ALL, "texts_added": 1}  # nothing is remembered of a root that was dropped


# --- what is left out ---


def test_photos_that_are_left_out_leave_the_index_and_come_back(index: IndexFolder, album: Path) -> None:
    (album / "coffee.txt").write_text("a cup")
    index.update()
    assert index.update(exclude=("trip", "coffee.*")) == {"unchanged": ALL - 3, "removed": 3, "texts_removed": 1}
    assert index.report.left_out_counts == [4]
    assert index.update(album) == {"unchanged": ALL - 3}  # remembered
    assert index.report.left_out_counts == []
    assert index.update(album / "coffee.png") == {"skipped": 1}
    assert index.report.skips == [(str(album / "coffee.png"), "left out by the pattern coffee.*")]
    (album / "trip" / ".hashcliignore").write_text("moon.png\n")
    assert index.update(include=("trip", "coffee.*")) == {"unchanged": ALL - 3, "added": 2, "texts_added": 1}
    (album / "trip" / ".hashcliignore").unlink()
    assert index.update() == {"unchanged": ALL - 1, "added": 1, "texts_unchanged": 1}


def test_thumbnails_that_an_older_hashcli_has_indexed_leave_the_index(index: IndexFolder, album: Path) -> None:
    (album / "@eaDir").mkdir()
    (album / "coffee.png").rename(album / "@eaDir" / "SYNOPHOTO_THUMB_M.png")
    index.sql("UPDATE items SET path = 'photos/@eaDir/SYNOPHOTO_THUMB_M.png' WHERE path LIKE '%coffee.png'")
    index.set_check_values()
    assert index.update() == {"removed": 1, "unchanged": ALL - 1}
    assert index.update(album / "@eaDir") == {"added": 1}  # unless the folder is named
    assert index.update() == {"unchanged": ALL}


# --- edits that keep the time ---


def test_an_edit_that_keeps_size_and_time_is_seen(index: IndexFolder, album: Path) -> None:
    photo, before = album / "coffee.png", (album / "coffee.png").stat()
    content = bytearray(photo.read_bytes())
    content[-20] ^= 1  # in a checksum at the end of a PNG, which decoders pass over
    photo.write_bytes(content)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert index.update()["unchanged"] == ALL - 1
    assert index.report.stages[0] == [1, 1]


def test_files_restored_from_a_backup_are_read_and_not_encoded(index: IndexFolder, album: Path) -> None:
    shutil.copytree(album, album.with_name("backup"))
    shutil.rmtree(album)
    album.with_name("backup").rename(album)
    index.plant_codes()
    assert index.update() == {"unchanged": ALL}
    assert index.report.stages == [[ALL, ALL]]
    assert len(index.planted()) == ALL
    assert index.update() == {"unchanged": ALL}
    assert index.report.stages == [[0, 0]]


def test_check_content_reads_every_file(index: IndexFolder, album: Path) -> None:
    """For file systems on which an edit may change neither size nor times."""
    with Image.open(album / "chelsea.png") as photo:
        photo.rotate(180).save(album / "chelsea.png")
    state = FileState.of((album / "chelsea.png").stat())
    index.sql("UPDATE items SET size = ?, mtime_ns = ?, ctime_ns = ? WHERE path LIKE '%chelsea.png'", *state[:3])
    index.plant_codes()
    assert index.update() == {"unchanged": ALL}
    assert index.update(check_content=True) == {"unchanged": ALL - 1, "updated": 1}
    assert len(index.planted()) == ALL - 1


# --- the summary ---


def test_a_summary_says_whether_anything_changed() -> None:
    assert not UpdateSummary(unchanged=3, texts_unchanged=2, skipped=[("a", "b")]).changed()
    assert UpdateSummary(texts_moved=1).changed()
    assert UpdateSummary(added=1, skipped=[("a", "b")]).counts()["skipped"] == 1
    assert list(UpdateSummary().counts())[-1] == "skipped"


def test_an_interrupt_keeps_what_was_committed(index: IndexFolder, album: Path) -> None:
    """Also the derived files are of what is in the catalog then."""
    for number in range(40):
        Image.new("RGB", (9, 9), (number * 6, 0, 0)).save(album / f"new{number:02}.png")

    class Interrupting(type(index.report)):  # type: ignore[misc]
        def advanced(self, count: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update(index.folder, [str(album)], UpdateOptions(), Interrupting())
    assert len(index.rows()) == ALL + 16
    before = (index.folder / "images.ids.npy").read_bytes()
    with sqlite3.connect(index.folder / "catalog.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert PLANTED not in index.codes().values()
    assert index.update(album) == {"added": 24, "unchanged": ALL + 16}
    assert len((index.folder / "images.ids.npy").read_bytes()) == len(before) + 24 * 4


def test_an_index_that_is_deleted_while_it_is_written_is_lost_and_not_called_safe(
    index: IndexFolder, album: Path
) -> None:
    class Deleting(UpdateCallback):
        def planned(self, count: int) -> None:
            shutil.rmtree(index.folder)

    shutil.copy(album / "coffee.png", album / "new.png")
    with pytest.raises(IndexGoneError, match="was deleted or moved while it was being written") as raised:
        update(index.folder, [], callback=Deleting())
    assert raised.value.index_folder == index.folder
    assert not index.folder.exists()
