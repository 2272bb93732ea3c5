"""catalog.sqlite, the only truth of an index: items with their codes, the roots, and the model of the codes.

All queries are here; `catalog_file` has the tables. Rows are kept small (a photo takes about 80 bytes and its path): no
column is stored twice, and photos have no secondary index, as the one writer keeps their paths in memory and unique.
"""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hashcli.hashmodel.description import CODE_LENGTHS
from hashcli.hashmodel.prefetch import batched
from hashcli.index.catalog_file import (
    CHECKED_COLUMNS,
    FILE_NAME,
    SOUND_ROW,
    TO_BE_READ,
    DamagedIndexError,
    DamagedRowsError,
    IndexGoneError,
    bound_reading,
    check_value,
    explaining_errors,
    has_check_values,
    open_to_read,
    open_to_write,
)
from hashcli.index.places import Place

if TYPE_CHECKING:
    from hashcli.index.files.text_files import Text

_BLOCK = 1 << 15  # codes read at once
_ITEMS = 100  # items read at once
_INDEX_OF_TEXTS = "index texts_by_path"  # what SQLite's integrity check says of it ends so
_HOLDS_LINES = "lower(substr(CAST(path AS TEXT), -4)) = '.txt'"  # not a captions file


_STATE = "size, mtime_ns, ctime_ns, beside, hash"
_FACTS = "taken, taken_from, left_out, latitude, longitude"
_FACTS_GIVEN = ", ".join("?" * (_FACTS.count(",") + 1))
_PHOTOS = f"SELECT path, id, {_STATE}, code IS NOT NULL, NULL FROM items WHERE kind = 0"
_TEXT_FILES = f"""
    SELECT path, min(id), {_STATE}, 1, CASE WHEN {_HOLDS_LINES} THEN min(photo) END FROM items
    WHERE kind = 1 AND path IS NOT photo GROUP BY path
"""

# What filters look at, of photos and of texts. Times are cast to numbers, as a stranger may have put there anything.
# SQLite joins texts with their photos by an index that it makes for this, on disk if it is large.
_FILTER_FIELDS = (
    """
    SELECT path, CAST(taken AS INTEGER), CAST(mtime_ns AS INTEGER), CAST(latitude AS INTEGER),
        CAST(longitude AS INTEGER)
    FROM items WHERE kind = 0 AND code IS NOT NULL ORDER BY id
    """,
    """
    WITH photos AS (
        SELECT path, taken, mtime_ns, latitude, longitude FROM items
        WHERE kind = 0 AND path IN (SELECT coalesce(photo, path) FROM items WHERE kind = 1) GROUP BY path
    )
    SELECT coalesce(texts.photo, texts.path),
        CAST(iif(photos.path IS NULL, texts.taken, photos.taken) AS INTEGER),
        CAST(iif(photos.path IS NULL, texts.mtime_ns, photos.mtime_ns) AS INTEGER),
        CAST(photos.latitude AS INTEGER), CAST(photos.longitude AS INTEGER)
    FROM items AS texts LEFT JOIN photos ON photos.path = coalesce(texts.photo, texts.path)
    WHERE texts.kind = 1 AND texts.code IS NOT NULL ORDER BY texts.id
    """,
)

# While the index is published, every change of what others see of an item is noted, by whichever statement.
_SEEN = "path, text, code, line, photo, taken, taken_from, mtime_ns, hash, latitude, longitude"
_NOTE_CHANGES = f"""
    CREATE TEMP TRIGGER note_added AFTER INSERT ON items BEGIN
        INSERT OR IGNORE INTO changes VALUES (new.id, NULL);
    END;
    CREATE TEMP TRIGGER note_removed AFTER DELETE ON items BEGIN
        INSERT OR IGNORE INTO changes VALUES (old.id, iif(old.kind = 0, old.path, NULL));
    END;
    CREATE TEMP TRIGGER note_changed AFTER UPDATE OF {_SEEN} ON items BEGIN
        INSERT OR IGNORE INTO changes VALUES (old.id, iif(old.kind = 0, old.path, NULL));
    END;
"""
# A text about a photo is filtered by the photo's date and place on disk.
_NOTE_TEXTS_ABOUT_CHANGED_PHOTOS = """
    INSERT OR IGNORE INTO changes
    SELECT id, NULL FROM items WHERE kind = 1 AND coalesce(photo, path) IN (
        SELECT path FROM changes WHERE path IS NOT NULL
        UNION SELECT items.path FROM changes JOIN items ON items.id = changes.id WHERE items.kind = 0
    )
"""
_CHANGED = (
    """
    SELECT items.id, path, text, line, photo, taken, taken_from, mtime_ns, hash, latitude, longitude, code,
        path, CAST(taken AS INTEGER), CAST(mtime_ns AS INTEGER), CAST(latitude AS INTEGER), CAST(longitude AS INTEGER)
    FROM (SELECT id FROM changes) AS changed CROSS JOIN items ON items.id = changed.id
    WHERE kind = 0 AND code IS NOT NULL ORDER BY changed.id
    """,
    """
    WITH photos AS (
        SELECT path, taken, mtime_ns, latitude, longitude FROM items WHERE kind = 0 AND path IN (
            SELECT coalesce(items.photo, items.path) FROM changes JOIN items ON items.id = changes.id WHERE kind = 1
        ) GROUP BY path
    )
    SELECT texts.id, texts.path, text, line, photo, texts.taken, taken_from, texts.mtime_ns, hash, NULL, NULL, code,
        coalesce(photo, texts.path),
        CAST(iif(photos.path IS NULL, texts.taken, photos.taken) AS INTEGER),
        CAST(iif(photos.path IS NULL, texts.mtime_ns, photos.mtime_ns) AS INTEGER),
        CAST(photos.latitude AS INTEGER), CAST(photos.longitude AS INTEGER)
    FROM (SELECT id FROM changes) AS changed CROSS JOIN items AS texts ON texts.id = changed.id
    LEFT JOIN photos ON photos.path = coalesce(texts.photo, texts.path)
    WHERE kind = 1 AND code IS NOT NULL ORDER BY changed.id
    """,
)
# What is said about each photo: a row for each of its texts, and whether that was read in its picture. SQLite joins
# them by an index that it makes for this.
_TEXTS_OF_PHOTOS = """
    SELECT photos.id, photos.path, texts.text, EXISTS (SELECT 1 FROM words_read
        WHERE words_read.hash = photos.hash AND words_read.text = texts.text)
    FROM items AS photos
    LEFT JOIN items AS texts ON texts.kind = 1 AND texts.photo = photos.path
    WHERE photos.kind = 0 AND photos.code IS NOT NULL ORDER BY photos.id
"""


