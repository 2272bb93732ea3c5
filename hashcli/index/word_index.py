"""Which photos hold a word in their texts, names and folders: a file derived from the catalog, and searched by FTS5.

The file is a database with one table and, after it, the trailer of every derived file, which SQLite does not read. It
takes some 20 bytes for each photo without texts, and about 3 for each word in them.
"""

import errno
import os
import sqlite3
import struct
import zlib
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from hashcli.index.catalog import Catalog, Document
from hashcli.index.catalog_file import bound_reading
from hashcli.index.derived_files import ChecksummedFile, generation_of, map_file, write_file
from hashcli.index.words import READ, Holders, holders_in, terms_of
from hashcli.plain_files import create_plain

FILE_NAME, BUILD_NAME = "images.words", "images.words.build"
# Words are told apart by `words_of`, not by FTS5, so that searches without the file find the same: to the tokenizer
# `ascii` every sign beyond ASCII is a letter. No positions and no texts are kept.
_TABLE = "CREATE VIRTUAL TABLE words USING fts5(held, content='', columnsize=0, detail=none, tokenize='ascii')"
_TABLES = {"words", "words_data", "words_idx", "words_config"}  # FTS5's own among them
_BLOCK = 1 << 20  # bytes


class WordIndex:
    """The words of photos; see `open`. Close it after use."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @classmethod
    def open(cls, index_folder: Path, generation: int) -> "WordIndex | None":
        """From its file; None if that is missing, damaged, or not of this generation, or if SQLite has no FTS5.

        It is read whole, to compare its checksum: a photo that is not found by its words would not be noticed.
        """
        path = index_folder / FILE_NAME
        try:
            before = os.stat(path)
            content = map_file(path)
            if generation_of(content, check_content=False) != generation:
                return None
            if generation_of(content, check_content=True) is None:
                return None
            db = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
        except (OSError, ValueError, struct.error, sqlite3.Error):
            return None
        with suppress(OSError, sqlite3.Error):
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA cell_size_check = ON")
            bound_reading(db)
            schema = db.execute("SELECT name, type, sql FROM sqlite_master").fetchall()
            is_ours = {name for name, type_, _ in schema if type_ == "table"} == _TABLES and len(schema) == len(_TABLES)
            if is_ours and ("words", "table", _TABLE) in schema and os.path.samestat(before, os.stat(path)):
                index = cls(db)
                index.holders(["a"])  # raises without FTS5
                return index
        db.close()
        return None

    def close(self) -> None:
        self._db.close()

    def holders(self, terms: Iterable[str]) -> dict[str, np.ndarray]:
        """The ids of the photos that hold each of some terms, int64 [n] in ascending order. Raises sqlite3.Error."""
        bound_reading(self._db)  # each time: the bound is meant for one reading, and a server makes thousands
        query = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid"
        return {
            term: np.fromiter((id_ for (id_,) in self._db.execute(query, (f'"{term}"',))), np.int64) for term in terms
        }

    def holds(self, documents: Iterable[Document]) -> bool:
        """Whether its words are those of these photos."""
        with suppress(sqlite3.Error):
            self._db.execute("CREATE VIRTUAL TABLE temp.entries USING fts5vocab(main, words, instance)")
            entries = self._db.execute("SELECT term, doc FROM entries")
            ours = sum(_check_value(term, id_) for term, id_ in entries)
            self._db.execute("DROP TABLE temp.entries")
            return ours == sum(_check_value(term, document.id) for document in documents for term in terms_of(document))
        return False


def holders_of(words: Iterable[str], index: WordIndex | None, catalog: Catalog) -> dict[str, Holders]:
    """The photos that hold each of some words: by the file or, if it cannot be used, by going through the catalog,
    which takes longer. Within a snapshot."""
    terms = {term for word in words for term in (word, READ + word)}
    found = None
    if index:
        with suppress(sqlite3.Error):
            found = index.holders(terms)
    found = found or holders_in(catalog.documents(), terms)
    return {word: Holders(found[word], np.union1d(found[word], found[READ + word])) for word in words}


def word_index_is_current(index_folder: Path, catalog: Catalog) -> bool:
    """Whether the file is there and says what the catalog says. Without FTS5, none is needed."""
    index = WordIndex.open(index_folder, catalog.generation)
    if index is None:
        return not has_fts5()
    with closing(index):
        return index.holds(catalog.documents())


def write_word_index(index_folder: Path, generation: int, documents: Iterable[Document]) -> None:
    """Write the file anew, in one step. Raises OSError."""
    build = index_folder / BUILD_NAME
    create_plain(build).close()
    try:
        _build(build, documents)
        with open(build, "rb") as database:

            def write(file: ChecksummedFile) -> None:
                while block := database.read(_BLOCK):
                    file.write(block)

            write_file(index_folder / FILE_NAME, generation, write)
    except sqlite3.Error as error:
        raise OSError(errno.EIO, str(error)) from error
    finally:
        build.unlink(missing_ok=True)


def has_fts5() -> bool:
    """Whether this Python's SQLite has FTS5, as nearly all have."""
    with closing(sqlite3.connect(":memory:")) as db:
        try:
            db.execute(_TABLE)
        except sqlite3.OperationalError:
            return False
    return True


def _build(path: Path, documents: Iterable[Document]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = OFF")  # nobody reads it before it is whole
        db.execute("PRAGMA synchronous = OFF")
        db.execute(_TABLE)
        db.execute("BEGIN")
        rows = ((document.id, " ".join(terms_of(document))) for document in documents)
        db.executemany("INSERT INTO words (rowid, held) VALUES (?, ?)", rows)
        db.execute("INSERT INTO words (words) VALUES ('optimize')")
        db.execute("COMMIT")


def _check_value(term: str, id_: int) -> int:
    return zlib.crc32(f"{term} {id_}".encode())
