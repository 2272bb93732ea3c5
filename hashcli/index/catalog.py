"""catalog.sqlite, the only truth of an index: items with their codes, the roots, and the model the codes are of.

All SQL stands here. Rows are kept small (a photo costs about 80 bytes and its path): no column is stored twice and
photos have no secondary index; the one writer holds their paths in memory and keeps them unique.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hashcli.errors import HashcliError, did_you_mean_path

if TYPE_CHECKING:
    from hashcli.index.files.text_files import Text

FILE_NAME = "catalog.sqlite"
SCHEMA_VERSION = 2

# kind     0 a photo, 1 a text
# path     the file the item is or comes from; a description embedded in a photo comes from the photo
# size, mtime_ns, hash   of that file, when it was last read
# text     the text itself; NULL for a photo
# code     NULL while the item waits to be encoded (again): known, but not found by any search
# line     a text's line or row in its file, from 1; NULL for an embedded description
# photo    the photo a text is about, stored as `path` is; NULL where it is about none
# taken    when a photo was taken: seconds since 1970 of its local time, as if that were UTC; NULL where it does not say
_SCHEMA = """
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
    code BLOB,
    line INTEGER,
    photo TEXT,
    taken INTEGER
);
CREATE INDEX texts_by_path ON items (path) WHERE kind = 1;
"""

# From version 1. With no time that fits, every photo is read once more, for when it was taken and what it says of
# itself; its content being the same, it is not encoded.
_MIGRATION = """
ALTER TABLE items ADD COLUMN line INTEGER;
ALTER TABLE items ADD COLUMN photo TEXT;
ALTER TABLE items ADD COLUMN taken INTEGER;
CREATE INDEX texts_by_path ON items (path) WHERE kind = 1;
UPDATE items SET mtime_ns = 0;
"""

# What a reader sees of a catalog of version 1, which it cannot or must not migrate.
_VERSION_1_AS_2 = """
CREATE TEMP VIEW items AS
SELECT id, kind, path, size, mtime_ns, hash, text, code, NULL AS line, NULL AS photo, NULL AS taken FROM main.items;
"""


_HOLDS_LINES = "lower(substr(CAST(path AS TEXT), -4)) = '.txt'"  # not a captions file


class Kind(IntEnum):
    """What an item is."""

    IMAGE = 0
    TEXT = 1


class IndexedModel(NamedTuple):
    """The hash model an index was made with; `source` is what `--model` takes: a shipped name or a folder."""

    source: str
    fingerprint: str
    bits: int


class FileState(NamedTuple):
    """What tells whether a file has changed since it was encoded."""

    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file as the writer remembers it, with the hash of the content it was read with.

    A photo has the id of its item. A text file has many items, and 0; `photo` is what it is the sidecar of. What waits
    to be encoded there has been read already.
    """

    id: int
    state: FileState
    hash: bytes
    encoded: bool
    photo: str | None = None


class Item(NamedTuple):
    """An item as answers show it. For a text: its file, the line in it (from 1), and the photo it is about, if any."""

    path: str
    text: str | None
    line: int | None
    photo: str | None
    taken: int | None


class FilterFields(NamedTuple):
    """What filters look at. `taken` is in seconds of local time, None where the file does not say."""

    path: str
    taken: int | None
    mtime_ns: int | None


