"""Codes as published code of cross-modal hashing stores them, in .mat, .h5 or .npz files: read and written.

    q_img, q_txt     codes of the queries' photos and texts, [n, bits]
    r_img, r_txt     codes of the database's, which is the retrieval set
    q_l, r_l         labels of the queries and of the database, [n, classes]

So does the code of DCHMT and those that follow it. `qBX`, `qBY`, `rBX` and `rBY` with `query_L` and `retrieval_L`, of
DCMH's code, are read as well; and `qB`, `rB`, `qL` and `rL` for a single direction. Case makes no difference. A bit is
1 where a value is above 0: codes are of -1 and +1, or of 0 and 1, or the outputs before the sign.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hashcli.arrays import ARRAY_SUFFIXES, read_arrays, write_arrays
from hashcli.errors import HashcliError
from hashcli.evaluation.retrieval import DatasetCodes, EvaluatedRows, SavedCodes
from hashcli.hashmodel.codes import pack, unpack

# By kind of code, the names of the queries' and of the database's; "code" is for a single direction.
_CODES = {
    "image": (("q_img", "qbx", "query_img"), ("r_img", "rbx", "retrieval_img")),
    "text": (("q_txt", "qby", "query_txt"), ("r_txt", "rby", "retrieval_txt")),
    "code": (("qb", "query_code"), ("rb", "retrieval_code")),
}
_LABELS = (("q_l", "ql", "query_l", "query_label", "query_labels"), ("r_l", "rl", "retrieval_l", "retrieval_labels"))


class _Pair(NamedTuple):
    """An array of the queries and one of the database."""

    query: np.ndarray
    database: np.ndarray


def holds_peer_codes(path: Path) -> bool:
    """Whether a file is of this kind and not the codes-BITS.npz of a run. Raises HashcliError if it cannot be read."""
    suffix = path.suffix.lower()
    if suffix not in ARRAY_SUFFIXES or not path.is_file():
        return False
    if suffix != ".npz":
        return True
    try:
        with np.load(path, allow_pickle=False) as file:
            names = {name.lower() for name in file}
    except Exception:  # not a .npz at all, of which the reader of runs says so
        return False
    return any(name in names for queries, _ in _CODES.values() for name in queries)


def read_peer_codes(path: Path) -> SavedCodes:
    """The codes and labels in a file. Raises HashcliError naming what is missing in it or does not fit."""
    arrays = {name.lower(): array for name, array in read_arrays(path).items()}
    found = {kind: _find(arrays, names) for kind, names in _CODES.items()}
    pairs = {kind: pair for kind, pair in found.items() if pair}
    labels = _find(arrays, _LABELS)
    if not pairs or not labels:
        raise HashcliError(
            f"{path} holds no {'labels' if pairs else 'codes'} under names that are known: it has {', '.join(arrays)}.",
            "It needs q_img, q_txt, r_img, r_txt, q_l and r_l; or qB, rB, qL and rL.",
        )
    counts = (len(labels.query), len(labels.database))
    packed = {}
    for kind, pair in pairs.items():
        if (len(pair.query), len(pair.database)) != counts or pair.query.shape[1:] != pair.database.shape[1:]:
            shapes = f"{list(pair.query.shape)} and {list(pair.database.shape)}"
            raise HashcliError(
                f"{path}: the codes of kind {kind} are {shapes}, with labels of {counts[0]:,} and {counts[1]:,}.",
                "Codes are [n, bits], with one row for each row of labels.",
            )
        packed[kind] = _packed(path, kind, np.concatenate(pair))
    rows = np.arange(sum(counts))
    return SavedCodes(
        path,
        DatasetCodes(rows, rows, packed),
        _classes(path, labels),
        rows[: counts[0]],
        rows[counts[0] :],
    )


def write_peer_codes(
    path: Path, codes: DatasetCodes, labels: np.ndarray | None, rows: EvaluatedRows, ids: list[str] | None = None
) -> None:
    """Write codes of -1 and +1, labels and the split, as above. Of several texts of a photo, only the first is written.

    Besides, `q_rows` and `r_rows` are the rows of the dataset, from 0; `u_rows`, those of the database that were not
    trained on, where known; and `q_ids` and `r_ids` the names of the photos, where `ids` gives that of each row.
    """
    arrays: dict[str, np.ndarray] = {}
    for prefix, part in (("q", rows.query), ("r", rows.database)):
        arrays[f"{prefix}_rows"] = part
        for kind, name in (("image", "img"), ("text", "txt")):
            packed, of_rows = codes.of(kind, part)
            _, first = np.unique(of_rows, return_index=True)
            arrays[f"{prefix}_{name}"] = unpack(packed[np.sort(first)]).astype(np.int8)
        if labels is not None:
            arrays[f"{prefix}_l"] = labels[part].astype(np.uint8)
        if ids:
            arrays[f"{prefix}_ids"] = np.array([ids[row] for row in part])
    if rows.unseen is not None:
        arrays["u_rows"] = rows.unseen
    write_arrays(path, arrays)


def _find(arrays: Mapping[str, np.ndarray], names: tuple[tuple[str, ...], tuple[str, ...]]) -> _Pair | None:
    found = [next((arrays[name] for name in several if name in arrays), None) for several in names]
    return _Pair(found[0], found[1]) if found[0] is not None and found[1] is not None else None


def _packed(path: Path, kind: str, values: np.ndarray) -> np.ndarray:
    if values.ndim != 2 or values.dtype.kind not in "fiub" or values.shape[1] % 8 or not values.shape[1]:
        raise HashcliError(
            f"{path}: the codes of kind {kind} are {values.dtype} {list(values.shape)}.",
            "They are numbers, [n, bits], where the bits are a multiple of 8.",
        )
    if values.min() >= 0 and not np.isin(values, (0, 1)).all():
        raise HashcliError(
            f"{path}: the codes of kind {kind} are from {values.min()} to {values.max()}.",
            "They are -1 and +1, or 0 and 1, or numbers whose sign is the bit.",
        )
    return pack(values)


def _classes(path: Path, labels: _Pair) -> np.ndarray:
    """Labels 0 or 1 [n, classes]; the number of a single class for each row becomes such a row."""
    if labels.query.shape[1:] != labels.database.shape[1:] or labels.query.ndim > 2:
        shapes = f"{list(labels.query.shape)} and {list(labels.database.shape)}"
        raise HashcliError(f"{path}: the labels are {shapes}.", "They are [n, classes] of the same classes.")
    joined = np.concatenate(labels)
    if joined.ndim == 1 or joined.shape[1] == 1:
        return np.asarray(joined.reshape(-1, 1) == np.unique(joined), np.uint8)
    return np.asarray(joined > 0, np.uint8)
