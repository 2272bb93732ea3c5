"""What all trials share: the real command under watch, real photos, and what an index holds and answers."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from threading import Timer
from typing import Any

from PIL import Image

import hashcli
from hashcli.index.catalog import Catalog
from hashcli.index.catalog_file import FILE_NAME
from tests.conftest import PHOTOS, SKIMAGE

MOST_SECONDS = 300  # after which a command hangs, on a machine that does much else too
MOST_BYTES = 1500 << 20  # of memory that a command may take; it takes a tenth of that
STATUSES = (0, 1, 2, 3, 130, -2)  # what a command may end with; -2: Ctrl-C when it had done its work
QUERIES = "a cat\na dog\na rocket\n"


class FaultError(Exception):
    """Something that hashcli promises did not hold; the message says what."""


@dataclass(frozen=True)
class Done:
    """What a command did. `seconds` is how long it took."""

    status: int
    output: str
    errors: str
    seconds: float


@dataclass(frozen=True)
class Bench:
    """An empty folder for one trial, and what the trial needs. Everything random in it comes from `rng`."""

    folder: Path
    model: Path
    rng: Random

    @property
    def index(self) -> Path:
        return self.folder / "index"

    def start(self, *arguments: object, **more: Any) -> subprocess.Popen[str]:
        """Start a command of hashcli, whose settings are apart from the user's own."""
        own = {name: str(self.folder / "home") for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        own["PYTHONPATH"] = str(Path(hashcli.__file__).parents[1])  # the same hashcli as here
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HASHCLI")}
        return subprocess.Popen(
            [sys.executable, "-m", "hashcli", *map(str, arguments)],
            cwd=self.folder,
            env=kept | own,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            **more,
        )

    def run(self, *arguments: object, given: str = "", **more: Any) -> Done:
        """Run a command to its end. Raises FaultError if it crashes, hangs or takes too much memory."""
        streams = [(self.folder / f"std{name}").open("w+b") for name in ("in", "out", "err")]
        streams[0].write(given.encode())
        streams[0].seek(0)
        started = time.monotonic()
        process = self.start(*arguments, stdin=streams[0], stdout=streams[1], stderr=streams[2], **more)
        watch = Timer(MOST_SECONDS, process.kill)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        watch.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
        for stream in streams:
            stream.seek(0)
        output, errors = (stream.read().decode("utf-8", "backslashreplace") for stream in streams[1:])
        done = Done(process.returncode, output, errors, seconds)
        memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        _check_ended_well(done, memory, f"hashcli {' '.join(map(str, arguments))}")
        return done

    def update(self, *paths: Path, **more: Any) -> Done:
        """Index paths, or refresh the index without any."""
        model = () if (self.index / FILE_NAME).exists() else ("--model", self.model)
        return self.run("index", "--index", self.index, *model, *paths, **more)

    def ask(self, *options: object, index: Path | None = None, **more: Any) -> Done:
        """Search for everything, with a few queries."""
        search = ("search", "--batch", "-", "--all", "--json", "--for", "both", "-k", 1000)
        return self.run(*search, "--index", index or self.index, *options, given=QUERIES, **more)

    def held(self, index: Path | None = None) -> dict[tuple[object, ...], tuple[object, ...]]:
        """What the catalog holds: the content and the code of each item."""
        with Catalog.open(index or self.index) as catalog:
            rows = catalog._db.execute("SELECT kind, path, line, text, photo, hash, code, taken FROM items").fetchall()
        items = {tuple(row[:5]): tuple(row[5:]) for row in rows}
        check(len(items) == len(rows), "items are in the catalog twice")
        return items

    def make_photos(self, folder: Path, count: int) -> None:
        """Write small pieces of real photos; a third of them carry a description."""
        folder.mkdir(parents=True, exist_ok=True)
        sources = [Image.open(SKIMAGE / name).convert("RGB") for name in list(PHOTOS)[:4]]
        for number in range(count):
            source = self.rng.choice(sources)
            left, top = self.rng.randrange(source.width - 64), self.rng.randrange(source.height - 64)
            exif = Image.Exif()
            if number % 3 == 0:
                exif[0x010E] = f"a dog of the number {self.rng.randrange(10**6)}"
            photo = source.crop((left, top, left + 64, top + 64))
            photo.save(folder / f"{self.rng.randrange(10**9):09}.jpg", exif=exif)


def answers(done: Done) -> list[tuple[object, ...]]:
    """The answers that `ask` printed. Their order within the same distance may differ."""
    rows = [json.loads(line) for line in done.output.splitlines()]
    return sorted((row["query"], row["kind"], row["distance"], row["path"], str(row.get("text"))) for row in rows)


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise FaultError(otherwise)


def _check_ended_well(done: Done, memory: int, command: str) -> None:
    told = f"{command}: status {done.status}; {done.errors[-500:]}"
    check(done.seconds < MOST_SECONDS, f"hangs: {told}")
    check(done.status in STATUSES, f"crashes: {told}")
    check("Traceback" not in done.errors and "This should not happen" not in done.errors, f"crashes: {told}")
    check(memory < MOST_BYTES, f"takes {memory >> 20} MB: {told}")
    check(done.status == 0 or bool(done.errors.strip()), f"says nothing: {told}")
