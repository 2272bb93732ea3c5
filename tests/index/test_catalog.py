"""The catalog: its transactions, paths that move with it, and catalogs that are missing, damaged, older or newer."""

import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from hashcli.errors import HashcliError
from hashcli.index.catalog import Catalog, FileState, FilterFields, IndexedFile, IndexedModel, Item, Kind, PhotoFacts
from hashcli.index.catalog_file import (
    CHECKED_COLUMNS,
    TO_BE_READ,
    DamagedIndexError,
    DamagedRowsError,
    IndexNotFoundError,
    UnusableIndexFolderError,
    check_value,
)
from hashcli.index.files.text_files import Text
from tests.index.indexing import to_version

not_as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
MODEL = IndexedModel("tiny", "0123", 16)
STATE, HASH, CODE = FileState(1000, 2_000_000_000, 3_000_000_000), bytes(range(16)), np.array([1, 2], np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ix"


def make_catalog(folder: Path, *names: str) -> None:
    """With photos of these names beside the index folder."""
    with Catalog.create_or_open(folder) as catalog:
        catalog.set_model(MODEL)
        with catalog.changing_items():
            for name in names:
                catalog.add_photo(str(folder.parent / name), STATE, HASH, CODE, PhotoFacts(7))


def test_ctrl_c_while_a_check_value_is_computed_is_no_error_of_the_database(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*columns: object) -> int:
        raise KeyboardInterrupt

    for module in ("catalog", "catalog_file"):
        monkeypatch.setattr(f"hashcli.index.{module}.check_value", stopped)
    with pytest.raises(KeyboardInterrupt):
        make_catalog(folder, "a.jpg")


def test_what_is_put_in_comes_out(folder: Path, tmp_path: Path) -> None:
    make_catalog(folder, "a.jpg")
    with Catalog.create_or_open(folder) as catalog, catalog.changing_items():
        catalog.set_root(str(tmp_path), 5)
        photo, sidecar, captions = (str(tmp_path / name) for name in ("a.jpg", "a.txt", "/elsewhere/c.csv"))
        catalog.set_texts(photo, STATE, HASH, [(Text(None, "inside", photo), None)])
        catalog.set_texts(sidecar, STATE, HASH, [(Text(1, "beside", photo), bytes(2))])
        catalog.set_texts(captions, STATE, HASH, [(Text(2, "a list", photo), bytes(2))])
    with Catalog.open(folder) as catalog:
        assert catalog.model == MODEL
        assert catalog.roots() == {str(tmp_path): 5}
        assert dict(catalog.photos()) == {photo: IndexedFile(1, STATE, HASH, encoded=True)}
        files = {sidecar: IndexedFile(3, STATE, HASH, True, photo), captions: IndexedFile(4, STATE, HASH, True)}
        assert dict(catalog.files()) == dict(catalog.photos()) | files  # only a sidecar belongs to one photo
        assert (catalog.count(Kind.IMAGE), catalog.count(Kind.TEXT)) == (1, 2)
        assert (catalog.count_all_texts(), catalog.count_waiting()) == (3, 1)
        assert catalog.count_texts() == {"captions files": 1, "photos": 0, "sidecars": 1}
        ids, codes = catalog.codes(Kind.IMAGE)
        assert (ids.tolist(), codes.tolist()) == ([1], [[1, 2]])
        assert catalog.items([1, 3, 99]) == {
            1: Item(photo, None, None, None, 7, None, STATE.mtime_ns, CODE.tobytes(), HASH),
            3: Item(sidecar, "beside", 1, photo, None, None, STATE.mtime_ns, bytes(2), HASH),
        }
        of_photo = FilterFields("a.jpg", 7, STATE.mtime_ns)
        assert list(catalog.filter_fields(Kind.IMAGE)) == [of_photo]
        assert list(catalog.filter_fields(Kind.TEXT)) == [of_photo, of_photo]
        assert (catalog.rows_of(Kind.TEXT, photo), catalog.rows_of(Kind.TEXT, captions)) == ([0, 1], [])
        with catalog.snapshot():
            assert catalog.texts(photo) == [("inside", None)]


def test_paths_below_the_folder_of_the_index_move_with_it(tmp_path: Path) -> None:
    make_catalog(tmp_path / "one" / "ix", "a.jpg", "../outside.jpg")
    with Catalog.create_or_open(tmp_path / "one" / "ix") as catalog, catalog.transaction():
        catalog.set_root(str(tmp_path / "one"), 5)
        catalog.set_root("/elsewhere", 5)
    (tmp_path / "one").rename(tmp_path / "two")
    with Catalog.open(tmp_path / "two" / "ix") as catalog:
        assert str(tmp_path / "two" / "a.jpg") in dict(catalog.photos())
        assert catalog.roots() == {str(tmp_path / "two"): 5, "/elsewhere": 5}


def test_which_of_some_paths_are_of_photos(folder: Path, tmp_path: Path) -> None:
    names = ["a.jpg", "\u00e4.jpg", os.fsdecode(b"\xe4.jpg"), "/elsewhere/\u00e4.jpg"]
    make_catalog(folder, *names)
    with Catalog.create_or_open(folder) as catalog:
        with catalog.changing_items():
            catalog.set_texts(str(tmp_path / "b.txt"), STATE, HASH, [(Text(1, "a dog", None), None)])
        photos = {str(folder.parent / name) for name in names}
        others = {str(tmp_path / "b.txt"), str(tmp_path / "gone.jpg"), "a.jpg"}
        assert catalog.indexed_photos(photos | others) == photos
        assert catalog.indexed_photos([]) == set()


def test_what_is_left_out_comes_out_in_its_order(folder: Path, tmp_path: Path) -> None:
    make_catalog(folder)
    odd = os.path.join(tmp_path, os.fsdecode(b"caf\xe9"))
    with Catalog.create_or_open(folder) as catalog, catalog.transaction():
        catalog.set_excludes(["z", "!a", "b"])
        catalog.set_forgotten([odd, "/elsewhere/a.jpg"])
    with Catalog.open(folder) as catalog:
        assert catalog.excludes() == ["z", "!a", "b"]
        assert sorted(catalog.forgotten()) == sorted([odd, "/elsewhere/a.jpg"])


def test_a_part_of_a_transaction_is_undone_alone(folder: Path) -> None:
    make_catalog(folder, "a.jpg", "b.jpg")
    with Catalog.create_or_open(folder) as catalog:
        with catalog.changing_items():
            catalog.remove([1])
            with suppress(OverflowError), catalog.part():
                catalog.remove([2])
                catalog.add_photo("/c.jpg", FileState(2**70, 0), HASH, CODE)
        assert [photo.id for _, photo in catalog.photos()] == [2]


def test_a_transaction_is_all_or_nothing(folder: Path) -> None:
    make_catalog(folder, "a.jpg")
    with Catalog.create_or_open(folder) as catalog:
        before = catalog.generation
        with suppress(KeyboardInterrupt), catalog.changing_items():
            catalog.remove([1])
            raise KeyboardInterrupt
        assert (catalog.count(Kind.IMAGE), catalog.generation) == (1, before)
        with catalog.changing_items():
            catalog.remove([1])
        assert catalog.count(Kind.IMAGE) == 0
        assert catalog.generation != before


def test_another_model_drops_every_code(folder: Path) -> None:
    make_catalog(folder, "a.jpg", "b.jpg")
    with Catalog.create_or_open(folder) as catalog:
        before = catalog.generation
        catalog.set_model(IndexedModel("other", "4567", 32))
        assert (catalog.count(Kind.IMAGE), catalog.count_waiting()) == (0, 2)
        assert catalog.generation != before
        assert catalog.codes(Kind.IMAGE)[1].shape == (0, 4)


def test_a_snapshot_does_not_see_what_is_written_meanwhile(folder: Path) -> None:
    make_catalog(folder, "a.jpg")
    with Catalog.open(folder) as reader, Catalog.create_or_open(folder) as writer:
        with reader.snapshot():
            assert reader.count(Kind.IMAGE) == 1
            with writer.changing_items():
                writer.remove([1])
            assert reader.count(Kind.IMAGE) == 1
        assert reader.count(Kind.IMAGE) == 0


def test_there_is_no_index(folder: Path) -> None:
    with pytest.raises(IndexNotFoundError, match="There is no index in") as raised:
        Catalog.open(folder)
    assert raised.value.index_folder == folder
    folder.mkdir()
    (folder / "catalog.sqlite").touch()  # its first writer was killed before it made the tables
    with pytest.raises(IndexNotFoundError):
        Catalog.open(folder)
    with pytest.raises(IndexNotFoundError, match=r"Did you mean .*ix\?"):
        Catalog.open(folder.with_name("ixx"))


@pytest.mark.parametrize("open_catalog", [Catalog.open, Catalog.create_or_open])
def test_a_damaged_catalog(folder: Path, open_catalog: type[Catalog]) -> None:
    folder.mkdir()
    (folder / "catalog.sqlite").write_bytes(b"not a database, just words" * 100)
    with pytest.raises(DamagedIndexError, match="is damaged") as raised:
        open_catalog(folder)  # type: ignore[call-arg, arg-type]
    assert raised.value.index_folder == folder
    assert "hashcli" not in raised.value.remedy


@pytest.mark.parametrize("open_catalog", [Catalog.open, Catalog.create_or_open])
def test_a_catalog_of_a_newer_hashcli(folder: Path, open_catalog: type[Catalog]) -> None:
    make_catalog(folder)
    with sqlite3.connect(folder / "catalog.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(HashcliError, match="newer hashcli"):
        open_catalog(folder)  # type: ignore[call-arg, arg-type]


def test_a_folder_where_none_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnusableIndexFolderError, match="cannot be used"):
        Catalog.create_or_open(tmp_path / "file" / "ix")


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_an_older_catalog_is_read_as_it_is_and_migrated_by_a_writer(folder: Path, tmp_path: Path, version: int) -> None:
    make_catalog(folder, "a.jpg")
    to_version(version, folder)
    path = str(tmp_path / "a.jpg")
    content = (folder / "catalog.sqlite").read_bytes()
    taken, mtime_ns = (None, 0) if version == 1 else (7, STATE.mtime_ns)
    with Catalog.open(folder) as catalog:
        assert catalog.items([1]) == {
            1: Item(path, None, None, None, taken, None, STATE.mtime_ns, CODE.tobytes(), HASH)
        }
        assert catalog.count_texts() == {}
        assert (catalog.excludes(), catalog.forgotten()) == ([], [])
    assert (folder / "catalog.sqlite").read_bytes() == content
    versions: list[int] = []
    with Catalog.create_or_open(folder, versions.append) as catalog:
        assert versions == [version]
        # with a state that no photo has, so that it is read once more, unless its place is known
        beside = TO_BE_READ if version < 5 else STATE.beside
        state = FileState(STATE.size, mtime_ns, STATE.ctime_ns if version >= 4 else None, beside)
        assert dict(catalog.photos()) == {path: IndexedFile(1, state, HASH, encoded=True)}
        assert list(catalog.filter_fields(Kind.IMAGE)) == [FilterFields("a.jpg", taken, mtime_ns or None)]
    assert wrong_check_values(folder) == 0
    with Catalog.create_or_open(folder, versions.append):
        assert versions == [version]  # once


def test_a_catalog_that_was_taken_back_by_hand_keeps_the_tables_it_has(folder: Path) -> None:
    make_catalog(folder, "a.jpg")
    with sqlite3.connect(folder / "catalog.sqlite") as db:
        newer = [statement for (statement,) in db.execute("SELECT sql FROM sqlite_master WHERE type = 'table'")]
    to_version(1, folder)
    with sqlite3.connect(folder / "catalog.sqlite") as db:
        for statement in newer:
            if any(f"TABLE {name} " in statement for name in ("excludes", "forgotten", "words_read", "changes")):
                db.execute(statement)
    with Catalog.create_or_open(folder) as catalog:
        assert len(dict(catalog.photos())) == 1
        assert catalog.items([1])


def test_check_values_without_the_time_of_the_file_are_made_anew(folder: Path) -> None:
    """As they were before 0.3 was released. A damaged row is not taken for a sound one."""
    make_catalog(folder, "a.jpg", "b.jpg")
    to_version(4, folder)
    with sqlite3.connect(folder / "catalog.sqlite") as db:
        db.create_function("check_value", -1, check_value)
        columns = CHECKED_COLUMNS.removesuffix(", mtime_ns, latitude, longitude")
        db.execute(f"UPDATE items SET check_value = check_value({columns})")
        db.execute("UPDATE items SET path = 'c.jpg' WHERE id = 2")
        db.execute("PRAGMA user_version = 3")
    with Catalog.open(folder) as catalog:
        assert len(catalog.items([1, 2])) == 2
    with Catalog.create_or_open(folder) as catalog:
        assert len(catalog.items([1])) == 1
        with pytest.raises(DamagedRowsError):
            catalog.items([2])
    assert wrong_check_values(folder) == 1


def wrong_check_values(folder: Path) -> int:
    with sqlite3.connect(folder / "catalog.sqlite") as db:
        db.create_function("check_value", -1, check_value)
        query = f"SELECT count(*) FROM items WHERE check_value IS NOT check_value({CHECKED_COLUMNS}) AND code NOT NULL"
        return int(db.execute(query).fetchone()[0])


def test_every_row_that_is_written_gets_its_check_value(folder: Path, tmp_path: Path) -> None:
    make_catalog(folder, "a.jpg", "b.jpg")
    path = str(tmp_path / "c.jpg")
    with Catalog.create_or_open(folder) as catalog, catalog.changing_items():
        catalog.add_copy(1, path, STATE, PhotoFacts(8, 1, 2))
        catalog.set_content(1, STATE, bytes(16), np.array([3, 4], np.uint8), PhotoFacts(9, None, 0, 10**8, -(10**9)))
        catalog.copy_content(2, STATE, 1, PhotoFacts(10))
        catalog.set_path(3, str(tmp_path / "d.jpg"), STATE, PhotoFacts(11))
        texts = [(Text(None, "inside", path), None), (Text(None, "again", path), bytes(2))]
        catalog.set_texts(path, STATE, HASH, texts)
        catalog.set_code(4, CODE)
    assert wrong_check_values(folder) == 0
    with sqlite3.connect(folder / "catalog.sqlite") as db:
        db.execute("UPDATE items SET code = x'0000', path = 'e.jpg' WHERE id IN (1, 2)")
    assert wrong_check_values(folder) == 2


def test_places_are_kept_and_checked(folder: Path, tmp_path: Path) -> None:
    make_catalog(folder, "a.jpg", "b.jpg")
    facts = PhotoFacts(7, None, 0, 488_566_000, -23_522_000)
    with Catalog.create_or_open(folder) as catalog, catalog.changing_items():
        catalog.set_path(1, str(tmp_path / "a.jpg"), STATE, facts)
        catalog.copy_content(2, STATE, 1, facts._replace(longitude=5))
    with Catalog.open(folder) as catalog:
        assert [item.place for item in catalog.items([1, 2]).values()] == [(48.8566, -2.3522), (48.8566, 5e-7)]
        assert next(catalog.filter_fields(Kind.IMAGE))[3:] == (488_566_000, -23_522_000)
    for damage in ("latitude = latitude + 1", "longitude = NULL", "latitude = 900000001", "longitude = 'east'"):
        with sqlite3.connect(folder / "catalog.sqlite") as db:
            db.execute(f"UPDATE items SET {damage} WHERE id = 1")
        with Catalog.open(folder) as catalog:
            with pytest.raises(DamagedRowsError):
                catalog.items([1])
            with pytest.raises(DamagedRowsError, match="1 entry"):
                catalog.check_rows()
        with sqlite3.connect(folder / "catalog.sqlite") as db:
            db.execute("UPDATE items SET latitude = 488566000, longitude = -23522000 WHERE id = 1")


@not_as_root
def test_a_catalog_on_a_read_only_disk_can_be_read(folder: Path) -> None:
    make_catalog(folder, "a.jpg")
    folder.chmod(0o555)
    try:
        with Catalog.open(folder) as catalog:
            assert catalog.count(Kind.IMAGE) == 1
        with pytest.raises(HashcliError, match="cannot be used"):
            Catalog.create_or_open(folder)
    finally:
        folder.chmod(0o755)


def test_a_catalog_that_was_copied_with_its_log_to_a_read_only_disk(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer was killed: the last changes are only in the log, and the file that readers share is missing."""
    make_catalog(folder, "a.jpg")
    copy = tmp_path / "copy" / "ix"
    copy.mkdir(parents=True)
    with sqlite3.connect(folder / "catalog.sqlite") as reader:  # keeps the log from being merged
        reader.execute("SELECT * FROM items").fetchone()
        make_catalog(folder, "b.jpg")
        for name in ("catalog.sqlite", "catalog.sqlite-wal"):
            shutil.copy(folder / name, copy)
    assert (copy / "catalog.sqlite-wal").stat().st_size > 0

    # Root may write everywhere; so the refusal of the disk is played here, as SQLite reports it.
    monkeypatch.setattr("hashcli.index.catalog_file.os.access", lambda *_: False)
    connect = sqlite3.connect

    class Refusing:
        def execute(self, _: str) -> None:
            raise sqlite3.OperationalError("unable to open database file")

        def close(self) -> None:
            pass

    monkeypatch.setattr(
        "hashcli.index.catalog_file.sqlite3.connect",
        lambda path, **options: Refusing() if "mode=ro" in str(path) else connect(path, **options),
    )
    with Catalog.open(copy) as catalog:
        assert sorted(Path(path).name for path, _ in catalog.photos()) == ["a.jpg", "b.jpg"]
