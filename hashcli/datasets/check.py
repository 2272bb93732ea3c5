"""What of a dataset is there, whether it can be read, and what its split lets leak from one part to another.

The size of a protocol is the literature's. A photo that is in two parts of the split, by its name or as a byte-for-byte
copy, makes figures better than they are.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.registry import find_protocol
from hashcli.datasets.splits import Split

EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """One thing found: how many of what, whether that is a problem, and the names of a few."""

    what: str
    count: int
    of: int | None = None
    is_problem: bool = False
    examples: tuple[str, ...] = ()


def check_dataset(
    dataset: ImageTextDataset, split: Split, protocol_name: str | None, advanced: Callable[[int], None]
) -> list[Finding]:
    """Read every file of the dataset; `advanced` is called with the number of photos read. In the order of importance
    to a reader: what is there, what cannot be read, the parts, what leaks between them.
    """
    digests, unreadable = _read_photos(dataset.images, advanced)
    return [
        *_counts(dataset, protocol_name),
        _named("photos that cannot be read", [dataset.ids[row] for row in unreadable], len(dataset.ids)),
        Finding("queries", len(split.query)),
        Finding("photos in the database", len(split.database)),
        Finding("photos to train on, with those of validation", len(split.train) + len(split.validation)),
        Finding("photos in the database that are not trained on", len(split.unseen)),
        *_leaks(dataset, split, digests),
    ]


def _counts(dataset: ImageTextDataset, protocol_name: str | None) -> list[Finding]:
    count = len(dataset.ids)
    protocol = find_protocol(dataset.name, protocol_name)
    # What published code splits may be of any size.
    expected = protocol.pairs if protocol and not protocol.legacy else None
    findings = [Finding("pairs", count, expected, expected is not None and count != expected)]
    if dataset.missing:
        findings.append(Finding(f"incomplete: {dataset.missing}", 1, is_problem=True))
    texts = [len(of_photo) for of_photo in dataset.texts]
    findings.append(Finding("texts", sum(texts)))
    empty = [
        name for name, own in zip(dataset.ids, dataset.texts, strict=True) if not any(text.strip() for text in own)
    ]
    findings.append(_named("photos without a text", empty, count, is_problem=False))  # some protocols keep them
    repeated = [name for name, uses in Counter(dataset.ids).items() if uses > 1]
    findings.append(_named("names that several photos have", repeated, count))
    if dataset.labels is not None:
        labels = dataset.labels
        bare = [dataset.ids[row] for row in np.flatnonzero(~labels.any(axis=1))]
        unused = [dataset.label_names[column] for column in np.flatnonzero(~labels.any(axis=0))]
        findings.append(Finding("labels", labels.shape[1]))
        findings.append(_named("photos without a label", bare, count))
        findings.append(_named("labels that no photo has", unused, labels.shape[1]))
    return findings


def _read_photos(images: Sequence[Path], advanced: Callable[[int], None]) -> tuple[list[str], list[int]]:
    """The digest of each photo's content, empty where there is none; and the rows of those that cannot be decoded."""
    from hashcli.hashmodel.formats import UnreadableImageError
    from hashcli.hashmodel.images import load_pixels

    digests, unreadable = [], []
    for row, path in enumerate(images):
        digest = ""
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            load_pixels(path, 32, "squash")
        except (OSError, UnreadableImageError):
            unreadable.append(row)
        digests.append(digest)
        advanced(1)
    return digests, unreadable


def _leaks(dataset: ImageTextDataset, split: Split, digests: list[str]) -> list[Finding]:
    """Queries of which a copy is trained on, or is in the database where that is another part."""
    trained = np.concatenate([split.train, split.validation])
    findings = [
        _shared("queries whose photo is also trained on", dataset, digests, split.query, trained),
        _shared("validation photos that are also trained on", dataset, digests, split.validation, split.train),
    ]
    if not np.array_equal(split.query, split.database):
        what = "queries whose photo is in the database"
        findings.append(_shared(what, dataset, digests, split.query, split.database))
    copies = defaultdict[str, list[str]](list)
    for name, digest in zip(dataset.ids, digests, strict=True):
        if digest:
            copies[digest].append(name)
    twice = [" = ".join(names) for names in copies.values() if len(names) > 1]
    findings.append(_named("photos that are there more than once, under different names", twice, is_problem=False))
    return findings


def _shared(what: str, dataset: ImageTextDataset, digests: list[str], part: np.ndarray, other: np.ndarray) -> Finding:
    """Rows of a part with a copy in another, by name or content."""
    names = {dataset.ids[row] for row in other}
    contents = {digests[row] for row in other} - {""}
    shared = [dataset.ids[row] for row in part if dataset.ids[row] in names or digests[row] in contents]
    return _named(what, shared, len(part))


def _named(what: str, names: Sequence[str], of: int | None = None, *, is_problem: bool = True) -> Finding:
    """Something that ought not to be, with a few examples."""
    return Finding(what, len(names), of, is_problem and bool(names), tuple(names[:EXAMPLES]))
