"""Query set, database, training and validation set of a dataset, drawn by seed, recorded and read again."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.registry import find_protocol
from hashcli.datasets.source import Protocol
from hashcli.errors import HashcliError
from hashcli.parsing import parse_json
from hashcli.plain_files import read_plain

# For datasets without a protocol, such as custom ones. Our choice.
CUSTOM_QUERY_SHARE, CUSTOM_QUERY_MOST = 0.1, 2_000

VALIDATION_SHARE = 0.1  # of the training set; no choice is ever made on the query set
PARTS = ("query", "database", "train", "validation")


@dataclass(frozen=True)
class Split:
    """The rows of a dataset for each use, int64. The order of `database` decides ties.

    Nothing in `train` or `validation` is a query, and the two do not overlap. Without labels, `database` is `query`.
    `checksum` is over the ids of all four; `warnings` say where the data are less than the protocol's.
    """

    protocol: str
    seed: int
    query: np.ndarray
    database: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    checksum: str
    warnings: list[str]

    @property
    def unseen(self) -> np.ndarray:
        """The rows of the database that are neither trained on nor validated with: a database of new items.

        A database that holds the training set, as the field's protocols have it, rewards labels learned by heart.
        """
        return self.database[~np.isin(self.database, np.concatenate([self.train, self.validation]))]

    def to_json(self, dataset: ImageTextDataset) -> str:
        """The split as lists of ids, which `read_split` reads."""
        head = {"dataset": dataset.name, "protocol": self.protocol, "seed": self.seed, "checksum": self.checksum}
        parts = {part: [dataset.ids[row] for row in getattr(self, part)] for part in PARTS}
        return json.dumps(head | {"warnings": self.warnings} | parts)


def make_split(dataset: ImageTextDataset, seed: int, protocol_name: str | None = None) -> Split:
    """Split a dataset into query set, database, training and validation set, the same way for the same seed.

    By the publisher's own parts where the dataset has them; else by the protocol named, or the dataset's first one; and
    where there is none, as for custom data, with a tenth of the pairs as query set, at most 2,000, and all others as
    database and training set.

    Without labels, query and database are the same held-out photos: captions search for their photo, and photos for
    their captions. Where custom data has labels for some photos, those without are trained on and nothing else.
    Raises HashcliError when there are too few pairs, and when the dataset has no such protocol.
    """
    rng = np.random.default_rng(seed)
    protocol = find_protocol(dataset.name, protocol_name)
    if dataset.parts:
        drawn = _draw_published(dataset, protocol, seed, rng)
    elif protocol:
        drawn = _draw_by_protocol(dataset, protocol, seed, rng)
    else:
        drawn = _draw_custom(dataset, rng)
    if not len(drawn.query) or not len(drawn.train):
        raise HashcliError(f"{dataset.name}: {len(dataset.ids)} pairs are too few to split.")
    warnings = [f"{dataset.name}: {dataset.missing}"] if dataset.missing else []
    database = drawn.rest if dataset.labels is not None else drawn.query
    validation, train = np.split(drawn.train, [round(VALIDATION_SHARE * len(drawn.train))])
    train = np.concatenate([train, drawn.unlabelled])
    checksum = _checksum(dataset, drawn.query, database, train, validation)
    split = Split(
        drawn.protocol, seed, drawn.query, database, train, validation, checksum, [*warnings, *drawn.warnings]
    )
    check_disjoint(split)
    return split


class _Drawn(NamedTuple):
    """Rows as they were drawn: `rest` is all but the query set, and `train` is still with its validation rows.

    `unlabelled` are trained on as well.
    """

    protocol: str
    query: np.ndarray
    rest: np.ndarray
    train: np.ndarray
    warnings: tuple[str, ...] = ()
    unlabelled: np.ndarray = np.empty(0, np.int64)


def _draw_published(
    dataset: ImageTextDataset, protocol: Protocol | None, seed: int, rng: np.random.Generator
) -> _Drawn:
    held_out = "test" if "test" in dataset.parts else "dev"
    if held_out not in dataset.parts:
        raise HashcliError(f"{dataset.name}: neither the test nor the dev list is on disk.")
    train = rng.permutation(dataset.parts.get("train", np.empty(0, np.int64)))
    name, query = f"publisher's split, {held_out} part", dataset.parts[held_out]
    if protocol:
        fold = seed % protocol.folds
        name = protocol.name + (f", fold {fold} of {protocol.folds}" if protocol.folds > 1 else "")
        query = np.array_split(query, protocol.folds)[fold]
    return _Drawn(name, query, train, train)


def _draw_by_protocol(dataset: ImageTextDataset, protocol: Protocol, seed: int, rng: np.random.Generator) -> _Drawn:
    """The protocol's sizes, scaled down in proportion where only a part of the pairs is there."""
    count = len(dataset.ids)
    scale = min(1.0, count / protocol.pairs)
    sizes = round(protocol.query * scale), round(protocol.train * scale)
    name, warnings = protocol.name, list[str]()
    if scale < 1:
        name += f", scaled to {count:,} of {protocol.pairs:,} pairs"
        counts = f"{sizes[0]:,} query, {sizes[1]:,} train, {count - sizes[0]:,} database"
        warnings.append(f"the protocol is scaled down: {counts}")
    if protocol.legacy and dataset.missing:
        warnings.append("with photos missing, the split is not that of the published code")
    generator = np.random.RandomState(seed) if protocol.legacy else rng
    order = generator.permutation(count)  # also shuffles the database, whose order decides ties
    if protocol.per_label and dataset.labels is not None:
        per_label = tuple(round(number * scale) for number in protocol.per_label)
        query, train = _draw_label_by_label(dataset.labels, order, per_label, sizes)
        # Shuffled again: the first rows of `train` are all of the first label, and validation is the first tenth.
        train, rest = rng.permutation(train), rng.permutation(order[~np.isin(order, query)])
        return _Drawn(name, query, rest, train, tuple(warnings))
    query, rest = order[: sizes[0]], order[sizes[0] :]
    return _Drawn(name, query, rest, rest[: sizes[1]], tuple(warnings))


