"""Bits flip, pages are lost and files are cut, in the catalog and in the files derived from it.

Each search is right or says that something is damaged; so is each after an update, unless the update said so.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.faults.bench import Bench, answers, check

DAMAGES = 2  # in one trial, each of an index that was sound
PAGE = 4096  # bytes, of SQLite


def trial(bench: Bench) -> None:
    photos = bench.folder / "photos"
    bench.make_photos(photos, 40)
    sound = bench.folder / "sound"
    bench.run("index", "--index", sound, "--model", bench.model, photos)
    right = {options: answers(bench.ask(*options, index=sound)) for options in ((), ("--after", "2000"))}
    for _ in range(DAMAGES):
        shutil.rmtree(bench.index, ignore_errors=True)
        shutil.copytree(sound, bench.index)
        damage = _damage(bench.rng.choice(_files(bench.index)), bench.rng)
        for options, expected in right.items():
            done = bench.ask(*options)
            is_right = done.status == 0 and answers(done) == expected
            check(is_right or bool(done.errors.strip()), f"{damage}: search {' '.join(options)} is wrong in silence")
        for command in ("info", "duplicates"):
            bench.run(command, "--index", bench.index)
        update = bench.update()
        after = bench.ask()
        check(
            (after.status == 0 and answers(after) == right[()]) or update.status != 0,
            f"{damage}: after an update that said nothing, search is wrong: {update.errors} {after.errors}",
        )


def _files(index: Path) -> list[Path]:
    """The catalog, as often as all others together: it is what cannot be made again."""
    files = sorted(file for file in index.iterdir() if file.stat().st_size)
    return files + [file for file in files if file.suffix == ".sqlite"] * (len(files) - 2)


def _damage(file: Path, rng: Random) -> str:
    """Damage a file at random; returns what was done."""
    content = bytearray(file.read_bytes())
    name, change = rng.choice(CHANGES)
    start = rng.randrange(len(content))
    change(content, start, rng)
    file.write_bytes(content)
    return f"{file.name}: {name} at {start}"


def _flip(content: bytearray, start: int, rng: Random) -> None:
    content[start] ^= 1 << rng.randrange(8)


def _flip_many(content: bytearray, _: int, rng: Random) -> None:
    for _ in range(30):
        _flip(content, rng.randrange(len(content)), rng)


def _flip_head(content: bytearray, start: int, rng: Random) -> None:
    _flip(content, start % 100, rng)


def _lose_page(content: bytearray, start: int, _: Random) -> None:
    start -= start % PAGE
    content[start : start + PAGE] = bytes(len(content[start : start + PAGE]))


def _overwrite(content: bytearray, start: int, rng: Random) -> None:
    content[start : start + 64] = rng.randbytes(len(content[start : start + 64]))


def _cut(content: bytearray, start: int, _: Random) -> None:
    del content[start:]


CHANGES: list[tuple[str, Callable[[bytearray, int, Random], None]]] = [
    ("a flipped bit", _flip),
    ("flipped bits", _flip_many),
    ("a flipped bit of the head", _flip_head),
    ("a lost page", _lose_page),
    ("random bytes", _overwrite),
    ("a cut", _cut),
]