class Catalog:
    """One connection to a catalog. Paths go in and come out absolute; they are stored relative to the folder that
    holds the index where they lie under it, so that both can move together.
    """

    def __init__(self, connection: sqlite3.Connection, index_folder: Path) -> None:
        self._db = connection
        self._path = index_folder / FILE_NAME
        self._base = str(index_folder.parent)
        self._prefix = self._base.rstrip(os.sep) + os.sep

    @classmethod
    def create_or_open(cls, index_folder: Path) -> "Catalog":
        """Open for the one writer, creating folder and schema. Raises HashcliError when that is not possible."""
        path = index_folder / FILE_NAME
        with _explained(path):
            index_folder.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(path, isolation_level=None)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last batches, never the catalog
            version = _schema_version(db, path)
            if version < SCHEMA_VERSION:
                changes = _MIGRATION if version else _SCHEMA
                db.executescript(f"BEGIN IMMEDIATE; {changes} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        return cls(db, index_folder)

    @classmethod
    def open(cls, index_folder: Path) -> "Catalog":
        """Open for reading, also from a read-only disk. Raises HashcliError when there is no index."""
        path = index_folder / FILE_NAME
        with _explained(path):
            db = _connect_to_read(path) if path.is_file() else None
            version = _schema_version(db, path) if db else 0
            if db is None or version == 0:  # 0: it was killed, or is at work, before the first photo
                raise HashcliError(
                    f"There is no index in {index_folder}.{did_you_mean_path(str(index_folder))}",
                    "Make one: hashcli index PATH-OF-PHOTOS",
                )
            if version == 1:
                db.executescript(_VERSION_1_AS_2)
        return cls(db, index_folder)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> "Catalog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def changing_items(self) -> Iterator[None]:
        """One transaction that makes a new generation: derived files made before it are stale."""
        with self.transaction():
            yield
            # Drawn, not counted: a catalog that a power cut or a backup set back must not reach the same one again.
            self._set("generation", int.from_bytes(os.urandom(8)) >> 1)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it, or nothing."""
        with _explained(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # after some errors SQLite has rolled back itself
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read within is of one moment, whatever a writer does meanwhile."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    # --- what the index is ---

    @property
    def generation(self) -> int:
        """Another number after every change of the items."""
        return int(self._get("generation") or 0)

    @property
    def model(self) -> IndexedModel | None:
        """The model of the codes; None while the index has never had one."""
        source = self._get("model")
        if source is None:
            return None
        return IndexedModel(str(source), str(self._get("fingerprint")), int(self._get("bits") or 0))

    def set_model(self, model: IndexedModel) -> None:
        """Adopt a model and drop every code in the same transaction: codes of two models never mix."""
        with self.changing_items():
            self._db.execute("UPDATE items SET code = NULL")
            self._set("model", model.source)
            self._set("fingerprint", model.fingerprint)
            self._set("bits", model.bits)

    def roots(self) -> dict[str, int]:
        """The folders that were indexed, each with the device number it had."""
        rows = self._db.execute("SELECT path, device FROM roots ORDER BY path")
        return {self._absolute(path): device for path, device in rows}

    def set_root(self, path: str, device: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO roots VALUES (?, ?)", (self._stored(path), device))

    def remove_root(self, path: str) -> None:
        self._db.execute("DELETE FROM roots WHERE path = ?", (self._stored(path),))

    # --- items ---

    def count(self, kind: Kind) -> int:
        """How many items of a kind can be found."""
        return int(self._db.execute("SELECT count(code) FROM items WHERE kind = ?", (kind,)).fetchone()[0])

    def count_all_texts(self) -> int:
        """How many texts there are, those that wait among them."""
        return int(self._db.execute("SELECT count(*) FROM items WHERE kind = 1").fetchone()[0])

    def count_waiting(self) -> int:
        """How many items wait to be encoded (again)."""
        return int(self._db.execute("SELECT count(*) - count(code) FROM items").fetchone()[0])

    def known(self, kind: Kind) -> dict[str, IndexedFile]:
        """Every photo, or every text file, by its path; a photo with texts in it is no text file."""
        query = "SELECT path, id, size, mtime_ns, hash, code IS NOT NULL, NULL FROM items WHERE kind = 0"
        if kind is Kind.TEXT:
            query = f"""
                SELECT path, 0, size, mtime_ns, hash, 1, CASE WHEN {_HOLDS_LINES} THEN min(photo) END FROM items
                WHERE kind = 1 AND path IS NOT photo GROUP BY path
            """
        return {
            self._absolute(path): IndexedFile(
                id_, FileState(size, mtime_ns), content_hash, bool(encoded), photo and self._absolute(photo)
            )
            for path, id_, size, mtime_ns, content_hash, encoded, photo in self._db.execute(query)
        }

    # --- photos ---

    def add_photo(
        self, path: str, state: FileState, content_hash: bytes, code: np.ndarray, taken: int | None = None
    ) -> None:
        self._db.execute(
            "INSERT INTO items (kind, path, size, mtime_ns, hash, code, taken) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (Kind.IMAGE, self._stored(path), *state, content_hash, code.tobytes(), taken),
        )

    def add_copy(self, source_id: int, path: str, state: FileState, taken: int | None) -> None:
        """Add a file whose content is that of a known item: its code is the same."""
        self._db.execute(
            "INSERT INTO items (kind, path, size, mtime_ns, hash, code, taken) "
            "SELECT kind, ?, ?, ?, hash, code, ? FROM items WHERE id = ?",
            (self._stored(path), *state, taken, source_id),
        )

    def set_content(
        self, id_: int, state: FileState, content_hash: bytes, code: np.ndarray, taken: int | None = None
    ) -> None:
        self._db.execute(
            "UPDATE items SET size = ?, mtime_ns = ?, hash = ?, code = ?, taken = ? WHERE id = ?",
            (*state, content_hash, code.tobytes(), taken, id_),
        )

    def copy_content(self, id_: int, state: FileState, source_id: int, taken: int | None) -> None:
        """Give an item the content of another."""
        self._db.execute(
            "UPDATE items SET size = ?, mtime_ns = ?, taken = ?, "
            "(hash, code) = (SELECT hash, code FROM items WHERE id = ?) WHERE id = ?",
            (*state, taken, source_id, id_),
        )

    def set_place(self, id_: int, path: str, state: FileState, taken: int | None) -> None:
        """The same content under another path, or with another time."""
        self._db.execute(
            "UPDATE items SET path = ?, size = ?, mtime_ns = ?, taken = ? WHERE id = ?",
            (self._stored(path), *state, taken, id_),
        )

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
        """The texts of a file with their codes, None where they wait to be encoded."""
        query = "SELECT text, code FROM items WHERE kind = 1 AND path = ? ORDER BY id"
        return list(self._db.execute(query, (self._stored(path),)))

    def set_texts(
        self, path: str, state: FileState, content_hash: bytes, texts: Iterable[tuple["Text", bytes | None]]
    ) -> None:
        """Replace the texts of a file; those without a code wait to be encoded."""
        self.remove_texts(path)
        query = (
            "INSERT INTO items (kind, path, size, mtime_ns, hash, text, code, line, photo) "
            "VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        file = (self._stored(path), *state, content_hash)
        rows = ((*file, text.text, code, text.line, text.photo and self._stored(text.photo)) for text, code in texts)
        self._db.executemany(query, rows)

    def remove_texts(self, path: str) -> None:
        self._db.execute("DELETE FROM items WHERE kind = 1 AND path = ?", (self._stored(path),))

    def ids_of_texts(self, *, encoded: bool) -> list[int]:
        """Ids of the texts that wait to be encoded, or with `encoded` of all, equal ones and equal lengths together."""
        query = "SELECT id FROM items WHERE kind = 1 AND (? OR code IS NULL) ORDER BY length(text), text"
        return [id_ for (id_,) in self._db.execute(query, (encoded,))]

    def text(self, id_: int) -> str:
        return str(self._db.execute("SELECT text FROM items WHERE id = ?", (id_,)).fetchone()[0])

    def set_code(self, id_: int, code: np.ndarray) -> None:
        self._db.execute("UPDATE items SET code = ? WHERE id = ?", (code.tobytes(), id_))

    # --- what searches read ---

    def codes(self, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
        """ids int64 [n] in ascending order and packed codes uint8 [n, bits / 8] of all encoded items of a kind."""
        query = "SELECT id, code FROM items WHERE kind = ? AND code IS NOT NULL ORDER BY id"
        model = self.model
        width = model.bits // 8 if model else 1
        ids, codes = [], bytearray()
        for id_, code in self._db.execute(query, (kind,)):
            ids.append(id_)
            codes += code
        return np.array(ids, np.int64), np.frombuffer(bytes(codes), np.uint8).reshape(-1, width)

    def items(self, ids: Iterable[int]) -> dict[int, "Item"]:
        """What answers show of each item that still exists in the catalog."""
        query = "SELECT path, text, line, photo, taken FROM items WHERE id = ?"
        found = ((id_, self._db.execute(query, (id_,)).fetchone()) for id_ in ids)
        return {
            id_: Item(self._absolute(path), text, line, photo and self._absolute(photo), taken)
            for id_, row in found
            if row
            for path, text, line, photo, taken in (row,)
        }

    def places(self, kind: Kind) -> Iterator[tuple[int, "FilterFields"]]:
        """The id of every item of a kind that can be found, with what filters look at. For a text about a photo, that
        is the photo's path, and its times if it is in the index. A photo that has not been read since the index was
        migrated has no times."""
        times: dict[str | bytes, tuple[int | None, int]] = {}  # of the photos
        if kind is Kind.TEXT:
            photos = self._db.execute("SELECT path, taken, mtime_ns FROM items WHERE kind = 0")
            times = {path: (taken, mtime_ns) for path, taken, mtime_ns in photos}
        query = "SELECT id, coalesce(photo, path), taken, mtime_ns FROM items WHERE kind = ? AND code IS NOT NULL"
        for id_, path, *own in self._db.execute(query, (kind,)):
            taken, mtime_ns = times.get(path, own)
            yield id_, FilterFields(self._absolute(path), taken, mtime_ns or None)

    # --- how things are stored ---

    def _get(self, key: str) -> str | int | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def _set(self, key: str, value: str | int) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _stored(self, path: str) -> str | bytes:
        if path == self._base:
            path = "."
        elif path.startswith(self._prefix):
            path = path[len(self._prefix) :]
        try:
            path.encode()
        except UnicodeEncodeError:  # a file name that is not UTF-8 is stored as its bytes
            return os.fsencode(path)
        return path

    def _absolute(self, stored: str | bytes) -> str:
        path = os.fsdecode(stored)
        if path == ".":
            return self._base
        return path if os.path.isabs(path) else self._prefix + path


def _connect_to_read(path: Path) -> sqlite3.Connection:
    uri = path.as_uri()
    db = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None)
    try:
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        if os.access(path.parent, os.W_OK):
            raise
        db.close()  # WAL wants to write beside the database, but a reader of a whole one without the right need not
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            return _read_with_log(path, log)
        db = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
    return db


def _read_with_log(path: Path, log: Path) -> sqlite3.Connection:
    """A catalog in memory whose last changes are in its log still: its writer was killed before it was copied here."""
    import shutil
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        copy = Path(shutil.copy(path, folder))
        shutil.copy(log, folder)
        source = sqlite3.connect(copy)
        db = sqlite3.connect(":memory:", isolation_level=None)
        source.backup(db)
        source.close()
    return db


def _schema_version(db: sqlite3.Connection, path: Path) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise HashcliError(
            f"{path} was made by a newer hashcli (schema {version}; this one knows {SCHEMA_VERSION}).",
            "Update hashcli: pip install -U hashcli",
        )
    return version


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into an error that names the index and the way out."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if not isinstance(error, sqlite3.OperationalError):
            raise HashcliError(
                f"{path} is damaged ({error}).", "Delete the index folder and run hashcli index again."
            ) from error
        raise HashcliError(
            f"{path} cannot be used: {error}.", "Check its permissions and the free disk space."
        ) from error
    except OSError as error:
        raise HashcliError(
            f"{path} cannot be used: {error.strerror}.", "Choose another folder with --index."
        ) from error
