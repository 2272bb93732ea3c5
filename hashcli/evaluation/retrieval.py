"""Cross-modal retrieval on a dataset: query codes of one modality, database codes of the other."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hashcli.arrays import read_npz
from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import Report, evaluate_labels, evaluate_pairs, mean_average_precision
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.description import CODE_LENGTHS
from hashcli.hashmodel.model import HashModel
from hashcli.parsing import parse_json
from hashcli.plain_files import read_plain

UNSEEN = ", unseen database"  # ends the name of a direction in which only items are found that were not trained on
HEADLINE = "mAP@all"  # of the other directions than the main ones, only this is shown to people


def is_main(direction: str, directions: Collection[str]) -> bool:
    """Whether a direction is one of the field's, on the protocol's database: from photos to texts or back; or, of
    `directions` that are of one kind of code alone, that kind to itself.
    """
    query, _, database = direction.partition(" to ")
    return not direction.endswith(UNSEEN) and (query != database or "image to text" not in directions)


def main_results(reports: dict[str, Report]) -> dict[str, Report]:
    """The reports to show to people: of other directions than the main ones, only the mAP@all."""
    shown = {}
    for direction, report in reports.items():
        metrics = report.metrics
        if not is_main(direction, reports):
            metrics = [metric for metric in metrics if metric.name == HEADLINE]
        shown[direction] = Report(metrics, report.curves)
    return shown


@dataclass(frozen=True)
class Direction:
    """One direction of search, such as "image to text": packed codes uint8 [n, bytes] and the row of each code."""

    name: str
    query_codes: np.ndarray
    query_rows: np.ndarray
    database_codes: np.ndarray
    database_rows: np.ndarray


@dataclass(frozen=True)
class DatasetCodes:
    """Packed codes of some rows of a dataset, in ascending order, and of the texts of theirs that are evaluated.

    `packed` has "image" uint8 [rows, bytes] and "text" [texts, bytes]; or only one of "image" and "pair" [texts,
    bytes], a code of a photo and its text together. `text_rows` is the row of each text.
    """

    rows: np.ndarray
    text_rows: np.ndarray
    packed: dict[str, np.ndarray]

    def of(self, kind: str, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The codes of one kind for a part of the rows, in the order of `part`, and the row of each code."""
        if kind == "image":
            return np.asarray(self.packed[kind][np.searchsorted(self.rows, part)]), part
        place = np.full(int(max(part.max(), self.text_rows.max())) + 1, -1)
        place[part] = np.arange(len(part))
        chosen = np.flatnonzero(place[self.text_rows] >= 0)
        chosen = chosen[np.argsort(place[self.text_rows[chosen]], kind="stable")]
        return self.packed[kind][chosen], self.text_rows[chosen]

    def some_texts(self, places: np.ndarray) -> "DatasetCodes":
        """The same with only the texts at these places, and only the pairs with these texts."""
        packed = {kind: codes if kind == "image" else codes[places] for kind, codes in self.packed.items()}
        return DatasetCodes(self.rows, self.text_rows[places], packed)

    def directions(self, query: np.ndarray, database: np.ndarray) -> Iterator[Direction]:
        """Image to text and text to image; or the only kind there is, to itself. `query` and `database` are rows."""
        kinds = list(self.packed)
        for query_kind, database_kind in (
            [("image", "text"), ("text", "image")] if len(kinds) > 1 else [(kinds[0], kinds[0])]
        ):
            yield self._direction(query_kind, query, database_kind, database)

    def directions_within(self, query: np.ndarray, database: np.ndarray) -> Iterator[Direction]:
        """Image to image and text to text, where there are both. No query is in the database."""
        database = database[~np.isin(database, query)]
        for kind in self.packed if len(self.packed) > 1 and len(database) else ():
            yield self._direction(kind, query, kind, database)

    def _direction(self, query_kind: str, query: np.ndarray, database_kind: str, database: np.ndarray) -> Direction:
        name = f"{query_kind} to {database_kind}"
        return Direction(name, *self.of(query_kind, query), *self.of(database_kind, database))


@dataclass(frozen=True)
class EvaluatedRows:
    """The rows of a dataset for each use: `unseen` are those of `database` that were not trained on, where known."""

    query: np.ndarray
    database: np.ndarray
    unseen: np.ndarray | None = None


