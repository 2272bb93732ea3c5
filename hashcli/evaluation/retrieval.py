"""A hash model against a dataset's protocol: query codes of one modality, database codes of the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    model: HashModel, pairs: Pairs, split: Split, cuts: Sequence[int], advanced: Callable[[int], None]
) -> dict[str, Report]:
    """Encode what a split asks for, and compare."""
    codes = encode(model, pairs, np.union1d(split.query, split.database), advanced)
    return compare(codes, pairs.labels, split.query, split.database, cuts)
