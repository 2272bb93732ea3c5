"""Index folders that a stranger prepared: links, pipes, other tables, values of wrong types.

Whatever command is run on one, nothing outside the folder is written, and no command crashes or waits without end.
"""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

from hashcli.index.catalog_file import FILE_NAME
from tests.faults.bench import Bench, check

NAMES = [
    *("lock", "images.faiss", "images.faiss.tmp", "images.ids.npy", "images.ids.npy.tmp", "texts.faiss.tmp"),
    *(FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", f"{FILE_NAME}-journal"),
]
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT"
STATEMENTS = [
    f"ALTER TABLE items RENAME TO r; CREATE VIEW items AS {ENDLESS} x AS id, 0 AS kind, 'a' AS path FROM c",
    f"DROP TABLE meta; CREATE VIEW meta AS {ENDLESS} 'model' AS key, x AS value FROM c",
    f"DROP TABLE roots; CREATE VIEW roots AS {ENDLESS} x AS path, 1 AS device FROM c",
    "CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items; END",
    "DROP TABLE items; CREATE TABLE items (id INTEGER PRIMARY KEY)",
    "PRAGMA user_version = 1000",
    "PRAGMA user_version = 1",
]
VALUES = ["NULL", "-1", "1e300", "'text'", "x'ff00'", "zeroblob(3000000)", "9223372036854775807", "'../../precious'"]
COLUMNS = {
    "items": ("kind", "path", "size", "mtime_ns", "hash", "text", "code", "line", "photo", "taken", "check_value"),
    "meta": ("key", "value"),
    "roots": ("path", "device"),
    "excludes": ("number", "pattern"),
}


def trial(bench: Bench) -> None:
    photos, precious = bench.folder / "photos", bench.folder / "precious"
    bench.make_photos(photos, 6)
    precious.write_text("precious")
    bench.update(photos)
    prepared = bench.rng.choice(PREPARATIONS)(bench.index, precious, bench.rng)
    before = _seen(bench.folder)
    bench.make_photos(photos, 0)
    for command in (("info",), ("search", "a cat", "--all"), ("duplicates",), ("index", photos), ("index",)):
        bench.run(command[0], "--index", bench.index, *command[1:])
        check(precious.read_text() == "precious", f"{prepared}: {command[0]} wrote through it")
    changed = _seen(bench.folder) ^ before
    check(not changed, f"{prepared}: outside the index, {sorted(changed)[:3]} changed")


def _seen(folder: Path) -> set[tuple[str, int]]:
    """The files that no command has to do with: their names and sizes."""
    apart = ("index", "home", "stdin", "stdout", "stderr")
    return {
        (str(path), path.lstat().st_size)
        for path in folder.rglob("*")
        if path.relative_to(folder).parts[0] not in apart and not path.is_dir()
    }


def _put_link(index: Path, precious: Path, rng: Random) -> str:
    name, make = rng.choice(NAMES), rng.choice((os.symlink, os.link))
    (index / name).unlink(missing_ok=True)
    make(precious, index / name)
    return f"{make.__name__} at {name}"


def _put_other_thing(index: Path, precious: Path, rng: Random) -> str:
    name, is_folder = rng.choice(NAMES), rng.random() < 0.5
    (index / name).unlink(missing_ok=True)
    if is_folder:
        (index / name).mkdir()
    else:
        os.mkfifo(index / name)
    return f"a {'folder' if is_folder else 'pipe'} at {name}"


def _other_tables(index: Path, precious: Path, rng: Random) -> str:
    statements = rng.choice(STATEMENTS)
    with sqlite3.connect(index / FILE_NAME) as db:
        db.executescript(statements)
    db.close()
    return statements


def _other_values(index: Path, precious: Path, rng: Random) -> str:
    table = rng.choice(list(COLUMNS))
    column, value = rng.choice(COLUMNS[table]), rng.choice(VALUES)
    statement = f"UPDATE {table} SET {column} = {value}"
    if table == "excludes":
        statement = f"INSERT INTO excludes (number, pattern) VALUES (1, {value})"
    db = sqlite3.connect(index / FILE_NAME)
    try:
        with db:
            db.execute(statement)
    except sqlite3.IntegrityError:
        statement += " (which SQLite refuses)"
    db.close()
    return statement


PREPARATIONS: list[Callable[[Path, Path, Random], str]] = [_put_link, _put_other_thing, _other_tables, _other_values]
