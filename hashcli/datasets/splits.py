"""Who is query, database, training and validation: the field's named protocols, split by seed and checked."""

import hashlib
from dataclasses import dataclass

import numpy as np

from hashcli.datasets.pairs import Pairs


@dataclass(frozen=True)
class Protocol:
    """Sizes of a random split of `pairs` photos: the query set, and the training set out of the rest, which is all
    database."""

    name: str
    pairs: int
    query: int
    train: int
    source: str


# MIR-A: 2,000 query, 10,000 train, database = all but query, so that it contains the training set.
PROTOCOLS = {"mirflickr": Protocol("MIR-A (DCMH)", 20_015, 2_000, 10_000, "DCMH, SSAH, MITH")}

VALIDATION_SHARE = 0.1  # of the training set; no choice is ever made on the query set


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


def make_split(pairs: Pairs, seed: int) -> Split:
    """Split a dataset by its protocol: a random one by seed, or the publisher's own parts.

    With the publisher's parts, query and database are the same held-out photos: captions are to find their photo, and
    photos their captions.
    """
    warnings = [f"{pairs.name}: {pairs.missing}"] if pairs.missing else []
    rng = np.random.default_rng(seed)
    if pairs.parts:
        held_out = "test" if "test" in pairs.parts else "dev"
        query = database = pairs.parts[held_out]
        train = rng.permutation(pairs.parts.get("train", np.empty(0, np.int64)))
        name = f"publisher's split, {held_out} part"
    else:
        protocol = PROTOCOLS[pairs.name]
        scale = min(1.0, len(pairs.ids) / protocol.pairs)
        order = rng.permutation(len(pairs.ids))  # also shuffles the database, whose order decides ties
        sizes = round(protocol.query * scale), round(protocol.train * scale)
        query, database = order[: sizes[0]], order[sizes[0] :]
        train = database[: sizes[1]]
        name = protocol.name
        if scale < 1:
            name += f", scaled to {len(order):,} of {protocol.pairs:,} pairs"
            warnings.append(
                f"the protocol is scaled down: {sizes[0]} query, {sizes[1]} train, {len(database)} database"
            )
    validation, train = np.split(train, [round(VALIDATION_SHARE * len(train))])
    split = Split(
        name, seed, query, database, train, validation, _checksum(pairs, query, database, train, validation), warnings
    )
    check_disjoint(split)
    return split


def check_disjoint(split: Split) -> None:
    """Raise ValueError when an item that trains or validates is also asked for, or does both."""
    parts = {"query": split.query, "train": split.train, "validation": split.validation}
    for first, second in (("query", "train"), ("query", "validation"), ("train", "validation")):
        shared = np.intersect1d(parts[first], parts[second])
        if len(shared):
            raise ValueError(f"{len(shared)} items are in both {first} and {second}, row {shared[0]} for one")


def _checksum(pairs: Pairs, *parts: np.ndarray) -> str:
    """16 hex digits over the ids of every part in order: two splits with the same one are the same."""
    listed = "\n\n".join("\n".join(pairs.ids[row] for row in part) for part in parts)
    return hashlib.sha256(listed.encode()).hexdigest()[:16]