class Kind(IntEnum):
    """What an item is."""

    IMAGE = 0
    TEXT = 1


class IndexedModel(NamedTuple):
    """The hash model an index was made with; `source` is a shipped name or a folder, as `find_model` takes it."""

    source: str
    fingerprint: str
    bits: int


class FileState(NamedTuple):
    """What shows whether a file has changed: its size in bytes, when it was last modified, and when anything about it
    last changed, which no program can set back; None if that is not known. `beside` is a check value of the states of
    the files beside a photo that say something about it; 0 if there are none.

    A time that SQLite cannot hold, such as one of the year 2300, is the nearest that it can.
    """

    size: int
    mtime_ns: int
    ctime_ns: int | None = None
    beside: int = 0

    @classmethod
    def of(cls, state: os.stat_result) -> "FileState":
        return cls(state.st_size, _storable(state.st_mtime_ns), _storable(state.st_ctime_ns))


def _inode(index_folder: Path) -> tuple[int, int] | None:
    """The device and inode of a catalog; None if it is not there."""
    try:
        state = os.stat(index_folder / FILE_NAME)
    except FileNotFoundError:
        return None
    return state.st_dev, state.st_ino


def _storable(time_ns: int) -> int:
    return max(-(2**63), min(time_ns, 2**63 - 1))


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A photo or text file as it was when it was last read.

    id         of its item; of a text file, which may have many, that of the first
    hash       of its content then
    encoded    whether a photo has a code; True for a text file, also while texts of it wait to be encoded
    photo      of a sidecar, the photo that its texts are about
    """

    id: int
    state: FileState
    hash: bytes
    encoded: bool
    photo: str | None = None


class Item(NamedTuple):
    """An item as answers show it, and its code. For a text: its file, the line in it (from 1), and the photo it is
    about, if any. `mtime_ns` is the time of its file when it was last read, `hash` that of the file's content, and
    `place` is where a photo was taken. `machine` is the label of the machine whose catalog it is in, if those of
    several are searched."""

    path: str
    text: str | None
    line: int | None
    photo: str | None
    taken: int | None
    taken_from: int | None
    mtime_ns: int
    code: bytes | None
    hash: bytes
    place: Place | None = None
    machine: str | None = None

    @property
    def content(self) -> tuple[str | bytes | None, ...]:
        """What copies of it have in common: photos the content of their files, texts their words and what these are
        about; a description inside a photo is about every copy of it."""
        if self.photo is None or self.photo == self.path:
            return self.text, self.hash
        return self.text, self.photo, self.machine


class PhotoFacts(NamedTuple):
    """What is recorded of a photo's metadata: when it was taken, in seconds of local time, and which of its dates that
    is (files.dates.DateSource), if it says so; how many of its texts were left out; and where it was taken, in
    ten-millionths of a degree."""

    taken: int | None = None
    taken_from: int | None = None
    left_out: int = 0
    latitude: int | None = None
    longitude: int | None = None


NO_FACTS = PhotoFacts()


class FilterFields(NamedTuple):
    """What filters look at. `path` is as the catalog stores it: absolute, or relative to the folder that the index
    folder is in. `taken` is in seconds of local time, `latitude` and `longitude` in ten-millionths of a degree; None if
    the file does not say.
    """

    path: str
    taken: int | None
    mtime_ns: int | None
    latitude: int | None = None
    longitude: int | None = None


class Document(NamedTuple):
    """What is said about a photo: its name with its folders, and the texts about it; and what was read in its
    picture."""

    id: int
    texts: list[str]
    read: list[str]


# Raised for values that SQLite cannot hold: of one file, while the catalog itself is as it should be.
UNSTORABLE = (OverflowError, TypeError, ValueError, sqlite3.InterfaceError, sqlite3.DataError, sqlite3.ProgrammingError)


_NAMES_ARE_UTF8 = sys.getfilesystemencoding() == "utf-8"  # not in the locales of old, such as ISO-8859-1


class Catalog:
    """One connection to a catalog. Its methods take and return absolute paths. They are stored relative to the folder
    that holds the index folder if they lie below that, so that photos and index can be moved together.
    """

    def __init__(self, connection: sqlite3.Connection, index_folder: Path) -> None:
        self._db = connection
        self._folder = index_folder
        self._base = str(index_folder.parent)
        self._prefix = self._base.rstrip(os.sep) + os.sep
        self._has_check_values = has_check_values(connection)
        self._inode = _inode(index_folder)

    @classmethod
    def create_or_open(
        cls, index_folder: Path, on_migration: Callable[[int], None] = lambda version: None
    ) -> "Catalog":
        """Open for the one writer, creating folder and tables; before an older catalog is migrated, `on_migration` is
        called with its version. Raises HashcliError if that is not possible."""
        catalog = cls(open_to_write(index_folder, on_migration), index_folder)
        if catalog.publication:
            catalog.note_changes()
        return catalog

    @classmethod
    def open(cls, index_folder: Path) -> "Catalog":
        """Open for reading, also from a read-only disk. Raises IndexNotFoundError if there is no index."""
        return cls(open_to_read(index_folder), index_folder)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> "Catalog":
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.close()
        if isinstance(error, sqlite3.Error):
            with explaining_errors(self._folder):
                raise error

    # --- transactions ---

    @contextmanager
    def changing_items(self) -> Iterator[None]:
        """A transaction that changes items, and so begins a new generation: files derived from the last are stale."""
        with self.transaction():
            yield
            # Random, not counted up: a catalog restored from a backup must not reach a generation that it had before.
            self._set("generation", int.from_bytes(os.urandom(8)) >> 1)
        self.check_is_there()

    def check_is_there(self) -> None:
        """Raise IndexGoneError if the file that is being written has lost its name, and so will be lost."""
        if _inode(self._folder) != self._inode:
            raise IndexGoneError(self._folder)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes within are made, or none."""
        with explaining_errors(self._folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # after some errors SQLite has rolled back itself
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of a transaction: all changes within are made, or none, whatever becomes of the other parts."""
        self._db.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # after some errors SQLite has rolled back itself
                self._db.execute("ROLLBACK TO part")
            raise
        finally:
            if self._db.in_transaction:
                self._db.execute("RELEASE part")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything read within is of one moment, whatever a writer does meanwhile."""
        with explaining_errors(self._folder):
            self._db.execute("BEGIN")
            bound_reading(self._db)
            try:
                yield
            finally:
                self._db.set_progress_handler(None, 0)
                if self._db.in_transaction:  # after some errors SQLite has rolled back itself
                    self._db.execute("ROLLBACK")

    # --- what the index is ---

    @property
    def generation(self) -> int:
        """A number that changes with every change of the items."""
        generation = self._get("generation") or 0
        if not isinstance(generation, int) or generation < 0:
            raise DamagedIndexError(self._folder, f"its generation is {generation!r:.40}")
        return generation

    @property
    def model(self) -> IndexedModel | None:
        """The model of the codes; None while the index has never had one."""
        source = self._get("model")
        if source is None:
            return None
        bits = self._get("bits")
        if not isinstance(source, str) or "\0" in source or not isinstance(bits, int) or bits not in CODE_LENGTHS:
            raise DamagedIndexError(self._folder, f"its hash model is {source!r:.40} of {bits!r:.40} bits")
        return IndexedModel(source, str(self._get("fingerprint")), bits)

    def set_model(self, model: IndexedModel) -> None:
        """Adopt a model, and unless it is the same one at another place, drop every code in the same transaction: codes
        of two models never mix."""
        is_same = self._get("fingerprint") == model.fingerprint
        with self.changing_items():
            if not is_same:
                self._db.execute("UPDATE items SET code = NULL, check_value = NULL")
            self._set("model", model.source)
            self._set("fingerprint", model.fingerprint)
            self._set("bits", model.bits)

    @property
    def refreshed(self) -> int | None:
        """When an update last came to its end, in seconds since 1970; None if only an older hashcli has done one."""
        seconds = self._get("refreshed")
        return seconds if isinstance(seconds, int) else None

    def set_refreshed(self, seconds: int) -> None:
        self._set("refreshed", seconds)

    @property
    def reads_words(self) -> bool:
        """Whether updates are to read the words in photos."""
        return self._get("reads_words") == 1

    def set_reads_words(self, reads_words: bool) -> None:
        """Without, what has been read is dropped, and the next update reads those photos again for other texts. Within
        `changing_items`."""
        self._set("reads_words", int(reads_words))
        if not reads_words:
            read = "SELECT hash FROM words_read WHERE text != ''"
            self._db.execute(f"UPDATE items SET beside = {TO_BE_READ} WHERE kind = 0 AND hash IN ({read})")
            self._db.execute("DELETE FROM words_read")

    def roots(self) -> dict[str, int]:
        """The folders that were indexed, each with the number of the device it was on."""
        rows = self._db.execute("SELECT path, device FROM roots ORDER BY path")
        return {self._from_stored(self._sound(path)): device for path, device in rows}

    def set_root(self, path: str, device: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO roots VALUES (?, ?)", (self._to_stored(path), device))

    def remove_root(self, path: str) -> None:
        self._db.execute("DELETE FROM roots WHERE path = ?", (self._to_stored(path),))

    def mounts(self) -> dict[str, int]:
        """The folders below roots that are on another disk than the folders they are in, each with its device."""
        import json

        try:
            mounts = json.loads(str(self._get("mounts") or "{}"))
            return {self._from_stored(self._sound(path)): int(device) for path, device in mounts.items()}
        except (AttributeError, RecursionError, TypeError, ValueError) as error:
            raise DamagedIndexError(self._folder, "what it says of disks makes no sense") from error

    def set_mounts(self, mounts: Mapping[str, int]) -> None:
        import json

        stored = ((self._to_stored(path), device) for path, device in mounts.items())
        texts = {path if isinstance(path, str) else path.decode(errors="surrogateescape"): n for path, n in stored}
        self._set("mounts", json.dumps(texts))

    # --- what is left out ---

    def excludes(self) -> list[str]:
        """Patterns of what scans leave out, in their order."""
        rows = self._db.execute("SELECT pattern FROM excludes ORDER BY number")
        return [os.fsdecode(self._sound(pattern)) for (pattern,) in rows]

    def forgotten(self) -> list[str]:
        """Files and folders within the roots that were dropped and are not to come back by themselves."""
        rows = self._db.execute("SELECT path FROM forgotten ORDER BY path")
        return [self._from_stored(self._sound(path)) for (path,) in rows]

    def set_excludes(self, patterns: Iterable[str]) -> None:
        self._db.execute("DELETE FROM excludes")
        self._db.executemany("INSERT INTO excludes (pattern) VALUES (?)", ((pattern,) for pattern in patterns))

    def set_forgotten(self, paths: Iterable[str]) -> None:
        self._db.execute("DELETE FROM forgotten")
        self._db.executemany("INSERT INTO forgotten VALUES (?)", ((self._to_stored(path),) for path in paths))

    # --- damage ---

    @property
    def _code_width(self) -> int:
        """The length of a code in bytes."""
        model = self.model
        return model.bits // 8 if model else 1

    def check_bits(self, bits: int) -> None:
        """Raise DamagedIndexError if the codes are said to have another length than their hash model gives."""
        if self.model and self.model.bits != bits:
            raise DamagedIndexError(self._folder, f"its codes are said to have {self.model.bits} bits, not {bits}")

    def check_pages(self) -> None:
        """Read the whole catalog file. Raises DamagedIndexError if SQLite finds anything wrong with its structure, and
        DamagedRowsError if only what it looks texts up by is not as the rows say.
        """
        found = self._integrity_check()
        if found.endswith(_INDEX_OF_TEXTS):
            raise DamagedRowsError(self._folder)
        if found != "ok":
            raise DamagedIndexError(self._folder, found)

    def mend_pages(self) -> None:
        """Make anew what SQLite looks texts up by, if it is not as the rows say. Else the same as `check_pages`."""
        if self._integrity_check().endswith(_INDEX_OF_TEXTS):
            with explaining_errors(self._folder):
                self._db.execute("REINDEX texts_by_path")
        self.check_pages()

    def _integrity_check(self) -> str:
        """The first thing that SQLite finds wrong with the file, or "ok"."""
        with explaining_errors(self._folder):
            (first,) = self._db.execute("PRAGMA integrity_check(1)").fetchone()
        return str(first).replace("\n", " ")

    def check_rows(self) -> None:
        """Read every row. Raises DamagedRowsError if one is not what was written."""
        damaged = self._damaged_rows()
        if damaged:
            raise DamagedRowsError(self._folder, len(damaged))

    def remove_damaged_rows(self) -> int:
        """Remove the rows that are not what was written; returns how many.

        Files that may have had one of them get a time that no file has, so that an update reads them again: those that
        the rows name, and all text files, since it may be the path that has changed.
        """
        damaged = self._damaged_rows()
        if damaged:
            with self.changing_items():
                self._db.execute("CREATE TEMP TABLE damaged (id INTEGER PRIMARY KEY)")
                self._db.executemany("INSERT INTO damaged VALUES (?)", ((id_,) for id_ in damaged))
                self._db.execute("UPDATE items SET mtime_ns = 0 WHERE kind = 1")
                rows = "FROM items WHERE id IN damaged"
                named = f"SELECT path {rows} UNION SELECT photo {rows}"
                self._db.execute(f"UPDATE items SET mtime_ns = 0 WHERE kind = 0 AND path IN ({named})")
                self._db.execute("DELETE FROM items WHERE id IN damaged")
                self._db.execute("DROP TABLE damaged")
                self._set_check_values("mtime_ns = ?", 0)
        return len(damaged)

    def _damaged_rows(self) -> list[int]:
        """The ids of the rows that are not what was written."""
        is_sound = SOUND_ROW.format(width=self._code_width)
        is_as_written = f"code IS NULL OR check_value IS check_value({CHECKED_COLUMNS})"
        if not self._has_check_values:
            is_as_written = "true"
        with explaining_errors(self._folder):
            with suppress(sqlite3.OperationalError):  # a text that is not UTF-8 cannot be given to a function
                query = f"SELECT 1 FROM items WHERE (({is_sound}) AND ({is_as_written})) IS NOT true LIMIT 1"
                if not self._db.execute(query).fetchone():
                    return []
            self._db.text_factory = lambda text: text.decode(errors="surrogateescape")
            try:
                rows = self._db.execute(f"SELECT id, {is_sound}, check_value, {CHECKED_COLUMNS} FROM items")
                return [
                    id_
                    for id_, is_sound, expected, *columns in rows
                    if not is_sound
                    or (self._has_check_values and columns[4] is not None and expected != check_value(*columns))
                ]
            finally:
                self._db.text_factory = str

    # --- photos and texts ---

    def count(self, kind: Kind) -> int:
        """How many items of a kind have a code, so that a search can find them."""
        return int(self._db.execute("SELECT count(code) FROM items WHERE kind = ?", (kind,)).fetchone()[0])

    def count_all_texts(self) -> int:
        """How many texts there are, including those that wait to be encoded."""
        return int(self._db.execute("SELECT count(*) FROM items WHERE kind = 1").fetchone()[0])

    def count_waiting(self) -> int:
        """How many items wait to be encoded (again)."""
        return int(self._db.execute("SELECT count(*) - count(code) FROM items").fetchone()[0])

    def count_left_out(self) -> int:
        """How many texts in and beside photos were left out."""
        return int(self._db.execute("SELECT coalesce(sum(left_out), 0) FROM items").fetchone()[0])

    def photos(self) -> Iterator[tuple[str, IndexedFile]]:
        """Every photo with its path, in ascending order of their ids; read from disk as they are taken."""
        return self._files(f"{_PHOTOS} ORDER BY id")

    def photo(self, id_: int) -> tuple[str, IndexedFile]:
        """One that is in the catalog."""
        return next(self._files(f"{_PHOTOS} AND id = ?", id_))

    def files(self) -> Iterator[tuple[str, IndexedFile]]:
        """Every photo and then every text file, with its path; read from disk as they are taken. A photo with
        descriptions in it is not a text file."""
        yield from self.photos()
        yield from self._files(_TEXT_FILES)

    def _files(self, query: str, *values: int) -> Iterator[tuple[str, IndexedFile]]:
        for path, id_, *state, content_hash, encoded, photo in self._db.execute(query, values):
            file = IndexedFile(id_, FileState(*state), content_hash, bool(encoded), photo and self._from_stored(photo))
            yield self._from_stored(path), file

    def set_ctimes(self, ctimes: Iterable[tuple[int, int]]) -> None:
        """Record the ctimes of files, by their id. Searches do not need them: no new generation begins."""
        of_all_texts = "kind = 1 AND path = (SELECT path FROM items WHERE kind = 1 AND id = ?)"
        for id_, ctime_ns in ctimes:
            for where in ("id = ?", of_all_texts):
                self._db.execute(f"UPDATE items SET ctime_ns = ? WHERE {where}", (ctime_ns, id_))

    # --- changing photos; within `changing_items` ---

    def add_photo(
        self, path: str, state: FileState, content_hash: bytes, code: np.ndarray, facts: PhotoFacts = NO_FACTS
    ) -> None:
        added = self._db.execute(
            f"INSERT INTO items (kind, path, {_STATE}, {_FACTS}, code) VALUES (?, ?, ?, ?, ?, ?, ?, {_FACTS_GIVEN}, ?)",
            (Kind.IMAGE, self._to_stored(path), *state, content_hash, *facts, code.tobytes()),
        )
        self._set_check_values("id = ?", added.lastrowid)

    def add_copy(self, source_id: int, path: str, state: FileState, facts: PhotoFacts) -> None:
        """Add a photo with the same content, and so the same code, as another one."""
        added = self._db.execute(
            f"INSERT INTO items (kind, path, {_STATE}, {_FACTS}, code) "
            f"SELECT kind, ?, ?, ?, ?, ?, hash, {_FACTS_GIVEN}, code FROM items WHERE id = ?",
            (self._to_stored(path), *state, *facts, source_id),
        )
        self._set_check_values("id = ?", added.lastrowid)

    def set_content(
        self, id_: int, state: FileState, content_hash: bytes, code: np.ndarray, facts: PhotoFacts = NO_FACTS
    ) -> None:
        """Record that a photo has new content."""
        self._db.execute(
            f"UPDATE items SET ({_STATE}, {_FACTS}, code) = (?, ?, ?, ?, ?, {_FACTS_GIVEN}, ?) WHERE id = ?",
            (*state, content_hash, *facts, code.tobytes(), id_),
        )
        self._set_check_values("id = ?", id_)

    def copy_content(self, id_: int, state: FileState, source_id: int, facts: PhotoFacts) -> None:
        """Record that a photo has the content, and so the code, of another one now."""
        self._db.execute(
            f"UPDATE items SET ({_STATE}, {_FACTS}, code) = "
            f"(SELECT ?, ?, ?, ?, hash, {_FACTS_GIVEN}, code FROM items WHERE id = ?) WHERE id = ?",
            (*state, *facts, source_id, id_),
        )
        self._set_check_values("id = ?", id_)

    def set_path(self, id_: int, path: str, state: FileState, facts: PhotoFacts) -> None:
        """Record that a photo has another path, another time or other metadata, and the same content."""
        self._db.execute(
            f"UPDATE items SET (path, {_STATE}, {_FACTS}) = (?, ?, ?, ?, ?, hash, {_FACTS_GIVEN}) WHERE id = ?",
            (self._to_stored(path), *state, *facts, id_),
        )
        self._set_check_values("id = ?", id_)

    def remove(self, ids: Iterable[int]) -> None:
        self._db.executemany("DELETE FROM items WHERE id = ?", ((id_,) for id_ in ids))

    # --- texts ---

    def count_texts(self) -> dict[str, int]:
        """How many texts can be found, by what they come from."""
        query = f"""
            SELECT CASE WHEN path IS photo THEN 'photos' WHEN photo IS NULL THEN 'text files'
                WHEN {_HOLDS_LINES} THEN 'sidecars' ELSE 'captions files' END AS source, count(code)
            FROM items WHERE kind = 1 GROUP BY source ORDER BY source
        """
        return dict(self._db.execute(query))

    def texts(self, path: str) -> list[tuple[str, bytes | None]]:
        """The texts of a file, each with its code, or None if it waits to be encoded."""
        query = "SELECT text, code FROM items WHERE kind = 1 AND path = ? ORDER BY id"
        return list(self._db.execute(query, (self._to_stored(path),)))

    def set_texts(
        self, path: str, state: FileState, content_hash: bytes, texts: Iterable[tuple["Text", bytes | None]]
    ) -> None:
        """Replace the texts of a file. Those without a code wait to be encoded."""
        self.remove_texts(path)
        columns = f"kind, path, {_STATE}, text, code, line, photo"
        query = f"INSERT INTO items ({columns}) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        file = (self._to_stored(path), *state, content_hash)
        rows = ((*file, text.text, code, text.line, text.photo and self._to_stored(text.photo)) for text, code in texts)
        self._db.executemany(query, rows)
        self._set_check_values("kind = 1 AND path = ?", self._to_stored(path))

    def remove_texts(self, path: str) -> None:
        self._db.execute("DELETE FROM items WHERE kind = 1 AND path = ?", (self._to_stored(path),))

    def contents_read(self) -> set[bytes]:
        """The hashes of the contents of photos whose words have been read."""
        return {hash_ for (hash_,) in self._db.execute("SELECT DISTINCT hash FROM words_read")}

    def texts_in_content(self, content_hash: bytes) -> list[str]:
        """What was read in the picture of photos with some content."""
        query = "SELECT text FROM words_read WHERE hash = ? AND text != ''"
        return [str(text) for (text,) in self._db.execute(query, (content_hash,))]

    def set_texts_in_content(self, content_hash: bytes, texts: Sequence[str]) -> None:
        """Record what was read, which may be nothing."""
        rows = ((content_hash, text) for text in texts or [""])
        self._db.executemany("INSERT OR REPLACE INTO words_read VALUES (?, ?)", rows)

    def remove_contents_without_photos(self) -> None:
        """Drop what was read in photos that are no longer in the catalog. Within a transaction."""
        self._db.execute("DELETE FROM words_read WHERE hash NOT IN (SELECT hash FROM items WHERE kind = 0)")

    def orphans(self) -> list[str]:
        """The paths of photos that are not in the catalog, though descriptions from inside them are."""
        query = """
            SELECT DISTINCT path FROM items
            WHERE kind = 1 AND path IS photo AND path NOT IN (SELECT path FROM items WHERE kind = 0)
        """
        return [self._from_stored(path) for (path,) in self._db.execute(query)]

    def ids_of_texts(self, *, encoded: bool) -> list[int]:
        """Ids of the texts that wait to be encoded, or with `encoded` of all texts; equal texts follow each other, and
        so do texts of the same length."""
        query = "SELECT id FROM items WHERE kind = 1 AND (? OR code IS NULL) ORDER BY length(text), text"
        return [id_ for (id_,) in self._db.execute(query, (encoded,))]

    def text(self, id_: int) -> str:
        return str(self._db.execute("SELECT text FROM items WHERE id = ?", (id_,)).fetchone()[0])

    def set_code(self, id_: int, code: np.ndarray) -> None:
        self._db.execute("UPDATE items SET code = ? WHERE id = ?", (code.tobytes(), id_))
        self._set_check_values("id = ?", id_)

    # --- what searches read ---

    def codes(self, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
        """ids int64 [n] in ascending order and packed codes uint8 [n, bits / 8] of all encoded items of a kind."""
        nothing = np.empty(0, np.int64), np.empty((0, self._code_width), np.uint8)
        ids, codes = zip(nothing, *self.code_blocks(kind), strict=True)
        return np.concatenate(ids), np.concatenate(codes)

    def code_blocks(self, kind: Kind) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """`codes` in blocks, of which only one is in memory at a time."""
        rows = self._db.execute("SELECT id, code FROM items WHERE kind = ? AND code IS NOT NULL ORDER BY id", (kind,))
        width = self._code_width
        last = None
        while block := rows.fetchmany(_BLOCK):
            for id_, code in block:
                if type(code) is not bytes or len(code) != width:
                    raise DamagedRowsError(self._folder)
                if last is not None and id_ <= last:
                    raise DamagedIndexError(self._folder, "its rows are out of order")
                last = id_
            ids = np.array([id_ for id_, _ in block], np.int64)
            yield ids, np.frombuffer(b"".join(code for _, code in block), np.uint8).reshape(-1, width)

    def items(self, ids: Iterable[int]) -> dict[int, Item]:
        """What answers show of each item; ids that are not in the catalog are left out.

        Raises DamagedRowsError if one of the rows is not what was written.
        """
        sound = SOUND_ROW.format(width=self._code_width)
        items = {}
        for block in batched(ids, _ITEMS):
            marks = ", ".join("?" * len(block))
            query = f"SELECT id, {sound}, check_value, {CHECKED_COLUMNS} FROM items WHERE id IN ({marks})"
            for id_, is_sound, expected, *columns in self._db.execute(query, block):
                _, path, content_hash, text, code, line, photo, taken, taken_from, mtime_ns, *stored_place = columns
                is_checked = self._has_check_values and code is not None
                if not is_sound or (is_checked and expected != check_value(*columns)):
                    raise DamagedRowsError(self._folder)
                photo = photo and self._from_stored(photo)
                where = self._from_stored(path), text, line, photo
                place = Place.from_stored(*stored_place)
                items[id_] = Item(*where, taken, taken_from, mtime_ns, code, content_hash, place)
        return items

    def filter_fields(self, kind: Kind) -> Iterator[FilterFields]:
        """What filters look at of every encoded item of a kind, in ascending order of their ids.

        For a text about a photo, these are the photo's path, and its times and place if it is indexed. A photo that has
        not been read since its catalog was migrated from version 1 has no times.
        """
        for path, taken, mtime_ns, *place in self._db.execute(_FILTER_FIELDS[kind]):
            if type(path) is not str:
                self._from_stored(path)  # raises for what is no path
                path = os.fsdecode(path)
            yield FilterFields(path, taken, mtime_ns or None, *place)

    def documents(self) -> Iterator[Document]:
        """Of every encoded photo, in ascending order of their ids. A photo's folders are those from the root on that it
        was indexed with, or without one the one it is in."""
        roots = [(root.rstrip(os.sep) + os.sep, len(os.path.dirname(root))) for root in sorted(self.roots(), key=len)]
        document: Document | None = None
        for id_, stored, text, is_read in self._db.execute(_TEXTS_OF_PHOTOS):
            if document is None or id_ != document.id:
                if document:
                    yield document
                path = self._from_stored(stored)
                above = next((length for root, length in roots if path.startswith(root)), None)
                above = len(os.path.dirname(os.path.dirname(path))) if above is None else above
                document = Document(id_, [path[above:]], [])
            if isinstance(text, str):
                (document.read if is_read else document.texts).append(text)
        if document:
            yield document

    def rows_of(self, kind: Kind, path: str) -> list[int]:
        """The rows, in ascending order of all encoded items of a kind, of a photo or text file, or of what is about
        the photo."""
        absolute = path if path.isascii() else os.fsencode(path)
        query = """
            SELECT CAST(coalesce(photo, path) AS BLOB) IN (CAST(? AS BLOB), CAST(? AS BLOB)) FROM items
            WHERE kind = ? AND code IS NOT NULL ORDER BY id
        """
        rows = self._db.execute(query, (self._to_stored(path), absolute, kind))
        return [row for row, (is_same,) in enumerate(rows) if is_same]

    def indexed_photos(self, paths: Iterable[str]) -> set[str]:
        """Those of some paths, a few thousand at most, that are of indexed photos. By a scan of all items, as photos
        have no secondary index: ask for many paths together."""
        stored = {}
        for path in filter(os.path.isabs, paths):
            relative = self._to_stored(path)
            stored[relative.encode() if isinstance(relative, str) else relative] = path
            stored[os.fsencode(path)] = path
        marks = ", ".join("?" * len(stored))
        query = f"SELECT CAST(path AS BLOB) FROM items WHERE kind = 0 AND CAST(path AS BLOB) IN ({marks})"
        return {stored[path] for (path,) in self._db.execute(query, list(stored))}

    # --- publishing ---

    @property
    def publication(self) -> str | None:
        """Where and how the index is published, as `publish` has written it; None if it is not."""
        publication = self._get("publication")
        return publication if isinstance(publication, str) else None

    def set_publication(self, publication: str | None) -> None:
        """Within a transaction. Without one, no changes are noted any more."""
        if publication is not None:
            self._set("publication", publication)
            return
        self._db.execute("DELETE FROM meta WHERE key = 'publication'")
        self._db.execute("DELETE FROM changes")
        for name in ("added", "removed", "changed"):
            self._db.execute(f"DROP TRIGGER IF EXISTS note_{name}")

    @property
    def publisher(self) -> str | None:
        """A number that the catalog has given itself, by which collections know it, also when it is published no more;
        None if it has never been."""
        publisher = self._get("publisher")
        return publisher if isinstance(publisher, str) else None

    def set_publisher(self, publisher: str) -> None:
        """Within a transaction."""
        self._set("publisher", publisher)

    def note_changes(self) -> None:
        """Note every change of an item in this connection, in its transaction, until it is published."""
        self._db.executescript(_NOTE_CHANGES.replace("TEMP TRIGGER", "TEMP TRIGGER IF NOT EXISTS"))

    def note_all(self) -> None:
        """Take every item for changed. Within a transaction."""
        self._db.execute("INSERT OR IGNORE INTO changes SELECT id, NULL FROM items WHERE code IS NOT NULL")

    def note_texts_about_changed_photos(self) -> None:
        self._db.execute(_NOTE_TEXTS_ABOUT_CHANGED_PHOTOS)

    def count_changes(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM changes").fetchone()[0])

    def changed_items(self, kind: Kind) -> Iterator[tuple[int, Item, FilterFields]]:
        """The encoded items of a kind that have changed, in ascending order of their ids, read as they are taken."""
        for id_, path, text, line, photo, *facts, code, about, taken, mtime_ns, north, east in self._db.execute(
            _CHANGED[kind]
        ):
            photo = photo and self._from_stored(photo)
            taken_then, taken_from, modified, content_hash, latitude, longitude = facts
            place = Place.from_stored(latitude, longitude)
            shown_path = self._from_stored(path)
            shown = shown_path, text, line, photo, taken_then, taken_from, modified
            about_path = shown_path if about == path else self._from_stored(about)
            fields = FilterFields(about_path, taken, mtime_ns or None, north, east)
            yield id_, Item(*shown, code, content_hash, place), fields

    def changed_to_nothing(self) -> list[int]:
        """The ids of items that are gone, or wait to be encoded again."""
        query = """
            SELECT id FROM changes
            WHERE NOT EXISTS (SELECT 1 FROM items WHERE items.id = changes.id AND code IS NOT NULL) ORDER BY id
        """
        return [id_ for (id_,) in self._db.execute(query)]

    def forget_changes(self, ids: Iterable[int]) -> None:
        """Within a transaction."""
        self._db.executemany("DELETE FROM changes WHERE id = ?", ((id_,) for id_ in ids))

    # --- how settings and paths are stored ---

    def _set_check_values(self, where: str, value: str | bytes | int | None) -> None:
        """Of rows just written, which this must be called for.

        Not by SQLite, which makes an error of a Ctrl-C that comes while it calls a function.
        """
        query = f"SELECT id, {CHECKED_COLUMNS} FROM items WHERE code IS NOT NULL AND {where}"
        values = [(check_value(*columns), id_) for id_, *columns in self._db.execute(query, (value,))]
        self._db.executemany("UPDATE items SET check_value = ? WHERE id = ?", values)

    def _get(self, key: str) -> str | int | None:
        with explaining_errors(self._folder):
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def _sound(self, value: Any) -> str | bytes:
        """A path or pattern. Raises DamagedIndexError for what is none: these rows have no check value."""
        if not isinstance(value, str | bytes) or not value or (b"\0" if isinstance(value, bytes) else "\0") in value:  # type: ignore[operator]
            raise DamagedIndexError(self._folder, f"it holds {value!r:.40} in the place of a path")
        return value

    def _set(self, key: str, value: str | int) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _to_stored(self, path: str) -> str | bytes:
        """A path as the catalog stores it: relative to the base if it is below it; as text, or as its bytes if it is
        not UTF-8."""
        if path == self._base:
            path = "."
        elif path.startswith(self._prefix):
            path = path[len(self._prefix) :]
        name = os.fsencode(path)
        try:
            return name.decode()
        except UnicodeDecodeError:
            return name

    def _from_stored(self, stored: str | bytes) -> str:
        """The absolute path of a stored one. Raises DamagedRowsError for what is no path."""
        if not isinstance(stored, str | bytes):
            raise DamagedRowsError(self._folder)
        if isinstance(stored, str) and not _NAMES_ARE_UTF8:
            stored = stored.encode("utf-8", "surrogateescape")
        path = os.fsdecode(stored)
        if path == ".":
            return self._base
        return path if os.path.isabs(path) else self._prefix + path
