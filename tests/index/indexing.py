"""What the tests of an index share: an index that is updated in process, and small photos to put into it."""

import sqlite3
from pathlib import Path
from typing import Any

from PIL import Image

from hashcli.index.catalog import Catalog
from hashcli.index.catalog_file import CHECKED_COLUMNS, FILE_NAME, check_value
from hashcli.index.summary import UpdateOptions
from hashcli.index.update import update
from hashcli.index.update_callback import UpdateCallback
from tests.conftest import PHOTOS, SKIMAGE

PLANTED = bytes(8)  # a code that no encoder gives: an item that still has it has not been encoded again


class Recorder(UpdateCallback):
    """Keeps what an update reported."""

    def __init__(self) -> None:
        self.scanned_counts: list[int] = []
        self.stages: list[list[int]] = []  # planned, and what was advanced
        self.skips: list[tuple[str, str]] = []
        self.damages: list[tuple[str, str]] = []
        self.migrations: list[int] = []
        self.dropped: list[int] = []
        self.left_out_counts: list[int] = []
        self.texts_left_out: list[tuple[str, str]] = []

    def migrating(self, version: int) -> None:
        self.migrations.append(version)

    def dropped_damaged(self, count: int) -> None:
        self.dropped.append(count)

    def left_out(self, count: int) -> None:
        self.left_out_counts.append(count)

    def text_left_out(self, path: str, text: str) -> None:
        self.texts_left_out.append((path, text))

    def scanned(self, count: int) -> None:
        self.scanned_counts.append(count)

    def planned(self, count: int) -> None:
        self.stages.append([count, 0])

    def advanced(self, count: int) -> None:
        self.stages[-1][1] += count

    def skipped(self, path: str, reason: str) -> None:
        self.skips.append((path, reason))

    def damaged(self, path: str, reason: str) -> None:
        self.damages.append((path, reason))


