"""A hash model against a dataset's protocol: query codes of one modality, database codes of the other."""

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import Report, evaluate_labels, evaluate_pairs, mean_average_precision
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.model import HashModel


@dataclass(frozen=True)
class DatasetCodes:
    """Packed codes of some rows of a dataset, and of all their texts.

    `packed` has "image" uint8 [rows, bytes] and "text" [texts, bytes]; or only one kind, where a model has no more:
    "image", or "pair" [texts, bytes], of a photo and its text together. `text_rows` is the row of each text.
    """

    rows: np.ndarray
    text_rows: np.ndarray
    packed: dict[str, np.ndarray]

    def of(self, kind: str, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The codes of one kind of a part of the rows, in its order, and the row that each belongs to."""
        if kind == "image":
            return np.asarray(self.packed[kind][np.searchsorted(self.rows, part)]), part
        place = np.full(int(max(part.max(), self.text_rows.max())) + 1, -1)
        place[part] = np.arange(len(part))
        chosen = np.flatnonzero(place[self.text_rows] >= 0)
        chosen = chosen[np.argsort(place[self.text_rows[chosen]], kind="stable")]
        return self.packed[kind][chosen], self.text_rows[chosen]

    def searches(
        self, query: np.ndarray, database: np.ndarray
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Each direction, with the codes that ask and their rows, and the codes that answer and theirs."""
        kinds = list(self.packed)
        for asked, answering in [("image", "text"), ("text", "image")] if len(kinds) > 1 else [(kinds[0], kinds[0])]:
            yield f"{asked} to {answering}", *self.of(asked, query), *self.of(answering, database)


def encode_dataset(
    model: HashModel, pairs: ImageTextDataset, rows: np.ndarray, advanced: Callable[[int], None]
) -> DatasetCodes:
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
    text_rows = rows.repeat([len(pairs.texts[row]) for row in rows])
    return DatasetCodes(rows, text_rows, {"image": pack(np.stack(photos)), "text": pack(texts)})


def evaluate_codes(
    codes: DatasetCodes,
    labels: np.ndarray | None,
    query: np.ndarray,
    database: np.ndarray,
    cuts: Sequence[int] = (50, 5000),
) -> dict[str, Report]:
    """Reports by direction: mAP and precision where there are labels, recall of one's own photo or captions where not.

    `query` and `database` are rows; the order of `database` decides ties.
    """
    reports = {}
    for direction, asked, asked_rows, held, held_rows in codes.searches(query, database):
        if labels is None:
            reports[direction] = evaluate_pairs(asked, asked_rows, held, held_rows)
        else:
            reports[direction] = evaluate_labels(asked, labels[asked_rows], held, labels[held_rows], cuts)
    return reports


def headline(
    codes: DatasetCodes, labels: np.ndarray | None, query: np.ndarray, database: np.ndarray
) -> dict[str, float]:
    """The one figure of `compare` to watch in each direction: mAP@all, or recall@10 without labels."""
    figures = {}
    for direction, asked, asked_rows, held, held_rows in codes.searches(query, database):
        if labels is None:
            (recall,) = evaluate_pairs(asked, asked_rows, held, held_rows, [10]).metrics
            figures[f"{direction} {recall.name}"] = recall.value
        else:
            precision = mean_average_precision(asked, labels[asked_rows], held, labels[held_rows])
            figures[f"{direction} mAP@all"] = precision
    return figures


def evaluate_model(
    model: HashModel,
    pairs: ImageTextDataset,
    splits: Sequence[Split],
    cuts: Sequence[int],
    advanced: Callable[[int], None],
) -> list[dict[str, Report]]:
    """Encode once what the splits ask for, and compare by each."""
    codes = encode_dataset(model, pairs, rows_of(splits), advanced)
    return [evaluate_codes(codes, pairs.labels, split.query, split.database, cuts) for split in splits]


def rows_of(splits: Sequence[Split]) -> np.ndarray:
    """All rows that are query or database, in ascending order."""
    return np.unique(np.concatenate([part for split in splits for part in (split.query, split.database)]))


@dataclass(frozen=True)
class SavedCodes:
    """What a run of `hashcli distill` keeps to be measured again: rows refer to `labels`, uint8 [all rows, classes].

    `about` is what the run's run.json says of data and method, where it lies beside.
    """

    path: Path
    codes: DatasetCodes
    labels: np.ndarray | None
    query: np.ndarray
    database: np.ndarray
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        return 8 * int(self.codes.packed["image"].shape[1])

    def evaluate(self, cuts: Sequence[int]) -> dict[str, Report]:
        return evaluate_codes(self.codes, self.labels, self.query, self.database, cuts)


def read_codes(path: Path) -> SavedCodes:
    """The codes-BITS.npz of a run. Raises HashcliError when it is not one."""
    try:
        with np.load(path) as saved:
            codes = DatasetCodes(saved["rows"], saved["text_rows"], {"image": saved["photos"], "text": saved["texts"]})
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
