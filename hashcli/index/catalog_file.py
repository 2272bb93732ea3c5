"""The file of a catalog: its tables; how it is created, migrated and opened; and what can go wrong.

`user_version` of the database is the version of its tables.
"""

import errno
import os
import re
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashcli.errors import HashcliError, did_you_mean_path
from hashcli.plain_files import check_plain

FILE_NAME = "catalog.sqlite"
SCHEMA_VERSION = 7

# items
#   kind         0 a photo, 1 a text
#   path         the file the item is or comes from; a description embedded in a photo comes from the photo
#   size, mtime_ns, hash   of that file, when it was last read
#   text         the text itself; NULL for a photo
#   code         NULL while the item waits to be encoded (again): it is indexed, but no search finds it
#   line         a text's line or row in its file, from 1; NULL for an embedded description
#   photo        the photo a text is about, stored as `path` is; NULL if it is about none
#   taken        when a photo was taken: seconds since 1970 of its local time, as if that were UTC; NULL if it does not
#                say
#   ctime_ns     when the file's metadata last changed, as stat says; NULL if it is not known. The inode is not kept:
#                a file that takes another's place has a new ctime too, and FAT and some network disks number their
#                files anew whenever they are mounted
#   taken_from   which of a photo's dates `taken` is, as numbered in files/dates.py; NULL if `taken` is
#   left_out     of a photo, how many of the texts about it were left out, because no person wrote them, it seems
#   beside       of a photo, a check value of the states of the files beside it that say something about it, such as
#                .xmp sidecars; 0 if there are none, and TO_BE_READ, which none has, to have the photo read once more
#   check_value  of what answers show (CHECKED_COLUMNS), to notice a damaged row; NULL while there is no code
#   latitude, longitude   where a photo was taken, in ten-millionths of a degree; NULL if it does not say
# excludes     what scans leave out, as patterns of .gitignore; in the order in which they hold
# forgotten    files and folders within a root that were dropped, and are not to come back unless they are named
# words_read   what was read in the pictures of photos, by the hash of their content; an empty text alone for nothing
# changes      while the index is published: items that have changed since, and those that are gone, by their ids; of
#              photos also the path that they had
_WORDS_READ = (
    "CREATE TABLE words_read (hash BLOB NOT NULL, text TEXT NOT NULL, PRIMARY KEY (hash, text)) WITHOUT ROWID;"
)
_EXCLUDES_AND_FORGOTTEN = """
CREATE TABLE excludes (number INTEGER PRIMARY KEY, pattern TEXT NOT NULL UNIQUE);
CREATE TABLE forgotten (path TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_CHANGES = "CREATE TABLE changes (id INTEGER PRIMARY KEY, path TEXT);"
_SCHEMA = f"""
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
    taken INTEGER,
    ctime_ns INTEGER,
    taken_from INTEGER,
    left_out INTEGER NOT NULL DEFAULT 0,
    beside INTEGER NOT NULL DEFAULT 0,
    check_value INTEGER,
    latitude INTEGER,
    longitude INTEGER
);
CREATE INDEX texts_by_path ON items (path) WHERE kind = 1;
{_EXCLUDES_AND_FORGOTTEN}
{_WORDS_READ}
{_CHANGES}
"""
_CHECKED_IN_3 = "kind, path, hash, text, code, line, photo, taken, taken_from"
_CHECKED_IN_4 = f"{_CHECKED_IN_3}, mtime_ns"
CHECKED_COLUMNS = f"{_CHECKED_IN_4}, latitude, longitude"

# What every row must be, whoever wrote it: SQLite keeps any value in any column. {width} is that of a code in bytes.
SOUND_ROW = """
kind IN (0, 1) AND typeof(path) IN ('text', 'blob') AND length(path) AND NOT instr(CAST(path AS BLOB), x'00')
AND typeof(size) = 'integer' AND typeof(mtime_ns) = 'integer' AND typeof(hash) = 'blob'
AND typeof(text) = iif(kind, 'text', 'null') AND (code IS NULL OR typeof(code) = 'blob' AND length(code) = {width})
AND typeof(line) IN ('integer', 'null') AND typeof(photo) IN ('text', 'blob', 'null')
AND NOT instr(CAST(coalesce(photo, '') AS BLOB), x'00')
AND typeof(taken) IN ('integer', 'null') AND typeof(ctime_ns) IN ('integer', 'null')
AND typeof(taken_from) IN ('integer', 'null') AND typeof(left_out) = 'integer' AND typeof(beside) = 'integer'
AND (latitude IS NULL AND longitude IS NULL OR typeof(latitude) = 'integer' AND typeof(longitude) = 'integer'
    AND latitude BETWEEN -900000000 AND 900000000 AND longitude BETWEEN -1800000000 AND 1800000000)
