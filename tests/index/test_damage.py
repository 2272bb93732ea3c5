"""What disks and strangers do to an index: nothing wrong is answered, nothing is waited for without end, and the error
names the way out."""

import os
import sqlite3
import struct
from pathlib import Path

import pytest

from hashcli.errors import HashcliError
from hashcli.index.catalog import Catalog
from hashcli.index.catalog_file import FILE_NAME, DamagedIndexError, DamagedRowsError, UnusableIndexFolderError
from hashcli.index.duplicates import find_duplicates
from hashcli.index.lock import writer_lock
from hashcli.index.preview import preview
from hashcli.index.results import SearchResult
from hashcli.index.search import DamagedSearchFilesError, Index
from hashcli.index.update import forget, update
from tests.conftest import PHOTOS
from tests.index.indexing import IndexFolder

ALL = len(PHOTOS)


def answers(index: IndexFolder) -> list[SearchResult]:
    with Index(index.folder) as opened:
        return [*opened.search("a cat", k=ALL, kinds=["image", "text"], limit=None)]


@pytest.fixture
def with_texts(index: IndexFolder, album: Path) -> IndexFolder:
    (album / "chelsea.txt").write_text("a cat\n")
    (album / "rocket.txt").write_text("a rocket\na dog\n")
    index.update()
    return index


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


# --- bits that change on the disk ---