def _draw_custom(dataset: ImageTextDataset, rng: np.random.Generator) -> _Drawn:
    labelled = np.flatnonzero(dataset.labelled)
    count = len(labelled)
    queries = min(CUSTOM_QUERY_MOST, max(1, round(CUSTOM_QUERY_SHARE * count)))
    order = rng.permutation(labelled)  # also shuffles the database, whose order decides ties
    rest = order[queries:]
    what = "pairs" if all(dataset.texts) else "photos"
    name = f"ours, {queries:,} of {count:,} {what} as query"
    return _Drawn(name, order[:queries], rest, rest, unlabelled=np.flatnonzero(~dataset.labelled))


def _draw_label_by_label(
    labels: np.ndarray, order: np.ndarray, per_label: tuple[int, ...], sizes: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Query and training set as DJSRH's code draws them from `order`: a photo counts for its first label only."""
    query, train = order[:0], order[:0]
    for column in range(labels.shape[1]):
        to_query, to_train = (2 * number if column == 0 else number for number in per_label)
        free = order[(labels[order, column] > 0) & ~np.isin(order, np.concatenate([query, train]))]
        query = np.concatenate([query, free[:to_query]])
        train = np.concatenate([train, free[to_query : to_query + to_train]])
    free = order[~np.isin(order, np.concatenate([query, train]))]
    return query, np.concatenate([train, free[: max(0, sizes[1] - len(train))]])


def read_split(path: Path, dataset: ImageTextDataset) -> Split:
    """A split that `Split.to_json` has written. Raises HashcliError when it is of other data or was changed."""
    try:
        recorded = parse_json(read_plain(path).decode())
        ids = {part: [str(photo) for photo in recorded[part]] for part in PARTS}
        name, checksum = recorded["dataset"], recorded["checksum"]
        protocol, seed = str(recorded["protocol"]), int(recorded["seed"])
        warnings = [str(text) for text in recorded["warnings"]]
    except OSError as error:
        raise HashcliError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HashcliError(f"{path} is not a recorded split: {error!r}.") from error
    if name != dataset.name:
        raise HashcliError(f"{path} is a split of {name}, not of {dataset.name}.")
    rows = {photo: row for row, photo in enumerate(dataset.ids)}
    absent = sorted({photo for own in ids.values() for photo in own if photo not in rows})
    if absent:
        raise HashcliError(
            f"{path} names {len(absent):,} photos that {dataset.name} does not have, such as {absent[0]}.",
            "A split can be repeated only on the data it was made from.",
        )
    query, database, train, validation = (np.array([rows[photo] for photo in ids[part]], np.int64) for part in PARTS)
    if checksum != _checksum(dataset, query, database, train, validation):
        raise HashcliError(
            f"{path} was changed: its lists do not have the checksum {checksum}.", "Record the split again."
        )
    split = Split(protocol, seed, query, database, train, validation, checksum, warnings)
    check_disjoint(split)
    return split


def training_overlap(path: Path, dataset: ImageTextDataset, split: Split) -> str:
    """A warning where a model was trained on queries of `split`, going by the split its run recorded at `path`.

    Empty where it was not, and where there is no such record: a model may lie anywhere.
    """
    try:
        recorded = parse_json(read_plain(path).decode())
        trained, seed, name = set(recorded["train"]), recorded["seed"], recorded["dataset"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    shared = sum(dataset.ids[row] in trained for row in split.query) if name == dataset.name else 0
    if not shared:
        return ""
    return (
        f"the model was trained on {shared:,} of the {len(split.query):,} queries of seed {split.seed}, which "
        f"flatters it; its own run has seed {seed}"
    )


def check_disjoint(split: Split) -> None:
    """Raise ValueError when two of query, training and validation set share a row."""
    parts = {"query": split.query, "train": split.train, "validation": split.validation}
    for first, second in (("query", "train"), ("query", "validation"), ("train", "validation")):
        shared = np.intersect1d(parts[first], parts[second])
        if len(shared):
            raise ValueError(f"{len(shared)} items are in both {first} and {second}, such as row {shared[0]}")


def _checksum(dataset: ImageTextDataset, *parts: np.ndarray) -> str:
    """16 hex digits over the ids of every part in order: splits with the same checksum are the same."""
    listed = "\n\n".join("\n".join(dataset.ids[row] for row in part) for part in parts)
    return hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()[:16]