"""

TO_BE_READ = -1  # in the column `beside`

# Primary codes of SQLite's errors if it may not write beside the catalog, or finds no room to.
_CANNOT_WRITE = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)
# How many steps a search, or whatever else is read at once, may take: 500 for each byte. A row has 80 bytes at least,
# and takes 25 steps for each query that shows it, of which there are at most 256.
_STEPS_PER_LOOK = 100_000
_BYTES_PER_LOOK = 200
_LEAST_LOOKS = 100
_OPENING_SECONDS = 10  # to read what a catalog holds; it takes a thousandth of that
_LONGEST_VALUE = 1 << 20  # bytes; a path has 4096 at most, and a text 2000 characters

# From each version to the next.
_MIGRATIONS = {
    # As no photo has the time 0, each is read once more, for its date and its descriptions; its content being the same,
    # it is not encoded again.
    1: """
    ALTER TABLE items ADD COLUMN line INTEGER;
    ALTER TABLE items ADD COLUMN photo TEXT;
    ALTER TABLE items ADD COLUMN taken INTEGER;
    CREATE INDEX texts_by_path ON items (path) WHERE kind = 1;
    UPDATE items SET mtime_ns = 0;
    """,
    # Older versions looked for dates and texts in fewer places: each photo is read once more, and not encoded.
    2: f"""
    ALTER TABLE items ADD COLUMN ctime_ns INTEGER;
    ALTER TABLE items ADD COLUMN taken_from INTEGER;
    ALTER TABLE items ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE items ADD COLUMN beside INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE items ADD COLUMN check_value INTEGER;
    UPDATE items SET beside = {TO_BE_READ} WHERE kind = 0;
    {_EXCLUDES_AND_FORGOTTEN}
    UPDATE items SET check_value = check_value({_CHECKED_IN_3}) WHERE code IS NOT NULL;
    """,
    # Rows that are damaged stay so.
    3: f"""
    UPDATE items SET check_value = check_value({_CHECKED_IN_4})
        WHERE code IS NOT NULL AND check_value = check_value({_CHECKED_IN_3});
    """,
    # Older versions did not look for places: each photo is read once more, and not encoded.
    4: f"""
    ALTER TABLE items ADD COLUMN latitude INTEGER;
    ALTER TABLE items ADD COLUMN longitude INTEGER;
    UPDATE items SET beside = {TO_BE_READ} WHERE kind = 0;
    """,
    5: _WORDS_READ,
    6: _CHANGES,
}

# Catalogs of version 3 had fewer columns at first, in another order: they are taken back to version 2.
_FIRST_SCHEMA_3 = re.sub(r"    (taken_from|beside) .*\n", "", _SCHEMA)
_FROM_FIRST_3_TO_2 = "".join(
    f"ALTER TABLE items DROP COLUMN {column};" for column in ("ctime_ns", "left_out", "check_value")
)

# How a reader, which must not migrate, sees the catalogs of older versions.
_NEW_IN_5 = "NULL AS latitude, NULL AS longitude"
_NEW_IN_3 = f"NULL AS ctime_ns, NULL AS taken_from, 0 AS left_out, 0 AS beside, NULL AS check_value, {_NEW_IN_5}"
_NO_EXCLUDES_AND_FORGOTTEN = """
CREATE TEMP VIEW excludes AS SELECT 0 AS number, '' AS pattern WHERE false;
CREATE TEMP VIEW forgotten AS SELECT '' AS path WHERE false;
"""
_AS_NOW = {
    1: f"""
    CREATE TEMP VIEW items AS SELECT id, kind, path, size, mtime_ns, hash, text, code, NULL AS line, NULL AS photo,
        NULL AS taken, {_NEW_IN_3} FROM main.items;
    {_NO_EXCLUDES_AND_FORGOTTEN}
    """,
    2: f"""
    CREATE TEMP VIEW items AS SELECT *, {_NEW_IN_3} FROM main.items;
    {_NO_EXCLUDES_AND_FORGOTTEN}
    """,
    **dict.fromkeys((3, 4), f"CREATE TEMP VIEW items AS SELECT *, {_NEW_IN_5} FROM main.items;"),
}
_NO_WORDS_READ = "CREATE TEMP VIEW words_read AS SELECT x'' AS hash, '' AS text WHERE false"
_FIRST_3_AS_NOW = f"CREATE TEMP VIEW items AS SELECT *, NULL AS taken_from, 0 AS beside, {_NEW_IN_5} FROM main.items"


def has_check_values(db: sqlite3.Connection) -> bool:
    """Whether rows have check values, of all that is checked now: an older catalog that is only read has none."""
    return int(db.execute("PRAGMA user_version").fetchone()[0]) >= 4


def check_value(*columns: str | bytes | int | None) -> int:
    """The check value of a row, from its CHECKED_COLUMNS as they are stored: their CRC-32. Without a place, it is what
    it was before there were places."""
    before = _CHECKED_IN_4.count(",") + 1
    if columns[before:] == (None, None):
        columns = columns[:before]
    return zlib.crc32(ascii(columns).encode())


class IndexNotFoundError(HashcliError):
    """There is no index in `index_folder`."""

    def __init__(self, index_folder: Path) -> None:
        super().__init__(
            f"There is no index in {index_folder}.{did_you_mean_path(str(index_folder))}",
            "Choose a folder with an index, or make one there.",
        )
        self.index_folder = index_folder


class DamagedIndexError(HashcliError):
    """The catalog of the index in `index_folder` is damaged, or is not a database."""

    def __init__(self, index_folder: Path, reason: object) -> None:
        super().__init__(
            f"{index_folder / FILE_NAME} is damaged ({reason}).", "Delete the index folder and index the photos again."
        )
        self.index_folder = index_folder


class DamagedRowsError(HashcliError):
    """Rows of the catalog in `index_folder` are not what was written: a bit on the disk has changed, say."""

    def __init__(self, index_folder: Path, count: int | None = None) -> None:
        rows = "Entries" if count is None else "1 entry" if count == 1 else f"{count} entries"
        super().__init__(
            f"{rows} of {index_folder / FILE_NAME} {'is' if count == 1 else 'are'} damaged.",
            "Update the index: it reads their files again.",
        )
        self.index_folder = index_folder


class IndexGoneError(HashcliError):
    """The index in `index_folder` was deleted or moved while it was being written."""

    def __init__(self, index_folder: Path) -> None:
        super().__init__(
            f"The index in {index_folder} was deleted or moved while it was being written.",
            "If it was deleted, everything in it is lost: index the photos again.",
        )
        self.index_folder = index_folder


class UnusableIndexFolderError(HashcliError):
    """An index cannot be kept in `index_folder`: the disk is read-only, say, or its parent is a file."""

    def __init__(self, index_folder: Path, problem: str) -> None:
        super().__init__(problem, "Check its permissions, or choose another folder for the index.")
        self.index_folder = index_folder


def open_to_write(index_folder: Path, on_migration: Callable[[int], None]) -> sqlite3.Connection:
    """Connect as the one writer. A catalog that is not there is made, and an older one is migrated; before that,
    `on_migration` is called with its version.
    """
    path = index_folder / FILE_NAME
    with explaining_errors(index_folder):
        index_folder.mkdir(parents=True, exist_ok=True)
        _check_files(path)
        db = _guarded(sqlite3.connect(path, isolation_level=None))
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last batches, never the catalog
        version = _schema_version(db, path)
        if version < SCHEMA_VERSION:
            changes = _SCHEMA
            if version:
                on_migration(version)
                changes = ""
                if _is_first_3(db, version):
                    version, changes = 2, _FROM_FIRST_3_TO_2
                changes += "".join(_MIGRATIONS[older] for older in range(version, SCHEMA_VERSION))
                changes = changes.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")  # if it was migrated back
            db.executescript(f"BEGIN IMMEDIATE; {changes} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    return db


def open_to_read(index_folder: Path) -> sqlite3.Connection:
    """Connect as a reader, which changes nothing. Raises IndexNotFoundError if there is no catalog."""
    path = index_folder / FILE_NAME
    with explaining_errors(index_folder):
        db = _connect_to_read(path) if path.is_file() else None
        version = _schema_version(db, path) if db else 0
        if db is None or version == 0:  # 0: its first writer was killed, or is at work, before it made the tables
            raise IndexNotFoundError(index_folder)
        if _is_first_3(db, version):
            db.execute(_FIRST_3_AS_NOW)
        elif version in _AS_NOW:
            db.executescript(_AS_NOW[version])
        if version < 6:
            db.execute(_NO_WORDS_READ)
    return db


def _is_first_3(db: sqlite3.Connection, version: int) -> bool:
    """Whether a catalog is of version 3 as this was at first."""
    return version == 3 and all(name != "beside" for _, name, *_ in db.execute("PRAGMA table_info(items)"))


@contextmanager
def explaining_errors(index_folder: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into a HashcliError that names the index and the way out."""
    path = index_folder / FILE_NAME
    try:
        yield
    except sqlite3.ProgrammingError:  # a mistake in the code that calls SQLite, such as use in two threads
        raise
    except sqlite3.OperationalError as error:
        if str(error).startswith("Could not decode to UTF-8"):
            raise DamagedRowsError(index_folder) from error
        if _is_damage(error):
            endless = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
            reason = "reading it does not come to an end" if endless else error
            raise DamagedIndexError(index_folder, reason) from error
        raise HashcliError(
            f"{path} cannot be used: {error}.", "Check its permissions and the free disk space."
        ) from error
    except sqlite3.DatabaseError as error:
        raise DamagedIndexError(index_folder, error) from error
    except OSError as error:
        raise UnusableIndexFolderError(index_folder, f"{path} cannot be used: {error.strerror}.") from error


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """Whether the catalog itself is to blame: a column is not there, reading does not end, or the file does. Everything
    else is for want of rights or space, or another program's doing."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR_SHORT_READ)


def bound_reading(db: sqlite3.Connection) -> None:
    """Let SQLite take steps in proportion to the size of the database from now on. A stranger's pages can be linked in
    such a way that a small file has rows without end; reading them is then interrupted."""
    pages, page_size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    left = iter(range(_LEAST_LOOKS + pages * page_size // _BYTES_PER_LOOK))
    db.set_progress_handler(lambda: next(left, None) is None, _STEPS_PER_LOOK)


def _check_files(path: Path) -> None:
    """Raise OSError for anything that is no plain file in the place of the catalog, where a pipe would be waited for,
    or of a file that SQLite writes beside it."""
    with suppress(FileNotFoundError):
        check_plain(path)
    _check_files_beside(path)


def _check_files_beside(path: Path) -> None:
    """Raise OSError if SQLite, which opens these files even to read the catalog, would wait for one that is a pipe, or
    write into somebody's file through a link of either kind."""
    for ending in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            beside = path.with_name(path.name + ending)
            state = os.lstat(beside)
            check_plain(beside, state)
            if state.st_nlink > 1:
                raise OSError(errno.EMLINK, f"{beside.name} is another file too, by a hard link", str(beside))


