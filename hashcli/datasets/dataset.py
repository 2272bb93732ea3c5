"""A dataset in memory: photos, their texts, and labels where there are any."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hashcli.errors import HashcliError


@dataclass(frozen=True)
class ImageTextDataset:
    """n photos, each with one text or more, in a fixed order; photos without texts are loaded where they are asked for.

    `labels` is uint8 [n, classes] of 0 and 1, or None; a row of zeros alone is a photo without labels.
    `parts` are the publisher's own splits: the rows of each, int64.
    Of each photo only the first `searched` texts are evaluated, or all for None; the others are for training alone.
    `missing` says what of the official data is not on disk; it is empty when all is there.
    """

    name: str
    ids: list[str]
    images: list[Path]
    texts: list[list[str]]
    labels: np.ndarray | None = None
    label_names: list[str] = field(default_factory=list)
    parts: dict[str, np.ndarray] = field(default_factory=dict)
    missing: str = ""
    searched: int | None = None

    def searched_texts(self, row: int) -> list[str]:
        """The texts of a photo that are evaluated."""
        return self.texts[row][: self.searched]

    @property
    def labelled(self) -> np.ndarray:
        """bool [n]: the photos that have labels; all of them where the dataset has none."""
        return np.ones(len(self.ids), bool) if self.labels is None else np.asarray(self.labels.any(axis=1))


def require(path: Path, dataset: str, layout: str) -> Path:
    """The path, if it exists. Else raises HashcliError, which shows the layout that the dataset needs."""
    if not path.exists():
        raise HashcliError(f"{dataset}: {path} is not there.", f"Expected below its root folder:\n{layout}")
    return path


def first_there(root: Path, places: Iterable[str], dataset: str, layout: str) -> Path:
    """The first of some places below `root` that exists. Else raises HashcliError, which shows the layout."""
    places = list(places)
    found = next((root / place for place in places if (root / place).exists()), None)
    return found or require(root / places[0], dataset, layout)
