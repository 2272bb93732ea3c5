"""What the benchmarks work on: photos of given sizes made from real ones, and an index of any size."""

import itertools
import sqlite3
from pathlib import Path

import numpy as np
from PIL import Image

from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.model import HashModel
from hashcli.hashmodel.registry import DEFAULT_MODEL, find_model
from hashcli.index.catalog import Catalog, IndexedModel
from hashcli.index.catalog_file import FILE_NAME, check_value
from hashcli.index.update import refresh_derived_files
from tests.conftest import SKIMAGE


def make_photos(folder: Path, count: int, width: int, height: int, quality: int) -> list[Path]:
    """JPEGs of one size, each a different piece of a real photo with a camera's grain, so that they weigh as much."""
    folder.mkdir(parents=True)
    sources = [Image.open(SKIMAGE / name).convert("RGB") for name in ("astronaut.png", "rocket.jpg", "coffee.png")]
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        source = sources[number % len(sources)]
        side = int(rng.integers(200, min(source.size)))
        left, top = int(rng.integers(0, source.width - side + 1)), int(rng.integers(0, source.height - side + 1))
        piece = source.crop((left, top, left + side, top + side)).resize((width, height), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 5, (height, width, 3))
        paths.append(folder / f"photo{number:05}.jpg")
        Image.fromarray((np.asarray(piece) + grain).clip(0, 255).astype(np.uint8)).save(paths[-1], quality=quality)
    return paths


def make_outputs(count: int, seed: int) -> np.ndarray:
    """Outputs of a hash model, float32 [count, 256], whose codes are spread as those of photos: a code's distances to
    others vary by 19 bits (of random codes by 8), so that some photos are likelier than others."""
    rng, mixed = np.random.default_rng(seed), np.random.default_rng(0).standard_normal((18, 256), dtype=np.float32)
    outputs: np.ndarray = rng.standard_normal((count, 18), dtype=np.float32) @ mixed / np.sqrt(18, dtype=np.float32)
    outputs += np.float32(0.3) * rng.standard_normal((count, 256), dtype=np.float32)
    return outputs


def make_index(folder: Path, count: int) -> Path:
    """An index of `count` photos that exist nowhere, with codes of `make_outputs`. Three in four say when they were
    taken, one second after the other."""
    model = HashModel(find_model(DEFAULT_MODEL))
    rng = np.random.default_rng(0)
    codes = (code.tobytes() for seed in itertools.count(1) for code in pack(make_outputs(10_000, seed)))
    with Catalog.create_or_open(folder) as catalog:
        catalog.set_model(IndexedModel(DEFAULT_MODEL, model.fingerprint, model.bits))
        rows = (
            (
                (path := _path(folder, number).removeprefix(f"{folder.parent}/")),
                int(rng.integers(1_000_000, 9_000_000)),
                (modified := 1_700_000_000_000_000_000 + number),
                modified,
                (content_hash := rng.bytes(16)),
                (code := next(codes)),
                (taken := None if number % 4 == 0 else 1_700_000_000 + number),
                check_value(0, path, content_hash, None, code, None, None, taken, None, modified),
            )
            for number in range(count)
        )
        with sqlite3.connect(folder / FILE_NAME) as db:  # a tenth of the time that one after the other takes
            db.executemany(
                "INSERT INTO items (kind, path, size, mtime_ns, ctime_ns, hash, code, taken, check_value) "
                "VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
        db.close()
        with catalog.changing_items():
            pass  # begins a generation
        refresh_derived_files(catalog, folder)
    return folder


def make_keys(count: int) -> np.ndarray:
    """Keys uint8 [count, 9, 16] as `keys_of` gives them: as far from each other as those of photos are, and each crop's
    as far from its whole's. A tenth of the photos are there twice, and a hundredth are frames of one scene."""
    rng = np.random.default_rng(0)
    keys = np.repeat(rng.integers(0, 256, (count, 1, 16), dtype=np.uint8), 9, axis=1)
    frames, copies = count // 100, count // 10
    keys[-frames:] = keys[-1]
    keys[:copies] = keys[copies : 2 * copies]
    for start in range(0, count, 10_000):
        some = keys[start : start + 10_000]
        for number, share in enumerate((0, 0.11, 0.22, 0.16, 0.14, 0.16, 0.13, 0.41, 0.43)):
            key = np.random.default_rng(number).random((1, 128)) < share  # the same bits of every photo
            some[:, number] ^= np.packbits(key ^ (rng.random((len(some), 128)) < 0.04), axis=1)
    return keys


def mean_path_length(folder: Path, count: int) -> float:
    """Bytes of a path as the index of `make_index` stores it."""
    return sum(len(_path(folder, number)) - len(str(folder.parent)) - 1 for number in range(count)) / count


def _path(folder: Path, number: int) -> str:
    return str(folder.parent / f"Pictures/{2000 + number % 25}/{number % 12 + 1:02}/IMG_{number:07}.jpg")