def _guarded(db: sqlite3.Connection) -> sqlite3.Connection:
    """A connection that does not trust the file: functions in its schema are not called, values too large are errors,
    and pages are checked when they are read. SQL can call `check_value`."""
    db.create_function("check_value", -1, check_value, deterministic=True)
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    return db


def _connect_to_read(path: Path) -> sqlite3.Connection:
    uri = path.as_uri()
    try:
        _check_files_beside(path)
        db = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None)
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except (OSError, sqlite3.OperationalError) as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN) & 0xFF not in _CANNOT_WRITE:
            raise
        # A reader with a write-ahead log wants to write beside the database. Without the right to, without space, or
        # where others' files are in the way, it can still read a database that has nothing in its log.
        log = path.with_name(path.name + "-wal")
        if log.is_file() and log.stat().st_size:
            return _guarded(_read_with_log(path, log))
        db = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
    db.execute("PRAGMA temp_store = MEMORY")  # the disk may be full
    return _guarded(db)


def _read_with_log(path: Path, log: Path) -> sqlite3.Connection:
    """A catalog in memory, with the changes that are still in its log: its writer was killed before it was copied, or
    the disk was full."""
    import shutil
    from tempfile import TemporaryDirectory

    memory = "/dev/shm"
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        copy = Path(shutil.copy(path, folder))
        shutil.copy(log, folder)
        source = sqlite3.connect(copy)
        db = sqlite3.connect(":memory:", isolation_level=None)
        source.backup(db)
        source.close()
    return db


