"""Who is query, database, training and validation: the field's named protocols, split by seed and checked."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.errors import HashcliError


@dataclass(frozen=True)
class Protocol:
    """Sizes of a random split of `pairs` photos: the query set, and the training set out of the rest, which is all
    database.

    With `per_label`, query and training set are drawn label by label: so many of each label and twice as many of the
    first, to the query set, and the same for training; what is left of `train` is then drawn from all.
    """

    name: str
    pairs: int
    query: int
    train: int
    source: str
    per_label: tuple[int, int] | None = None


# By dataset, the first being used where none is named. In all of them the database is all but the query set, so that it
# contains the training set. MIR-D takes other pairs of mirflickr than the rest: see datasets/mirflickr.py.
PROTOCOLS = {
    "coco": [Protocol("COCO", 122_218, 5_000, 10_000, "MITH, DCHMT, NACD")],
    "iapr": [Protocol("IAPR TC-12", 20_000, 2_000, 5_000, "UCCH")],
    "mirflickr": [
        Protocol("MIR-A", 20_015, 2_000, 10_000, "DCMH, SSAH, MITH"),
        Protocol("MIR-B", 20_015, 2_000, 5_000, "DJSRH, CFRH", per_label=(80, 200)),
        Protocol("MIR-C", 20_015, 2_000, 18_015, "UCCH, which trains on all of the database"),
        Protocol("MIR-D", 24_581, 5_000, 10_000, "DCHMT, DSPH"),
    ],
    "nuswide10": [Protocol("NUS-10", 186_577, 2_100, 5_000, "UCCH, DJSRH")],
    "nuswide21": [Protocol("NUS-21", 190_421, 2_100, 10_500, "MITH, NACD")],
}

# Where no one has set a protocol, that is, for one's own data. Ours.
OWN_QUERY_SHARE, OWN_QUERY_MOST = 0.1, 2_000

VALIDATION_SHARE = 0.1  # of the training set; no choice is ever made on the query set
PARTS = ("query", "database", "train", "validation")


@dataclass(frozen=True)
class Split:
    """Rows of the dataset for each use, int64. `train` and `validation` do not overlap."""

    protocol: str
    seed: int
    query: np.ndarray
    database: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    checksum: str
    warnings: list[str]

    def to_json(self, pairs: ImageTextDataset) -> str:
        """The split as lists of ids, for `read_split` to take up again."""
        about = {"dataset": pairs.name, "protocol": self.protocol, "seed": self.seed, "checksum": self.checksum}
        parts = {part: [pairs.ids[row] for row in getattr(self, part)] for part in PARTS}
        return json.dumps(about | {"warnings": self.warnings} | parts)


def find_protocol(dataset: str, name: str | None) -> Protocol | None:
    """A dataset's protocol by name, or its first; None where no one has set one. Raises HashcliError for no such
    name."""
    known = PROTOCOLS.get(dataset, [])
    if name is None:
        return known[0] if known else None
    for protocol in known:
        if protocol.name.lower() == name.lower():
            return protocol
    names = ", ".join(protocol.name for protocol in known)
    raise HashcliError(
        f"{dataset} has no protocol {name!r}.", f"It has {names}." if known else "Leave --protocol away: it has none."
    )


def make_split(pairs: ImageTextDataset, seed: int, protocol_name: str | None = None) -> Split:
    """Split a dataset by a protocol: a random one by seed, or the publisher's own parts.

    A dataset without either, one's own, has a tenth of its pairs as query set, at most 2,000, and the rest as database
    and training set.

    Without labels, query and database are the same held-out photos: captions are to find their photo, and photos their
    captions. Raises HashcliError when there are too few pairs.
    """
    warnings = [f"{pairs.name}: {pairs.missing}"] if pairs.missing else []
    rng = np.random.default_rng(seed)
    count = len(pairs.ids)
    protocol = find_protocol(pairs.name, protocol_name)
    scale = min(1.0, count / protocol.pairs) if protocol else 1.0
    if pairs.parts:
        held_out = "test" if "test" in pairs.parts else "dev"
        if held_out not in pairs.parts:
            raise HashcliError(f"{pairs.name}: neither the test nor the dev list is on disk.")
        query = pairs.parts[held_out]
        rest = train = rng.permutation(pairs.parts.get("train", np.empty(0, np.int64)))
        name = f"publisher's split, {held_out} part"
    else:
        order = rng.permutation(count)  # also shuffles the database, whose order decides ties
        if protocol:
            sizes = round(protocol.query * scale), round(protocol.train * scale)
            name = protocol.name
            if scale < 1:
                name += f", scaled to {count:,} of {protocol.pairs:,} pairs"
                counts = f"{sizes[0]:,} query, {sizes[1]:,} train, {count - sizes[0]:,} database"
                warnings.append(f"the protocol is scaled down: {counts}")
        else:
            held_out_count = min(OWN_QUERY_MOST, max(1, round(OWN_QUERY_SHARE * count)))
            sizes = held_out_count, count - held_out_count
            name = f"ours, {sizes[0]:,} of {count:,} pairs as query"
        if protocol and protocol.per_label and pairs.labels is not None:
            each = tuple(round(number * scale) for number in protocol.per_label)
            query, train = _label_by_label(pairs.labels, order, each, sizes)
            # Shuffled again: the first rows of `train` are all of the first label, and validation is the first tenth.
            train, rest = rng.permutation(train), rng.permutation(order[~np.isin(order, query)])
        else:
            query, rest = order[: sizes[0]], order[sizes[0] :]
            train = rest[: sizes[1]]
    if not len(query) or not len(train):
        raise HashcliError(f"{pairs.name}: {count} pairs are too few to split.")
    database = rest if pairs.labels is not None else query
    validation, train = np.split(train, [round(VALIDATION_SHARE * len(train))])
    checksum = _checksum(pairs, query, database, train, validation)
    split = Split(name, seed, query, database, train, validation, checksum, warnings)
    check_disjoint(split)
    return split


def _label_by_label(
    labels: np.ndarray, order: np.ndarray, each: tuple[int, ...], sizes: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Query and training set as DJSRH's code draws them, in the order given: a row goes to the first of its labels."""
    query, train = order[:0], order[:0]
    for column in range(labels.shape[1]):
        to_query, to_train = (2 * number if column == 0 else number for number in each)
        free = order[(labels[order, column] > 0) & ~np.isin(order, np.concatenate([query, train]))]
        query = np.concatenate([query, free[:to_query]])
        train = np.concatenate([train, free[to_query : to_query + to_train]])
    free = order[~np.isin(order, np.concatenate([query, train]))]
    return query, np.concatenate([train, free[: max(0, sizes[1] - len(train))]])


