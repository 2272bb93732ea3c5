"""A hash model against a dataset's protocol: query codes of one modality, database codes of the other."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hashcli.datasets.pairs import Pairs
from hashcli.datasets.splits import Split
from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import Report, evaluate_labels, evaluate_pairs
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.model import HashModel


def measure(
    model: HashModel, pairs: Pairs, split: Split, cuts: Sequence[int], advanced: Callable[[int], None]
) -> dict[str, Report]:
    """Reports by direction: mAP and precision where the dataset has labels, recall of one's own captions where not.

    Raises HashcliError naming a photo that cannot be read: an item left out would change what is measured.
    """
    rows = np.union1d(split.query, split.database)
    photos = dict(zip(rows.tolist(), _encode_photos(model, [pairs.images[row] for row in rows], advanced), strict=True))
    texts = {row: pack(model.encode_texts(pairs.texts[row])) for row in rows.tolist()}  # [captions, bytes] each

    def photo_codes(part: np.ndarray) -> np.ndarray:
        return np.stack([photos[row] for row in part.tolist()])

    def text_codes(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes of all texts of a part, and the row each belongs to."""
        codes = [texts[row] for row in part.tolist()]
        return np.concatenate(codes), part.repeat([len(own) for own in codes])

    query_texts, query_rows = text_codes(split.query)
    database_texts, database_rows = text_codes(split.database)
    query_photos, database_photos = photo_codes(split.query), photo_codes(split.database)
    if pairs.labels is None:
        return {
            "text to image": evaluate_pairs(query_texts, query_rows, database_photos, split.database),
            "image to text": evaluate_pairs(query_photos, split.query, database_texts, database_rows),
        }
    labels = pairs.labels
    return {
        "image to text": evaluate_labels(
            query_photos, labels[split.query], database_texts, labels[database_rows], cuts
        ),
        "text to image": evaluate_labels(
            query_texts, labels[query_rows], database_photos, labels[split.database], cuts
        ),
    }


def _encode_photos(model: HashModel, paths: list[Path], advanced: Callable[[int], None]) -> np.ndarray:
    outputs = []
    for path, result in model.encode_image_files(map(str, paths)):
        if isinstance(result, Exception):
            raise HashcliError(f"{path} cannot be read: {result}.", "Restore it from the dataset's archive.")
        outputs.append(result)
        advanced(1)
    return pack(np.stack(outputs))