def _schema_version(db: sqlite3.Connection, path: Path) -> int:
    """The version of the tables, once it is certain that they are ours and that reading them comes to an end."""
    deadline = time.monotonic() + _OPENING_SECONDS
    db.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise HashcliError(
            f"{path} was made by a newer hashcli (schema {version}; this one knows {SCHEMA_VERSION}).",
            "Update hashcli.",
        )
    _check_schema(db, path.parent)
    db.set_progress_handler(None, 0)
    return version


def _check_schema(db: sqlite3.Connection, index_folder: Path) -> None:
    """Raise DamagedIndexError if there is anything but our tables, such as views and triggers, which can be made to run
    without end. Older tables have fewer columns, and end sooner."""
    statements = ["".join(statement.split()) for statement in (_SCHEMA + _FIRST_SCHEMA_3).split(";")]
    schema = db.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    if schema and (missing := {"meta", "roots", "items"} - {name for _, name, _ in schema}):
        raise DamagedIndexError(index_folder, f"it has no table {min(missing)}")
    for kind, name, sql in schema:
        if (kind, sql) == ("index", None) or (kind == "table" and name in ("sqlite_sequence", "sqlite_stat1")):
            continue  # SQLite's own
        ours = "".join(str(sql).replace('"items"', "items").split()).removesuffix(")")  # in quotes after a renaming
        if not any(statement.startswith(ours) for statement in statements):
            raise DamagedIndexError(index_folder, f"it has a {kind} {name!r:.40} that is not hashcli's")