def read_split(path: Path, pairs: ImageTextDataset) -> Split:
    """A split that `Split.to_json` has written. Raises HashcliError when it is of other data or was changed."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        ids = {part: [str(photo) for photo in told[part]] for part in PARTS}
        dataset, checksum = told["dataset"], told["checksum"]
        protocol, seed, warnings = str(told["protocol"]), int(told["seed"]), [str(text) for text in told["warnings"]]
    except OSError as error:
        raise HashcliError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise HashcliError(f"{path} is not a recorded split: {error!r}.") from error
    if dataset != pairs.name:
        raise HashcliError(f"{path} is a split of {dataset}, not of {pairs.name}.")
    rows = {photo: row for row, photo in enumerate(pairs.ids)}
    absent = sorted({photo for own in ids.values() for photo in own if photo not in rows})
    if absent:
        raise HashcliError(
            f"{path} names {len(absent):,} photos that {pairs.name} does not have, {absent[0]} for one.",
            "A split can be repeated only on the data it was made of.",
        )
    query, database, train, validation = (np.array([rows[photo] for photo in ids[part]], np.int64) for part in PARTS)
    if checksum != _checksum(pairs, query, database, train, validation):
        raise HashcliError(f"{path}: its lists do not have the checksum {checksum}.", "It was changed: record it anew.")
    split = Split(protocol, seed, query, database, train, validation, checksum, warnings)
    check_disjoint(split)
    return split


def told_of_training(path: Path, pairs: ImageTextDataset, split: Split) -> str:
    """What to say where a run, by the split it recorded at `path`, has trained on queries of this one; else nothing."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        trained, seed, dataset = set(told["train"]), told["seed"], told["dataset"]
    except (OSError, ValueError, KeyError, TypeError):  # no run's: a model may lie anywhere
        return ""
    known = sum(pairs.ids[row] in trained for row in split.query) if dataset == pairs.name else 0
    if not known:
        return ""
    return (
        f"the model was trained on {known:,} of the {len(split.query):,} queries of seed {split.seed}, which "
        f"flatters it; its own run has seed {seed}"
    )


def check_disjoint(split: Split) -> None:
    """Raise ValueError when an item that trains or validates is also asked for, or does both."""
    parts = {"query": split.query, "train": split.train, "validation": split.validation}
    for first, second in (("query", "train"), ("query", "validation"), ("train", "validation")):
        shared = np.intersect1d(parts[first], parts[second])
        if len(shared):
            raise ValueError(f"{len(shared)} items are in both {first} and {second}, row {shared[0]} for one")


def _checksum(pairs: ImageTextDataset, *parts: np.ndarray) -> str:
    """16 hex digits over the ids of every part in order: two splits with the same one are the same."""
    listed = "\n\n".join("\n".join(pairs.ids[row] for row in part) for part in parts)
    return hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()[:16]