@pytest.mark.parametrize(("name", "place"), [("images.ids.npy", 128), ("images.faiss", 60)])
def test_a_damaged_search_file_answers_nothing(
    index: IndexFolder, name: str, place: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of large files too, whose checksum is not computed at each search: the rows that are shown are compared."""
    right = answers(index)
    flip(index.folder / name, place)
    assert answers(index) == right
    assert not caplog.records  # it was not used at all
    monkeypatch.setattr("hashcli.index.code_index._SMALL", 0)
    assert answers(index) == right
    assert "search files" in caplog.text
    with Index(index.folder) as opened, pytest.raises(DamagedSearchFilesError):
        opened.check()
    index.update()
    caplog.clear()
    assert answers(index) == right
    assert not caplog.records


@pytest.mark.parametrize(
    "change",
    [
        "code = CAST(x'00' || substr(code, 2) AS BLOB)",
        "code = substr(code, 2)",
        "code = 'a text'",
        "path = path || 'x'",
        "path = CAST(x'ff' AS TEXT)",
        "path = 5",
        "path = ''",
        "taken = coalesce(taken, 0) + 1",
        "taken = 'long ago'",
        "text = text || 'x', line = line || 'x'",
        "photo = path || 'x'",
        "hash = x'00'",
        "mtime_ns = mtime_ns + (1 << 40)",
        "check_value = NULL",
    ],
)
def test_a_damaged_row_is_no_answer_and_is_mended_by_an_update(with_texts: IndexFolder, change: str) -> None:
    right, rows = answers(with_texts), with_texts.rows()
    with_texts.sql(f"UPDATE items SET {change} WHERE path LIKE '%chelsea.%'")
    damaged = 1 if change.startswith("text") else 2  # a photo has no text
    with pytest.raises(DamagedRowsError, match="damaged") as raised:
        answers(with_texts)
    assert raised.value.index_folder == with_texts.folder
    with Index(with_texts.folder) as opened, pytest.raises(DamagedRowsError, match=f"{damaged} entr"):
        opened.check()
    for read in (lambda: find_duplicates(with_texts.folder), lambda: preview(with_texts.folder, [])):
        with pytest.raises(DamagedRowsError):
            read()
    with_texts.update()
    assert with_texts.report.dropped == [damaged]
    assert with_texts.rows() == rows
    assert answers(with_texts) == right
    with Index(with_texts.folder) as opened:
        opened.check()


@pytest.mark.parametrize("byte", [b"\xef", b"x"], ids=["not UTF-8", "another path"])
def test_what_texts_are_looked_up_by_is_made_anew_if_it_is_not_as_the_rows_say(
    with_texts: IndexFolder, byte: bytes
) -> None:
    right, rows = answers(with_texts), with_texts.rows()
    with_texts.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    ((root,),) = with_texts.sql("SELECT rootpage FROM sqlite_master WHERE name = 'texts_by_path'")
    content = bytearray((with_texts.folder / FILE_NAME).read_bytes())
    place = content.index(b"chelsea.txt", 4096 * (int(str(root)) - 1))
    content[place : place + 1] = byte
    (with_texts.folder / FILE_NAME).write_bytes(content)
    with Index(with_texts.folder) as opened, pytest.raises(DamagedRowsError):
        opened.check()
    with_texts.update()
    assert with_texts.rows() == rows
    assert answers(with_texts) == right
    with Index(with_texts.folder) as opened:
        opened.check()


def test_an_index_that_is_sound_passes_the_check(with_texts: IndexFolder) -> None:
    with Index(with_texts.folder) as opened:
        opened.check()


def test_search_files_that_say_something_else_than_the_catalog_are_found(index: IndexFolder) -> None:
    """Whatever their checksums say."""
    from hashcli.index.catalog import Kind
    from hashcli.index.code_index import FaissCodeIndex

    with index.read() as catalog:
        ids, codes = catalog.codes(Kind.IMAGE)
        FaissCodeIndex(index.folder, Kind.IMAGE, 64).replace(ids, codes[::-1], catalog.generation)
    with Index(index.folder) as opened, pytest.raises(DamagedSearchFilesError):
        opened.check()


def test_pages_of_the_catalog_that_are_lost(index: IndexFolder) -> None:
    index.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    ((root,),) = index.sql("SELECT rootpage FROM sqlite_master WHERE name = 'items'")
    start = 4096 * (int(str(root)) - 1)
    content = bytearray((index.folder / FILE_NAME).read_bytes())
    content[start : start + 4096] = bytes(4096)
    (index.folder / FILE_NAME).write_bytes(content)
    with pytest.raises(DamagedIndexError) as raised:
        answers(index)
    assert raised.value.index_folder == index.folder
    for read in (lambda: Index(index.folder).check(), lambda: index.update(), lambda: find_duplicates(index.folder)):
        with pytest.raises(DamagedIndexError):
            read()


def test_damage_that_is_met_while_reading_names_the_way_out(index: IndexFolder) -> None:
    """SQLite finds it when it gets there: not when it opens the file."""
    with pytest.raises(DamagedIndexError, match="malformed"), index.read():
        raise sqlite3.DatabaseError("database disk image is malformed")


@pytest.mark.parametrize("value", ["'x'", "-5", "NULL", "x'00'", "1e300", "0", "257", "99999999999"])
@pytest.mark.parametrize("key", ["bits", "generation", "model"])
def test_settings_that_make_no_sense(index: IndexFolder, key: str, value: str) -> None:
    right = answers(index)
    index.sql(f"UPDATE meta SET value = {value} WHERE key = '{key}'")
    try:
        found = answers(index)
    except HashcliError:
        return
    assert key == "generation"
    assert found == right


# --- what a stranger's catalog may hold ---

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT"


@pytest.mark.parametrize(
    "statements",
    [
        f"ALTER TABLE items RENAME TO r; CREATE VIEW items AS {ENDLESS} x AS id, 0 AS kind FROM c",
        f"DROP TABLE meta; CREATE VIEW meta AS {ENDLESS} 'model' AS key, x AS value FROM c WHERE x < 0",
        "CREATE TRIGGER t AFTER UPDATE ON items BEGIN DELETE FROM items; END",
        "CREATE TABLE other (x)",
        "DROP TABLE items; CREATE TABLE items (id, kind, path AS (abs(id)))",
        "DROP TABLE items; CREATE TABLE items (id INTEGER PRIMARY KEY)",
        "DROP TABLE roots",
    ],
)
def test_a_catalog_with_other_tables_is_not_used(index: IndexFolder, album: Path, statements: str) -> None:
    with sqlite3.connect(index.folder / FILE_NAME) as db:
        db.executescript(statements)
    for read in (
        lambda: answers(index),
        lambda: Index(index.folder).info(),
        lambda: update(index.folder, [str(album)]),
    ):
        with pytest.raises(DamagedIndexError):
            read()


def with_rows_without_end(catalog: Path) -> None:
    """Link the pages of a catalog so that each of twelve levels has 400 times the rows of the level below."""
    with sqlite3.connect(catalog) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        ((root,),) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'items'")
        ((size,),) = db.execute("PRAGMA page_size")
        ((last,),) = db.execute("PRAGMA page_count")
    db.close()
    content = bytearray(catalog.read_bytes())

    def level(below: int) -> bytes:
        page = bytearray(size)
        struct.pack_into(">BHHHBI", page, 0, 5, 0, 400, size - 400 * 5, 0, below)
        for cell in range(400):
            start = size - (cell + 1) * 5
            struct.pack_into(">IB", page, start, below, 1)
            struct.pack_into(">H", page, 12 + 2 * cell, start)
        return bytes(page)

    first = (root - 1) * size
    content += content[first : first + size]
    for number in range(11):
        content += level(last + 1 + number)
    content[first : first + size] = level(last + 12)
    struct.pack_into(">I", content, 28, last + 12)
    catalog.write_bytes(content)


def test_rows_without_end_are_not_read(index: IndexFolder) -> None:
    with_rows_without_end(index.folder / FILE_NAME)
    (index.folder / "images.faiss").unlink()
    for read in (
        lambda: answers(index),
        lambda: Index(index.folder).info(),
        lambda: Index(index.folder).check(),
        lambda: index.update(),
        lambda: find_duplicates(index.folder),
        lambda: preview(index.folder, []),
        lambda: forget(index.folder, []),
    ):
        with pytest.raises(DamagedIndexError):
            read()


def test_a_value_that_is_too_large_is_not_read(index: IndexFolder) -> None:
    index.sql("UPDATE items SET path = CAST(zeroblob(5000000) AS TEXT) WHERE id = 1")
    with pytest.raises(DamagedIndexError):
        answers(index)


@pytest.mark.parametrize("make", [os.symlink, os.link])
@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_a_link_beside_the_catalog_is_not_written_through(
    index: IndexFolder, tmp_path: Path, ending: str, make: object
) -> None:
    """Not by a reader either, who shares -shm with the writer."""
    right = answers(index)
    (tmp_path / "precious").write_text("precious")
    (index.folder / f"{FILE_NAME}{ending}").unlink(missing_ok=True)
    make(tmp_path / "precious", index.folder / f"{FILE_NAME}{ending}")  # type: ignore[operator]
    assert answers(index) == right
    with pytest.raises(UnusableIndexFolderError):
        index.update()
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_lock_that_leads_elsewhere_is_not_emptied(tmp_path: Path, make: object) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "ix").mkdir()
    make(tmp_path / "precious", tmp_path / "ix" / "lock")  # type: ignore[operator]
    with pytest.raises(UnusableIndexFolderError), writer_lock(tmp_path / "ix"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_in_the_place_of_the_catalog_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE_NAME)
    with pytest.raises(HashcliError):
        Catalog.open(tmp_path)
    with pytest.raises(UnusableIndexFolderError):
        Catalog.create_or_open(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_a_pipe_beside_the_catalog_is_not_waited_for(index: IndexFolder, ending: str) -> None:
    right = answers(index)
    (index.folder / f"{FILE_NAME}{ending}").unlink(missing_ok=True)
    os.mkfifo(index.folder / f"{FILE_NAME}{ending}")
    assert answers(index) == right
    with pytest.raises(UnusableIndexFolderError):
        index.update()


# --- a disk that is full ---


def test_reading_needs_no_file_beside_the_catalog(index: IndexFolder) -> None:
    """A reader wants to share one with the writer. A folder in its place keeps it from making that, as a full disk
    does."""
    right = answers(index)
    (index.folder / f"{FILE_NAME}-shm").unlink(missing_ok=True)
    (index.folder / f"{FILE_NAME}-shm").mkdir()
    assert answers(index) == right


@pytest.mark.parametrize("pattern", ["'!'", "'a/**b' || char(10)", "''", "'a' || char(0)"])
def test_a_pattern_that_is_none(index: IndexFolder, pattern: str) -> None:
    index.sql(f"INSERT INTO excludes VALUES (1, {pattern})")
    with pytest.raises(HashcliError):
        index.update()


@pytest.mark.parametrize("table", ["roots", "forgotten"])
@pytest.mark.parametrize("path", ["''", "'a' || char(0)", "x'ff00'"])
def test_a_path_that_is_none(index: IndexFolder, table: str, path: str) -> None:
    index.sql(f"INSERT INTO {table} VALUES ({path}{', 1' if table == 'roots' else ''})")
    with pytest.raises(DamagedIndexError):
        index.update()
