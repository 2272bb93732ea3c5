"""Features of photos and texts, computed once for a dataset and kept on disk."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from filelock import FileLock

from hashcli.distillation.feature_files import VectorImageTower, VectorTextTower
from hashcli.distillation.towers import TEXT_BATCH, ImageTower, TextTower
from hashcli.errors import HashcliError

SAVED_EVERY = 64  # rows: what a kill costs at most


@dataclass(frozen=True)
class FeatureCache:
    """A folder of features. `advanced` is called with how many more photos or texts have theirs.

    Vectors that a file has already are looked up there, all at once, and not written again.
    """

    folder: Path
    dataset: str
    advanced: Callable[[int], None]

    def images(self, tower: ImageTower, paths: Sequence[Path], *, all_readable: bool = True) -> np.ndarray:
        """float32 [n, width] of photos, mapped from disk.

        Raises HashcliError naming a photo that cannot be read; without `all_readable`, its row is NaN.
        """
        if isinstance(tower, VectorImageTower):
            found = tower.look_up([*map(str, paths)])
            self.advanced(len(paths))
            return found

        def compute(out: np.ndarray, start: int) -> Iterator[int]:
            remaining = paths[start:]
            results = zip(remaining, tower.encode_images(map(str, remaining)), strict=True)
            for row, (path, result) in enumerate(results, start):
                if isinstance(result, Exception) and not all_readable:
                    result = np.full(tower.width, np.nan, np.float32)
                if isinstance(result, Exception):
                    raise HashcliError(f"{path} cannot be read: {result}.", "Restore it from the dataset's archive.")
                out[row] = result
                yield row + 1

        files = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        resize = tower.resize if tower.interpolation == "bicubic" else f"{tower.resize}-{tower.interpolation}"
        kind = f"{tower.key}-{tower.size}-{resize}{'' if all_readable else '-or-nan'}"
        return self._cached(kind, [*map(str, files)], tower.width, compute)

    def texts(self, tower: TextTower, texts: Sequence[str]) -> np.ndarray:
        """float32 [n, width] of texts, mapped from disk."""
        if isinstance(tower, VectorTextTower):
            found = tower.encode_texts(texts)
            self.advanced(len(texts))
            return found

        def compute(out: np.ndarray, start: int) -> Iterator[int]:
            for row in range(start, len(texts), TEXT_BATCH):
                batch = texts[row : row + TEXT_BATCH]
                out[row : row + len(batch)] = tower.encode_texts(batch)
                yield row + len(batch)

        return self._cached(tower.key, texts, tower.width, compute)

    def _cached(
        self, tower: str, items: Sequence[str], width: int, compute: Callable[[np.ndarray, int], Iterator[int]]
    ) -> np.ndarray:
        """An array by dataset, tower, pre-processing and the items themselves.

        `compute` fills the rows of an array from one on, and gives how many are filled. It goes on where a kill
        stopped it.
        """
        digest = hashlib.sha256("\n".join([tower, *items]).encode(errors="surrogateescape")).hexdigest()[:16]
        path = self.folder / f"{self.dataset}-{digest}.npy"
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # another run may want the same
            if path.exists():
                self.advanced(len(items))
            else:
                self._compute(path, (len(items), width), compute)
        return cast(np.ndarray, np.load(path, mmap_mode="r"))

    def _compute(self, path: Path, shape: tuple[int, int], compute: Callable[[np.ndarray, int], Iterator[int]]) -> None:
        temporary, progress = path.with_suffix(".tmp"), path.with_suffix(".rows")
        done = saved = int(progress.read_text()) if progress.exists() and temporary.exists() else 0
        out = np.lib.format.open_memmap(temporary, "r+" if done else "w+", np.float32, shape)
        self.advanced(done)
        for rows in compute(out, done):
            self.advanced(rows - done)
            done = rows
            if done - saved >= SAVED_EVERY:
                out.flush()
                progress.with_suffix(".next").write_text(str(done))
                progress.with_suffix(".next").replace(progress)
                saved = done
        out.flush()
        temporary.replace(path)
        progress.unlink(missing_ok=True)
