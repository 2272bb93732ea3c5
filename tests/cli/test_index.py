"""hashcli index, through the command on real files."""

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import PHOTOS, Run, json_rows, make_tiny_model

not_as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")


@pytest.fixture
def index(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> Path:
    """An index of the photos, made with the tiny model."""
    hashcli("index", photos, "--index", tmp_path / "ix", "--model", tiny_model)
    return tmp_path / "ix"


def update(hashcli: Run, index: Path, *arguments: object, status: int = 0) -> dict[str, int]:
    """Run `hashcli index --json`; returns the counts that are not zero."""
    (row,) = json_rows(hashcli("index", *arguments, "--index", index, "--json", status=status))
    return {name: count for name, count in row.items() if count}


def rows(index: Path) -> list[tuple[object, ...]]:
    """Everything in the catalog that does not depend on when it was written."""
    with sqlite3.connect(index / "catalog.sqlite") as db:
        return db.execute("SELECT kind, path, size, mtime_ns, hash, code FROM items ORDER BY path").fetchall()


def count_rows(index: Path) -> int:
    """How many photos are in a catalog that may not be there yet."""
    try:
        return len(rows(index))
    except sqlite3.OperationalError:
        return 0


def codes_by_name(index: Path) -> dict[str, bytes]:
    return {Path(str(row[1])).name: bytes(row[5]) for row in rows(index)}  # type: ignore[call-overload]


def test_first_run_then_nothing_to_do(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = hashcli("index", photos, "--index", tmp_path / "ix", "--model", tiny_model)
    assert done.stdout == ""
    assert done.stderr == f"{len(PHOTOS)} added, 0 skipped\n"
    assert update(hashcli, tmp_path / "ix", photos) == {"unchanged": len(PHOTOS)}
    assert update(hashcli, tmp_path / "ix") == {"unchanged": len(PHOTOS)}  # everything indexed before


def test_new_changed_moved_and_deleted_files(hashcli: Run, photos: Path, index: Path) -> None:
    before = codes_by_name(index)
    shutil.copy(photos / "coffee.png", photos / "new.png")
    Image.open(photos / "chelsea.png").rotate(180).save(photos / "chelsea.png")
    (photos / "brick.png").rename(photos / "trip" / "wall.png")
    (photos / "coins.png").unlink()
    counts = update(hashcli, index, photos)
    assert counts == {"added": 1, "updated": 1, "moved": 1, "removed": 1, "unchanged": len(PHOTOS) - 3}
    after = codes_by_name(index)
    assert after["wall.png"] == before["brick.png"]
    assert after["new.png"] == before["coffee.png"]
    assert after["chelsea.png"] != before["chelsea.png"]
    assert "coins.png" not in after


def test_a_moved_file_is_not_encoded_again(hashcli: Run, photos: Path, index: Path) -> None:
    """Its catalog row is kept, with a code planted there that no encoder would give."""
    with sqlite3.connect(index / "catalog.sqlite") as db:
        db.execute("UPDATE items SET code = ? WHERE path LIKE '%brick.png'", (bytes(8),))
    (photos / "brick.png").rename(photos / "trip" / "wall.png")
    shutil.copy(photos / "trip" / "wall.png", photos / "again.png")
    assert update(hashcli, index, photos)["moved"] == 1
    codes = codes_by_name(index)
    assert codes["wall.png"] == codes["again.png"] == bytes(8)


def test_a_folder_renamed_whole(hashcli: Run, photos: Path, index: Path) -> None:
    (photos / "trip").rename(photos / "voyage")
    assert update(hashcli, index, photos) == {"moved": 2, "unchanged": len(PHOTOS) - 2}


def test_a_renamed_folder_with_the_same_photo_twice(hashcli: Run, photos: Path, index: Path) -> None:
    shutil.copy(photos / "trip" / "moon.png", photos / "trip" / "moon again.png")
    update(hashcli, index, photos)
    (photos / "trip").rename(photos / "voyage")
    assert update(hashcli, index, photos) == {"moved": 3, "unchanged": len(PHOTOS) - 2}


def test_a_new_time_alone_encodes_nothing(hashcli: Run, photos: Path, index: Path) -> None:
    os.utime(photos / "coffee.png")
    assert update(hashcli, index, photos) == {"unchanged": len(PHOTOS)}
    assert hashcli("index", photos, "--index", index, "--dry-run").stdout == ""  # the new time is known by now


def test_dry_run_tells_and_does_nothing(hashcli: Run, photos: Path, index: Path) -> None:
    before = rows(index)
    shutil.copy(photos / "coffee.png", photos / "new.png")
    (photos / "brick.png").rename(photos / "wall.png")
    (photos / "coins.png").unlink()
    done = hashcli("index", photos, "--index", index, "--dry-run")
    assert sorted(done.stdout.splitlines()) == [
        f"add\t{photos / 'new.png'}",
        f"move\t{photos / 'brick.png'} -> {photos / 'wall.png'}",
        f"remove\t{photos / 'coins.png'}",
    ]
    changes = json_rows(hashcli("index", photos, "--index", index, "--dry-run", "--json"))
    assert {"action": "add", "path": str(photos / "new.png")} in changes
    assert rows(index) == before


def test_dry_run_without_an_index_makes_none(hashcli: Run, photos: Path, tmp_path: Path) -> None:
    done = hashcli("index", photos, "--index", tmp_path / "none", "--dry-run")
    assert len(done.stdout.splitlines()) == len(PHOTOS)
    assert not (tmp_path / "none").exists()


def test_a_broken_photo_is_named_and_the_rest_is_indexed(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (photos / "cut.jpg").write_bytes((photos / "trip" / "rocket.jpg").read_bytes()[:20_000])
    (photos / "notes.png").write_text("buy milk")
    done = hashcli("index", photos, "--index", tmp_path / "ix", "--model", tiny_model, status=3)
    assert f"skipped {photos / 'cut.jpg'}: " in done.stderr
    assert f"skipped {photos / 'notes.png'}: not an image that can be read\n" in done.stderr
    assert done.stderr.endswith(f"{len(PHOTOS)} added, 2 skipped\n")


def test_photos_whose_extra_is_missing_are_counted_and_kept(
    hashcli: Run, photos: Path, index: Path, tmp_path: Path
) -> None:
    """The second run is without the libraries of the extras."""
    for number in range(3):
        shutil.copy(photos / "coffee.png", photos / f"camera{number}.NEF")
    with sqlite3.connect(index / "catalog.sqlite") as db:  # as if it had been encoded where they are
        db.execute("UPDATE items SET path = 'photos/camera2.NEF' WHERE path = 'photos/coffee.png'")
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text("import sys\nsys.modules['rawpy'] = None\n")
    done = hashcli("index", "--index", index, PYTHONPATH=str(tmp_path / "without"), status=3)
    assert done.stderr == (
        f"skipped {photos / 'camera0.NEF'}: RAW needs an extra: pip install 'hashcli[raw]'\n"
        "skipped 2 more: RAW needs an extra: pip install 'hashcli[raw]'\n"
        f"1 added, {len(PHOTOS) - 1} unchanged, 3 skipped\n"
    )
    assert "camera2.NEF" in codes_by_name(index)


def test_a_photo_that_is_damaged_later_leaves_the_index(hashcli: Run, photos: Path, index: Path) -> None:
    (photos / "coffee.png").write_bytes(b"")
    assert update(hashcli, index, photos, status=3) == {"unchanged": len(PHOTOS) - 1, "removed": 1, "skipped": 1}
    assert "coffee.png" not in codes_by_name(index)


def test_a_list_on_stdin(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    arguments = ("index", "-", "--index", tmp_path / "ix", "--model", tiny_model, "--json")
    listed = [photos / "coffee.png", photos / "chelsea.png"]
    (row,) = json_rows(hashcli(*arguments, stdin="".join(f"{path}\n" for path in listed)))
    assert row["added"] == 2
    (row,) = json_rows(hashcli(*arguments, stdin="".join(f"{path}\0" for path in [*listed, photos / "trip"])))
    assert (row["added"], row["unchanged"]) == (2, 2)
    (photos / "coffee.png").unlink()
    assert update(hashcli, tmp_path / "ix") == {"removed": 1, "unchanged": 3}


def test_an_empty_list_on_stdin_is_done(hashcli: Run, photos: Path, index: Path) -> None:
    for more in ((), ("--dry-run",), ("--forget",)):
        assert hashcli("index", "-", *more, "--index", index, stdin="").stderr == "No path was listed on stdin.\n"
    (row,) = json_rows(hashcli("index", "-", "--index", index, "--json", stdin="\n"))
    assert set(row.values()) == {0}
    assert len(rows(index)) == len(PHOTOS)
    assert (
        hashcli("index", "-", "--index", index.with_name("none"), stdin="").stderr == "No path was listed on stdin.\n"
    )
    assert not index.with_name("none").exists()


def test_an_index_has_a_folder_of_its_own(hashcli: Run, photos: Path, tiny_model: Path) -> None:
    before = sorted(photos.rglob("*"))
    done = hashcli("index", "--index", photos, photos, "--model", tiny_model, status=1)
    assert f"{photos} is no index, and holds other files, {min(PHOTOS)} for one." in done.stderr
    assert str(photos / ".hashcli") in done.stderr
    assert sorted(photos.rglob("*")) == before
    (photos / "empty").mkdir()
    (photos / "empty" / "lock").touch()  # of a run that was killed before it made the catalog
    hashcli("index", "--index", photos / "empty", photos, "--model", tiny_model)


def test_names_with_spaces_newlines_and_bytes_that_are_not_utf8(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    names = [b"a b.png", b"two\nlines.png", b"red\x1b[31m.png", "höhe 日本.png".encode(), b"latin-\xe9.png"]
    for shade, name in enumerate(names):
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            Image.new("RGB", (9, 9), (50 * shade,) * 3).save(file, "PNG")
    assert update(hashcli, tmp_path / "ix", folder, "--model", tiny_model) == {"added": 5}
    assert update(hashcli, tmp_path / "ix", folder) == {"unchanged": 5}
    assert len(hashcli("search", "cat", "--index", tmp_path / "ix").stdout.splitlines()) == 5
    rows = json_rows(hashcli("search", "cat", "--json", "--index", tmp_path / "ix"))
    assert sorted(os.path.basename(os.fsencode(row["path"])) for row in rows) == sorted(names)
    program = [sys.executable, "-m", "hashcli", "search", "cat", "-0", "--index", str(tmp_path / "ix")]
    found = subprocess.run(program, capture_output=True, check=True).stdout
    assert sorted(found.split(b"\0")[:-1]) == sorted(os.path.join(os.fsencode(folder), name) for name in names)


def test_hidden_files_are_left_out_unless_asked_for(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (photos / ".cache").mkdir()
    shutil.copy(photos / "coffee.png", photos / ".cache" / "coffee.png")
    shutil.copy(photos / "coffee.png", photos / "._coffee.png")
    assert update(hashcli, tmp_path / "ix", photos, "--model", tiny_model) == {"added": len(PHOTOS)}
    assert update(hashcli, tmp_path / "ix", photos, "--hidden") == {"added": 2, "unchanged": len(PHOTOS)}
    assert update(hashcli, tmp_path / "ix", photos) == {"unchanged": len(PHOTOS) + 2}  # still there: kept


def test_link_loops_end_and_a_photo_is_indexed_once(
    hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (photos / "a-loop").symlink_to(photos)
    (photos / "trip" / "up").symlink_to("..")
    (photos / "a-link.png").symlink_to(photos / "coffee.png")
    (photos / "broken.png").symlink_to(photos / "nothing.png")
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(photos / "coffee.png", outside / "linked.png")
    (photos / "album").symlink_to(outside)
    assert update(hashcli, tmp_path / "ix", photos, "--model", tiny_model) == {"added": len(PHOTOS) + 1}
    paths = [str(row[1]) for row in rows(tmp_path / "ix")]
    assert "photos/album/linked.png" in paths
    assert "photos/coffee.png" in paths
    assert not any("loop" in path or "a-link" in path for path in paths)


def test_a_root_that_cannot_be_reached_keeps_its_rows(hashcli: Run, photos: Path, index: Path, tmp_path: Path) -> None:
    photos.rename(tmp_path / "unplugged")
    done = hashcli("index", "--index", index, status=3)
    assert f"{photos}: not reachable; its {len(PHOTOS)} photos are kept" in done.stderr
    assert len(rows(index)) == len(PHOTOS)
    (tmp_path / "unplugged").rename(photos)
    assert update(hashcli, index) == {"unchanged": len(PHOTOS)}


def test_an_empty_mount_point_keeps_its_rows(hashcli: Run, photos: Path, index: Path, tmp_path: Path) -> None:
    """The root is there, but empty and on another disk than the one it was on."""
    with sqlite3.connect(index / "catalog.sqlite") as db:
        db.execute("UPDATE roots SET device = device + 1")
    photos.rename(tmp_path / "unplugged")
    photos.mkdir()
    assert update(hashcli, index, status=3) == {"skipped": 1}
    assert len(rows(index)) == len(PHOTOS)


def test_an_unmounted_folder_inside_an_indexed_one_keeps_its_rows(hashcli: Run, photos: Path, index: Path) -> None:
    """The inner folder was indexed by itself too, so it is known to have been on another disk."""
    update(hashcli, index, photos / "trip")
    with sqlite3.connect(index / "catalog.sqlite") as db:
        db.execute("UPDATE roots SET device = device + 1 WHERE path LIKE '%trip'")
    for photo in list((photos / "trip").iterdir()):
        photo.unlink()
    done = hashcli("index", photos, "--index", index, status=3)
    assert f"skipped {photos / 'trip'}: not reachable; its 2 photos are kept" in done.stderr
    assert len(rows(index)) == len(PHOTOS)


def test_a_deleted_folder_that_was_indexed_by_itself_is_let_go(hashcli: Run, photos: Path, index: Path) -> None:
    update(hashcli, index, photos / "trip")
    shutil.rmtree(photos / "trip")
    assert update(hashcli, index, photos) == {"removed": 2, "unchanged": len(PHOTOS) - 2}
    assert update(hashcli, index) == {"unchanged": len(PHOTOS) - 2}


def test_an_emptied_folder_is_believed(hashcli: Run, photos: Path, index: Path) -> None:
    shutil.rmtree(photos)
    photos.mkdir()
    assert update(hashcli, index) == {"removed": len(PHOTOS)}


def test_forget_drops_a_root_and_keeps_the_files(hashcli: Run, photos: Path, index: Path) -> None:
    (row,) = json_rows(hashcli("index", "--forget", photos / "trip", "--index", index, "--json"))
    assert row == {"removed": 2, "texts_removed": 0}
    again = hashcli("index", "--forget", photos / "trip", "--index", index, status=1)
    assert "holds no photos or texts of that name" in again.stderr
    hashcli("index", "--forget", photos, "--index", index)
    assert rows(index) == []
    assert "Nothing is indexed" in hashcli("index", "--index", index).stderr
    assert (photos / "coffee.png").exists()
    done = hashcli("index", "--forget", photos, "--index", index.with_name("none"), status=1)
    assert "There is no index in" in done.stderr


def test_forget_drops_a_linked_folder_by_its_link(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    (photos / "trip").rename(tmp_path / "elsewhere")
    (photos / "link").symlink_to(tmp_path / "elsewhere")
    update(hashcli, tmp_path / "ix", photos, "--model", tiny_model)
    (row,) = json_rows(hashcli("index", "--forget", "photos/link", "--index", tmp_path / "ix", "--json"))
    assert row == {"removed": 2, "texts_removed": 0}
    assert len(rows(tmp_path / "ix")) == len(PHOTOS) - 2


@not_as_root
def test_an_unreadable_folder_is_named_and_keeps_its_rows(hashcli: Run, photos: Path, index: Path) -> None:
    (photos / "trip").chmod(0)
    try:
        done = hashcli("index", photos, "--index", index, status=3)
    finally:
        (photos / "trip").chmod(0o755)
    assert f"skipped {photos / 'trip'}: permission denied" in done.stderr
    assert len(rows(index)) == len(PHOTOS)


def test_paths_that_are_not_there(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    done = hashcli("index", "nowhere", "--index", tmp_path / "ix", "--model", tiny_model, status=1)
    assert "no such file or folder" in done.stderr
    assert not (tmp_path / "ix").exists()
    hashcli("index", photos, "--index", tmp_path / "ix", "--model", "nosuch", status=1)
    assert not (tmp_path / "ix").exists()
    done = hashcli("index", "nowhere", photos, "--index", tmp_path / "ix", "--model", tiny_model, status=3)
    assert f"skipped {tmp_path / 'nowhere'}: no such file or folder" in done.stderr
    os.mkfifo(tmp_path / "pipe.jpg")
    done = hashcli("index", tmp_path / "pipe.jpg", "--index", tmp_path / "ix", status=3)
    assert "not a file or a folder" in done.stderr


def test_an_empty_folder_is_fine(hashcli: Run, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert update(hashcli, tmp_path / "ix", tmp_path / "empty", "--model", tiny_model) == {}
    assert "No photos were found there." in hashcli("index", "--index", tmp_path / "ix", tmp_path / "empty").stderr


def test_no_path_and_no_index_is_a_usage_error(hashcli: Run, tmp_path: Path) -> None:
    done = hashcli("index", "--index", tmp_path / "ix", status=2)
    assert f"hashcli index --index {tmp_path / 'ix'} ~/Pictures" in done.stderr
    assert not (tmp_path / "ix").exists()


def test_codes_of_two_models_never_mix(hashcli: Run, photos: Path, index: Path, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other", seed=1)
    before = codes_by_name(index)
    done = hashcli("index", photos, "--index", index, "--model", other, status=1)
    assert f"--rehash --model {other}" in done.stderr
    assert codes_by_name(index) == before
    assert update(hashcli, index, "--rehash", "--model", other) == {"updated": len(PHOTOS)}
    assert all(code != before[name] for name, code in codes_by_name(index).items())
    assert update(hashcli, index) == {"unchanged": len(PHOTOS)}


def test_rehash_of_a_part_encodes_everything(hashcli: Run, photos: Path, index: Path) -> None:
    assert update(hashcli, index, "--rehash", photos / "trip") == {"updated": len(PHOTOS)}


def test_rehash_keeps_the_codes_of_photos_that_cannot_be_reached(
    hashcli: Run, photos: Path, index: Path, tmp_path: Path
) -> None:
    photos.rename(tmp_path / "unplugged")
    assert update(hashcli, index, "--rehash", status=3) == {"skipped": 1}
    assert all(code is not None for *_, code in rows(index))


def test_a_missing_root_beside_others_keeps_its_rows(hashcli: Run, photos: Path, index: Path, tmp_path: Path) -> None:
    """Its disk is away, and the folder it was mounted in has another device number than it had."""
    update(hashcli, index, photos / "trip")
    with sqlite3.connect(index / "catalog.sqlite") as db:
        db.execute("UPDATE roots SET device = device + 1 WHERE path LIKE '%trip'")
    (photos / "trip").rename(tmp_path / "unplugged")
    assert update(hashcli, index, status=3) == {"unchanged": len(PHOTOS) - 2, "skipped": 1}
    assert len(rows(index)) == len(PHOTOS)


def test_a_photo_moved_over_another_is_not_encoded_again(hashcli: Run, photos: Path, index: Path) -> None:
    before = codes_by_name(index)
    (photos / "brick.png").replace(photos / "coins.png")
    assert update(hashcli, index, photos) == {"updated": 1, "removed": 1, "unchanged": len(PHOTOS) - 2}
    assert codes_by_name(index)["coins.png"] == before["brick.png"]


def test_a_photo_that_became_a_pipe_does_not_hang(hashcli: Run, photos: Path, index: Path) -> None:
    (photos / "brick.png").unlink()
    os.mkfifo(photos / "brick.png")
    assert update(hashcli, index, photos) == {"removed": 1, "unchanged": len(PHOTOS) - 1}


def test_a_catalog_set_back_does_not_take_newer_search_files_for_its_own(
    hashcli: Run, photos: Path, index: Path, tmp_path: Path
) -> None:
    """A backup of the catalog alone is put back, and the same number of changes are made to it again."""
    backup = (index / "catalog.sqlite").read_bytes()
    Image.open(photos / "coffee.png").rotate(90).save(photos / "turned.png")
    update(hashcli, index, photos)
    (photos / "turned.png").unlink()
    (index / "catalog.sqlite").write_bytes(backup)
    Image.open(photos / "chelsea.png").rotate(90).save(photos / "other.png")
    update(hashcli, index, photos)
    rows = json_rows(hashcli("search", "--image", photos / "other.png", "--json", "--index", index))
    assert (Path(rows[0]["path"]).name, rows[0]["distance"]) == ("other.png", 0)


def test_a_model_that_was_changed_in_place_is_refused(hashcli: Run, photos: Path, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "own", seed=1)
    hashcli("index", photos, "--index", tmp_path / "ix", "--model", model)
    shutil.rmtree(model)
    make_tiny_model(model, seed=2)
    for command in (("index", photos), ("search", "cat")):
        done = hashcli(*command, "--index", tmp_path / "ix", status=1)
        assert "cannot be compared" in done.stderr
        assert "--rehash" in done.stderr
    shutil.rmtree(model)
    done = hashcli("search", "cat", "--index", tmp_path / "ix", status=1)
    assert f"made with the hash model {model}, which is not there" in done.stderr


def test_a_damaged_model_is_refused(hashcli: Run, photos: Path, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "own", seed=1)
    with (model / "image.onnx").open("ab") as file:
        file.write(b"\0")
    done = hashcli("index", photos, "--index", tmp_path / "ix", "--model", model, status=1)
    assert "image.onnx is damaged" in done.stderr
    done = hashcli("index", photos, "--index", tmp_path / "ix", "--model", "nosuch", status=1)
    assert "There is no hash model 'nosuch'" in done.stderr


def test_a_second_writer_is_told_and_stops(hashcli: Run, photos: Path, index: Path) -> None:
    from filelock import FileLock

    with FileLock(index / "lock"):
        done = hashcli("index", photos, "--index", index, status=1)
        assert "Another hashcli is writing the index" in done.stderr
        assert hashcli("search", "cat", "--index", index).stdout  # readers are never blocked


def test_the_index_moves_with_the_photos(hashcli: Run, photos: Path, tiny_model: Path, tmp_path: Path) -> None:
    hashcli("index", photos, "--index", photos / ".hashcli", "--model", tiny_model)
    moved = tmp_path / "elsewhere" / "pictures"
    moved.parent.mkdir()
    photos.rename(moved)
    found = hashcli("search", "cat", "--paths", "-k", "100", "--index", moved / ".hashcli").stdout.splitlines()
    assert sorted(found) == sorted(str(path) for path in moved.rglob("*.*g") if path.is_file())
    assert update(hashcli, moved / ".hashcli") == {"unchanged": len(PHOTOS)}


def test_an_index_of_a_newer_hashcli_is_refused(hashcli: Run, photos: Path, index: Path) -> None:
    with sqlite3.connect(index / "catalog.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    for command in (("index", photos), ("search", "cat"), ("info",)):
        assert "newer hashcli" in hashcli(*command, "--index", index, status=1).stderr


def test_a_damaged_catalog_says_so(hashcli: Run, photos: Path, index: Path) -> None:
    (index / "catalog.sqlite").write_bytes(b"not a database, just words" * 100)
    for command in (("index", photos), ("search", "cat")):
        done = hashcli(*command, "--index", index, status=1)
        assert "is damaged" in done.stderr
        assert "Delete the index folder" in done.stderr


def test_damaged_search_files_are_healed(hashcli: Run, photos: Path, index: Path) -> None:
    answer = hashcli("search", "cat", "--index", index).stdout
    damaged = bytearray((index / "images.faiss").read_bytes())
    damaged[60] ^= 0xFF
    (index / "images.faiss").write_bytes(damaged)
    update(hashcli, index, photos)
    assert hashcli("search", "cat", "--index", index).stdout == answer
    (index / "images.ids.npy").unlink()
    assert hashcli("search", "cat", "--index", index).stdout == answer
    update(hashcli, index, photos)
    assert (index / "images.ids.npy").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small disk")
def test_a_full_disk_says_so(hashcli: Run, photos: Path, tiny_model: Path) -> None:
    done = hashcli("index", photos, "--index", "/dev/full/ix", "--model", tiny_model, status=1)
    assert "/dev/full/ix cannot be written" in done.stderr
    assert "--index" in done.stderr


@not_as_root
def test_a_read_only_index_can_be_searched_but_not_written(hashcli: Run, photos: Path, index: Path) -> None:
    index.chmod(0o555)
    try:
        assert hashcli("search", "cat", "--index", index).stdout
        done = hashcli("index", photos, "--index", index, status=1)
    finally:
        index.chmod(0o755)
    assert "cannot be used" in done.stderr
    assert "permissions" in done.stderr


@not_as_root
def test_an_index_that_was_killed_and_copied_to_a_read_only_disk_answers(
    hashcli: Run, photos: Path, index: Path, tmp_path: Path
) -> None:
    """What was written last stands in the log only, and the file that shares the log among readers was not copied."""
    shutil.copy(photos / "chelsea.png", photos / "new.png")
    with sqlite3.connect(index / "catalog.sqlite") as reader:  # keeps the log from being merged
        reader.execute("SELECT * FROM items").fetchone()
        hashcli("index", photos, "--index", index)
        (tmp_path / "copy").mkdir()
        for name in ("catalog.sqlite", "catalog.sqlite-wal"):
            shutil.copy(index / name, tmp_path / "copy")
    (tmp_path / "copy").chmod(0o555)
    try:
        found = hashcli("search", "cat", "--paths", "-k", "100", "--index", tmp_path / "copy").stdout
    finally:
        (tmp_path / "copy").chmod(0o755)
    assert len(found.splitlines()) == len(PHOTOS) + 1


def test_ctrl_c_keeps_what_is_encoded_and_says_how_to_go_on(
    tiny_model: Path, environment: dict[str, str], hashcli: Run, tmp_path: Path
) -> None:
    folder = many_photos(tmp_path / "many", 2000)
    command = [sys.executable, "-m", "hashcli", "index", str(folder), "--index", "ix", "--model", str(tiny_model)]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    while count_rows(tmp_path / "ix") < 32:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "run the same command again" in said
    assert "Traceback" not in said
    kept = len(rows(tmp_path / "ix"))
    assert 16 <= kept < 2000
    assert len(hashcli("search", "cat", "-k", "2000", "--paths", "--index", "ix").stdout.splitlines()) == kept
    assert update(hashcli, tmp_path / "ix", folder) == {"added": 2000 - kept, "unchanged": kept}


def many_photos(folder: Path, count: int) -> Path:
    """Small JPEGs, each a different piece of a real photo."""
    from tests.conftest import SKIMAGE

    folder.mkdir()
    astronaut = Image.open(SKIMAGE / "astronaut.png").convert("RGB")
    rng = np.random.default_rng(0)
    for number in range(count):
        left, top = (int(value) for value in rng.integers(0, 512 - 200, 2))
        astronaut.crop((left, top, left + 200, top + 150)).save(folder / f"piece{number:04}.jpg")
    return folder


def kill_after_commits(process: subprocess.Popen[bytes], index: Path, count: int, delay: float) -> int:
    """Kill a process that writes an index, some seconds after it has been seen to commit so many times, if it does.

    Returns how many times it has been seen to.
    """
    seen: set[object] = set()
    while process.poll() is None and len(seen) < count:
        with (
            suppress(sqlite3.OperationalError),
            sqlite3.connect(f"file:{index}/catalog.sqlite?mode=ro", uri=True) as db,
        ):
            seen |= set(db.execute("SELECT value FROM meta WHERE key = 'generation'").fetchall())
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    process.wait()
    return len(seen)


def test_kill_9_at_any_moment_loses_nothing(
    hashcli: Run, tiny_model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Kill a real process again and again, with files coming, going and moving in between; then compare with an
    index made undisturbed."""
    folder = many_photos(tmp_path / "many", 400)
    rng = np.random.default_rng(1)
    arguments = ("index", folder, "--model", tiny_model, "--index")
    command = [sys.executable, "-m", "hashcli", *map(str, arguments), "killed"]
    kills, grown = 0, set()
    for round_ in range(16):
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
        kill_after_commits(process, tmp_path / "killed", int(rng.integers(0, 6)), float(rng.uniform(0, 0.1)))
        kills += process.returncode == -9
        if (tmp_path / "killed" / "catalog.sqlite").exists():
            searched = hashcli("search", "cat", "--index", "killed", status=None)
            assert searched.returncode == 0 or "There is no index" in searched.stderr
            with sqlite3.connect(tmp_path / "killed" / "catalog.sqlite") as db:
                assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            grown.add(len(rows(tmp_path / "killed")) if searched.returncode == 0 else 0)
        chosen = [sorted(folder.iterdir())[int(i)] for i in rng.choice(400, 80, replace=False)]
        chosen[0].rename(folder / f"moved{round_}.jpg")
        shutil.copy(chosen[1], folder / f"copy{round_}.jpg")
        chosen[2].unlink()
        for changed in chosen[3:]:
            with Image.open(changed) as photo:
                photo.rotate(180).save(changed)
    assert kills >= 8
    assert len(grown - {0, 400}) >= 2  # batches were kept as they came, not all at the end
    hashcli(*arguments, "killed")
    hashcli(*arguments, "undisturbed")
    assert rows(tmp_path / "killed") == rows(tmp_path / "undisturbed")
    assert len(rows(tmp_path / "killed")) == 400
    distances = [
        [row["distance"] for row in json_rows(hashcli("search", "cat", "--json", "--index", index))]
        for index in ("killed", "undisturbed")
    ]
    assert distances[0] == distances[1]


def test_a_search_while_indexing_answers(
    hashcli: Run, tiny_model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = many_photos(tmp_path / "many", 1000)
    command = [sys.executable, "-m", "hashcli", "index", str(folder), "--index", "ix", "--model", str(tiny_model)]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    answered = 0
    while process.poll() is None:
        done = hashcli("search", "cat", "--index", "ix", status=None)
        assert done.returncode == 0 or "There is no index" in done.stderr or "is empty" in done.stderr
        answered += bool(done.stdout)
    assert process.returncode == 0
    assert answered >= 1


def test_files_of_an_index(index: Path) -> None:
    """What the design names, and nothing else that stays behind."""
    names = {path.name for path in index.iterdir()}
    assert (
        {"catalog.sqlite", "images.faiss", "images.ids.npy"}
        <= names
        <= {
            "catalog.sqlite",
            "images.faiss",
            "images.ids.npy",
            "lock",
        }
    )
    assert not stat.S_IMODE((index / "catalog.sqlite").stat().st_mode) & 0o111


# The catalog's tables as version 0.1.0 made them.
VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE roots (path TEXT PRIMARY KEY, device INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    path TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    hash BLOB NOT NULL,
    text TEXT,
    code BLOB
);
INSERT INTO meta SELECT * FROM new.meta;
INSERT INTO roots SELECT * FROM new.roots;
INSERT INTO items SELECT id, kind, path, size, mtime_ns, hash, text, code FROM new.items;
PRAGMA user_version = 1;
"""


def to_version_1(index: Path) -> None:
    """Make the catalog anew as an older hashcli would have made it."""
    db = sqlite3.connect(index / "old.sqlite", isolation_level=None)
    db.execute("ATTACH ? AS new", (str(index / "catalog.sqlite"),))
    db.executescript(VERSION_1)
    db.close()
    for file in index.glob("catalog.sqlite*"):
        file.unlink()
    (index / "old.sqlite").rename(index / "catalog.sqlite")


def test_an_index_of_an_older_hashcli_answers_and_is_brought_up_to_date(
    hashcli: Run, photos: Path, index: Path
) -> None:
    with sqlite3.connect(index / "catalog.sqlite") as db:  # a code no encoder would give: nothing is encoded again
        db.execute("UPDATE items SET code = ? WHERE path LIKE '%brick.png'", (bytes(8),))
    (index / "images.faiss").unlink()  # made without that code
    before, answer = rows(index), hashcli("search", "cat", "--index", index).stdout
    to_version_1(index)
    assert hashcli("search", "cat", "--index", index).stdout == answer
    assert hashcli("info", "--index", index).stdout
    assert update(hashcli, index) == {"unchanged": len(PHOTOS)}
    assert rows(index) == before
    assert update(hashcli, index) == {"unchanged": len(PHOTOS)}
    assert hashcli("search", "cat", "--index", index).stdout == answer