class IndexFolder:
    """An index that tests update in process; it is first made with `model`."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = str(model)
        self.report = Recorder()  # of the last update

    def update(self, *paths: Path, model: Path | None = None, **options: Any) -> dict[str, int]:
        """Update, with the other UpdateOptions; returns the counts that are not zero."""
        self.report = Recorder()
        source = str(model) if model else None if (self.folder / FILE_NAME).exists() else self.model
        summary = update(self.folder, [str(path) for path in paths], UpdateOptions(source, **options), self.report)
        return {name: count for name, count in summary.counts().items() if count}

    def update_texts(
        self, *paths: Path, model: Path | None = None, rehash: bool = False, texts: bool = True
    ) -> dict[str, int]:
        """Update; returns the counts of texts that are not zero, and of what was skipped."""
        counts = self.update(*paths, model=model, rehash=rehash, texts=texts)
        return {name: count for name, count in counts.items() if name == "skipped" or "texts" in name}

    def sql(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.folder / FILE_NAME) as db:
            db.create_function("check_value", -1, check_value)
            return db.execute(query, values).fetchall()

    def rows(self) -> list[tuple[object, ...]]:
        """Everything in the catalog that does not depend on when it was written."""
        return self.sql(
            "SELECT kind, path, size, mtime_ns, hash, text, code, line, photo, taken FROM items ORDER BY 1, 2, 8, 6"
        )

    def codes(self) -> dict[str, object]:
        """The code of each photo, by its name."""
        return {Path(str(path)).name: code for path, code in self.sql("SELECT path, code FROM items WHERE kind = 0")}

    def texts(self) -> list[tuple[object, ...]]:
        """(file, line, text, photo) of every text that has a code."""
        return self.sql(
            "SELECT path, line, text, photo FROM items WHERE kind = 1 AND code IS NOT NULL ORDER BY path, line, text"
        )

    def taken(self) -> dict[object, object]:
        """When each photo was taken that says so."""
        return dict(self.sql("SELECT path, taken FROM items WHERE kind = 0 AND taken IS NOT NULL"))  # type: ignore[arg-type]

    def plant_codes(self, where: str = "true") -> None:
        self.sql(f"UPDATE items SET code = ? WHERE {where}", PLANTED)
        self.set_check_values()

    def set_check_values(self) -> None:
        """After a change of rows that is to be taken for what hashcli wrote."""
        self.sql(f"UPDATE items SET check_value = check_value({CHECKED_COLUMNS}) WHERE code IS NOT NULL")

    def planted(self) -> list[object]:
        """The paths of photos, and the texts, that have not been encoded since."""
        return [
            item for (item,) in self.sql("SELECT coalesce(text, path) FROM items WHERE code = ? ORDER BY 1", PLANTED)
        ]

    def move_roots_to_another_disk(self, where: str = "true") -> None:
        """As if the roots had been on another disk than the one that is there now."""
        self.sql(f"UPDATE roots SET device = device + 1 WHERE {where}")

    def read(self) -> Catalog:
        return Catalog.open(self.folder)


def make_album(folder: Path) -> Path:
    """Small versions of a dozen real photos, two of them one folder down."""
    (folder / "trip").mkdir(parents=True)
    for name in PHOTOS:
        below = "trip" if name in ("rocket.jpg", "moon.png") else "."
        with Image.open(SKIMAGE / name) as photo:
            small = photo.convert("RGB").resize((48, 32))
        small.info.clear()  # of a comment by JPEGmini
        small.save(folder / below / name)
    return folder


def described(path: Path, description: str = "", comment: bytes = b"", taken: str = "") -> None:
    """A real photo with EXIF data in it."""
    exif = Image.Exif()
    if description:
        exif[0x010E] = description
    if comment:
        exif.get_ifd(0x8769)[0x9286] = comment
    if taken:
        exif.get_ifd(0x8769)[0x9003] = taken
    photo = Image.open(SKIMAGE / "rocket.jpg").resize((90, 60))
    photo.info.clear()  # of a comment by JPEGmini
    photo.save(path, exif=exif.tobytes())


# The catalog's tables as schemas 1 and 2 had them, and schema 3 at first.
_OLD_TABLES = """
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
"""
_ADDED_IN_2 = """
ALTER TABLE items ADD COLUMN line INTEGER;
ALTER TABLE items ADD COLUMN photo TEXT;
ALTER TABLE items ADD COLUMN taken INTEGER;
CREATE INDEX texts_by_path ON items (path) WHERE kind = 1;
"""
_ADDED_IN_3 = """
ALTER TABLE items ADD COLUMN ctime_ns INTEGER;
ALTER TABLE items ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN check_value INTEGER;
CREATE TABLE excludes (number INTEGER PRIMARY KEY, pattern TEXT NOT NULL UNIQUE);
CREATE TABLE forgotten (path TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_ADDED_IN_4 = """
ALTER TABLE items ADD COLUMN ctime_ns INTEGER;
ALTER TABLE items ADD COLUMN taken_from INTEGER;
ALTER TABLE items ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN beside INTEGER NOT NULL DEFAULT 0;
ALTER TABLE items ADD COLUMN check_value INTEGER;
CREATE TABLE excludes (number INTEGER PRIMARY KEY, pattern TEXT NOT NULL UNIQUE);
CREATE TABLE forgotten (path TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_ADDED_IN_5 = """
ALTER TABLE items ADD COLUMN latitude INTEGER;
ALTER TABLE items ADD COLUMN longitude INTEGER;
"""
_ADDED = {
    1: "",
    2: _ADDED_IN_2,
    3: _ADDED_IN_2 + _ADDED_IN_3,
    4: _ADDED_IN_2 + _ADDED_IN_4,
    5: _ADDED_IN_2 + _ADDED_IN_4 + _ADDED_IN_5,
}


def to_version(version: int, index_folder: Path) -> None:
    """Make the catalog anew as an older hashcli would have made it; its rows have no places."""
    db = sqlite3.connect(index_folder / "old.sqlite", isolation_level=None)
    db.create_function("check_value", -1, check_value)
    db.execute("ATTACH ? AS new", (str(index_folder / FILE_NAME),))
    db.executescript(_OLD_TABLES + _ADDED[version])
    columns = "id, kind, path, size, mtime_ns, hash, text, code" + (", line, photo, taken" if version >= 2 else "")
    columns += ", ctime_ns, left_out, taken_from, beside" if version >= 4 else ""
    db.executescript(
        f"""
        INSERT INTO meta SELECT * FROM new.meta;
        INSERT INTO roots SELECT * FROM new.roots;
        INSERT INTO items ({columns}) SELECT {columns} FROM new.items;
        PRAGMA user_version = {version};
        """
    )
    if version >= 4:  # the check value of a row without a place is the same in 5
        checked = CHECKED_COLUMNS.removesuffix(", latitude, longitude")
        db.execute(f"UPDATE items SET check_value = check_value({checked}) WHERE code IS NOT NULL")
    db.close()
    for file in [*index_folder.glob("catalog.sqlite*"), *index_folder.glob("*.filter")]:
        file.unlink()
    (index_folder / "old.sqlite").rename(index_folder / FILE_NAME)