def encode_dataset(
    model: HashModel, dataset: ImageTextDataset, rows: np.ndarray, advanced: Callable[[int], None]
) -> DatasetCodes:
    """Codes of the given rows; `advanced` is called with the number of photos newly encoded.

    Raises HashcliError naming the first photo that cannot be read: to leave it out would change the metrics.
    """
    rows = np.unique(rows)
    photos = []
    for path, result in model.encode_image_files(str(dataset.images[row]) for row in rows):
        if isinstance(result, Exception):
            raise HashcliError(f"{path} cannot be read: {result}.", "Restore it from the dataset's archive.")
        photos.append(result)
        advanced(1)
    texts = [dataset.searched_texts(row) for row in rows]
    text_rows = rows.repeat([len(of_photo) for of_photo in texts])
    outputs = model.encode_texts([text for of_photo in texts for text in of_photo])
    return DatasetCodes(rows, text_rows, {"image": pack(np.stack(photos)), "text": pack(outputs)})


def evaluate_codes(
    codes: DatasetCodes,
    labels: np.ndarray | None,
    query: np.ndarray,
    database: np.ndarray,
    cuts: Sequence[int] = (50, 5000),
) -> dict[str, Report]:
    """Reports by direction. With `labels` uint8 [all rows, classes], mAP and precision, where items are relevant that
    share a label; without, the recall of a caption's own photo and of a photo's own captions.

    `query` and `database` are rows; the order of `database` decides ties. `cuts` are the k of mAP@k.
    """
    return {
        one.name: (
            evaluate_pairs(one.query_codes, one.query_rows, one.database_codes, one.database_rows)
            if labels is None
            else _evaluate_labels(one, labels, cuts)
        )
        for one in codes.directions(query, database)
    }


def evaluate_fully(
    codes: DatasetCodes, labels: np.ndarray | None, rows: EvaluatedRows, cuts: Sequence[int] = (50, 5000)
) -> dict[str, Report]:
    """The reports of `evaluate_codes` first; and with labels also: the recall of a query's own pair among the queries,
    search in the part of the database that was not trained on, and search from image to image and from text to text.
    """
    reports = evaluate_codes(codes, labels, rows.query, rows.database, cuts)
    if labels is None:
        return reports
    if len(codes.packed) > 1:
        for one in codes.directions(rows.query, rows.query):
            own = evaluate_pairs(one.query_codes, one.query_rows, one.database_codes, one.database_rows)
            named = [replace(metric, name=f"{metric.name} (own pair among queries)") for metric in own.metrics]
            reports[one.name] = Report([*reports[one.name].metrics, *named], reports[one.name].curves)
    if rows.unseen is not None and 0 < len(rows.unseen) < len(rows.database):
        unseen = evaluate_codes(codes, labels, rows.query, rows.unseen, cuts)
        reports |= {f"{name}{UNSEEN}": report for name, report in unseen.items()}
    for one in codes.directions_within(rows.query, rows.database):
        reports[one.name] = _evaluate_labels(one, labels, cuts)
    return reports


def _evaluate_labels(one: Direction, labels: np.ndarray, cuts: Sequence[int]) -> Report:
    return evaluate_labels(one.query_codes, labels[one.query_rows], one.database_codes, labels[one.database_rows], cuts)


def headline(
    codes: DatasetCodes, labels: np.ndarray | None, query: np.ndarray, database: np.ndarray
) -> dict[str, float]:
    """One metric of `evaluate_codes` for each direction, to watch during training: mAP@all, or recall@10 without
    labels."""
    values = {}
    for one in codes.directions(query, database):
        if labels is None:
            (recall,) = evaluate_pairs(
                one.query_codes, one.query_rows, one.database_codes, one.database_rows, [10]
            ).metrics
            values[f"{one.name} {recall.name}"] = recall.value
        else:
            values[f"{one.name} mAP@all"] = mean_average_precision(
                one.query_codes, labels[one.query_rows], one.database_codes, labels[one.database_rows]
            )
    return values


def evaluated_rows(splits: Sequence[Split]) -> np.ndarray:
    """All rows that are query or database in one of the splits, in ascending order."""
    return np.unique(np.concatenate([part for split in splits for part in (split.query, split.database)]))


