"""A hash model against a dataset's protocol: query codes of one modality, database codes of the other."""

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hashcli.datasets.pairs import Pairs
from hashcli.datasets.splits import Split
from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import Report, evaluate_labels, evaluate_pairs
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.model import HashModel


@dataclass(frozen=True)
class Codes:
    """Packed codes of some rows of a dataset: a photo's uint8 [rows, bytes], and those of all its texts [texts, bytes]
    with the row that each belongs to."""

    rows: np.ndarray
    photos: np.ndarray
    texts: np.ndarray
    text_rows: np.ndarray

    def photos_of(self, part: np.ndarray) -> np.ndarray:
        """The photos' codes of a part, in its order."""
        return np.asarray(self.photos[np.searchsorted(self.rows, part)])

    def texts_of(self, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The codes of all texts of a part, in its order, and the row each belongs to."""
        place = np.full(int(max(part.max(), self.text_rows.max())) + 1, -1)
        place[part] = np.arange(len(part))
        chosen = np.flatnonzero(place[self.text_rows] >= 0)
        chosen = chosen[np.argsort(place[self.text_rows[chosen]], kind="stable")]
        return self.texts[chosen], self.text_rows[chosen]


def encode(model: HashModel, pairs: Pairs, rows: np.ndarray, advanced: Callable[[int], None]) -> Codes:
    """Codes of the given rows. Raises HashcliError naming a photo that cannot be read: what is left out would change
    what is measured."""
    rows = np.unique(rows)
    photos = []
    for path, result in model.encode_image_files(str(pairs.images[row]) for row in rows):
        if isinstance(result, Exception):
            raise HashcliError(f"{path} cannot be read: {result}.", "Restore it from the dataset's archive.")
        photos.append(result)
        advanced(1)
    texts = model.encode_texts([text for row in rows for text in pairs.texts[row]])
    return Codes(rows, pack(np.stack(photos)), pack(texts), rows.repeat([len(pairs.texts[row]) for row in rows]))


def compare(
    codes: Codes, labels: np.ndarray | None, query: np.ndarray, database: np.ndarray, cuts: Sequence[int] = (50, 5000)
) -> dict[str, Report]:
    """Reports by direction: mAP and precision where there are labels, recall of one's own photo or captions where not.

    `query` and `database` are rows; the order of `database` decides ties.
    """
    query_texts, query_rows = codes.texts_of(query)
    database_texts, database_rows = codes.texts_of(database)
    query_photos, database_photos = codes.photos_of(query), codes.photos_of(database)
    if labels is None:
        return {
            "image to text": evaluate_pairs(query_photos, query, database_texts, database_rows),
            "text to image": evaluate_pairs(query_texts, query_rows, database_photos, database),
        }
    return {
        "image to text": evaluate_labels(query_photos, labels[query], database_texts, labels[database_rows], cuts),
        "text to image": evaluate_labels(query_texts, labels[query_rows], database_photos, labels[database], cuts),
    }


def measure(
    model: HashModel, pairs: Pairs, splits: Sequence[Split], cuts: Sequence[int], advanced: Callable[[int], None]
) -> list[dict[str, Report]]:
    """Encode once what the splits ask for, and compare by each."""
    codes = encode(model, pairs, rows_of(splits), advanced)
    return [compare(codes, pairs.labels, split.query, split.database, cuts) for split in splits]


def rows_of(splits: Sequence[Split]) -> np.ndarray:
    """All rows that are query or database, in ascending order."""
    return np.unique(np.concatenate([part for split in splits for part in (split.query, split.database)]))


@dataclass(frozen=True)
class SavedCodes:
    """What a run of `hashcli distill` keeps to be measured again: rows refer to `labels`, uint8 [all rows, classes].

    `about` is what the run's run.json says of data and method, where it lies beside.
    """

    path: Path
    codes: Codes
    labels: np.ndarray | None
    query: np.ndarray
    database: np.ndarray
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        return 8 * int(self.codes.photos.shape[1])

    def compare(self, cuts: Sequence[int]) -> dict[str, Report]:
        return compare(self.codes, self.labels, self.query, self.database, cuts)


def read_codes(path: Path) -> SavedCodes:
    """The codes-BITS.npz of a run. Raises HashcliError when it is not one."""
    try:
        with np.load(path) as saved:
            codes = Codes(*(saved[name] for name in ("rows", "photos", "texts", "text_rows")))
            labels = saved.get("labels")
            query, database = saved["query"], saved["database"]
    except OSError as error:
        raise HashcliError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise HashcliError(f"{path} does not hold a run's codes: {error}.", "Give a run's codes-BITS.npz.") from error
    return SavedCodes(path, codes, labels, query, database, _about(path.parent / "run.json"))


def _about(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        about = {key: told[key] for key in ("dataset", "protocol", "split")}
        return about | {key: told["config"][key] for key in ("method", "seed")}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HashcliError(f"{path} does not describe a run: {error!r}.") from error