@dataclass(frozen=True)
class SavedCodes:
    """The codes that a training run keeps, or codes of elsewhere, to be evaluated again.

    Rows refer to `labels`, uint8 [all rows, classes]. `unseen` are the rows of the database that were not trained on,
    where the run's split.json lies beside the codes; `origin` has the dataset, protocol, split, method and seed of the
    run, where its run.json does.
    """

    path: Path
    codes: DatasetCodes
    labels: np.ndarray | None
    query: np.ndarray
    database: np.ndarray
    unseen: np.ndarray | None = None
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def bits(self) -> int:
        return 8 * int(next(iter(self.codes.packed.values())).shape[1])

    @property
    def evaluated(self) -> EvaluatedRows:
        return EvaluatedRows(self.query, self.database, self.unseen)

    def evaluate(self, cuts: Sequence[int]) -> dict[str, Report]:
        """Reports by direction, as of `evaluate_fully`."""
        return evaluate_fully(self.codes, self.labels, self.evaluated, cuts)


def read_codes(path: str | Path) -> SavedCodes:
    """The codes-BITS.npz of a run. Raises HashcliError when the file is something else."""
    path = Path(path)
    try:
        saved = read_npz(path)
        codes = DatasetCodes(saved["rows"], saved["text_rows"], {"image": saved["photos"], "text": saved["texts"]})
        labels = saved.get("labels")
        query, database = saved["query"], saved["database"]
        _check_fit(codes, labels, query, database)
    except OSError as error:
        raise HashcliError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError) as error:
        raise HashcliError(f"{path} does not hold a run's codes: {error}.", "Give a run's codes-BITS.npz.") from error
    unseen = _unseen(path.parent / "split.json", database)
    return SavedCodes(path, codes, labels, query, database, unseen, _origin(path.parent / "run.json"))


def _check_fit(codes: DatasetCodes, labels: np.ndarray | None, query: np.ndarray, database: np.ndarray) -> None:
    """Raise ValueError for codes, rows and labels of which nothing can be evaluated."""
    photos, texts = codes.packed["image"], codes.packed["text"]
    for packed, rows in ((photos, codes.rows), (texts, codes.text_rows)):
        if (
            packed.dtype != np.uint8
            or packed.ndim != 2
            or rows.shape != packed.shape[:1]
            or rows.dtype.kind not in "iu"
        ):
            raise ValueError("codes are uint8 [n, bits / 8], with a row number each")
    if photos.shape[1] != texts.shape[1] or 8 * photos.shape[1] not in CODE_LENGTHS:
        raise ValueError(f"codes of {8 * photos.shape[1]} and {8 * texts.shape[1]} bits")
    if (np.diff(codes.rows) <= 0).any() or not np.isin(codes.text_rows, codes.rows).all():
        raise ValueError("rows that are not in ascending order, or not there")
    for part in (query, database):
        if part.ndim != 1 or not len(part) or part.dtype.kind not in "iu" or not np.isin(part, codes.rows).all():
            raise ValueError("a query or database that has no codes")
    if labels is not None and (labels.ndim != 2 or len(labels) <= codes.rows.max() or codes.rows.min() < 0):
        raise ValueError("labels that are not of these rows")


def check_averageable(saved: Sequence[SavedCodes]) -> None:
    """Raise HashcliError when codes differ in more than their seed: length, dataset, protocol or method."""
    for what in ("length", "dataset", "protocol", "method"):
        values = [(one.path, f"{one.bits} bits" if what == "length" else one.origin.get(what)) for one in saved]
        if len({value for _, value in values if value}) > 1:
            each = ", ".join(f"{path} has {value}" for path, value in values if value)
            raise HashcliError(
                f"Codes that differ in their {what} are not averaged: {each}.",
                "Give runs that differ only in their seed.",
            )


def _unseen(path: Path, database: np.ndarray) -> np.ndarray | None:
    """The rows of the database that the recorded split of a run does not train on; None where there is no record."""
    try:
        split = parse_json(read_plain(path).decode())
        trained = {*split["train"], *split["validation"]}
        unseen = np.array([photo not in trained for photo in split["database"]], bool)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HashcliError(f"{path} is not a recorded split: {error!r}.") from error
    return database[unseen] if len(unseen) == len(database) else None


def _origin(path: Path) -> dict[str, Any]:
    try:
        run = parse_json(read_plain(path).decode())
        return {key: run[key] for key in ("dataset", "protocol", "split")} | {
            key: run["config"][key] for key in ("method", "seed")
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HashcliError(f"{path} does not describe a run: {error!r}.") from error
