"""Towers from files: vectors of photos and of texts that another program has computed, found by name and by text.

    features:FILE    features:FILE,FILE,...    features:FOLDER, for all such files in it

A file is .npz, .mat (of any version), .h5 or .hdf5, and holds these arrays by name; others are passed over:

    files [n], features [n, width]                vectors of photos
    texts [m], features [m, width]                vectors of texts; `files` beside them are passed over
    files, image_features, texts, text_features   both in one file

A .npy file is one of these arrays, and its name says which: features.npy and files.npy, in one folder, are a pair.
Vectors need not be of unit length; here they are brought to it. Vectors of photos alone are enough for some methods.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hashcli.arrays import ARRAY_SUFFIXES, as_string, read_arrays, unreadable
from hashcli.errors import HashcliError, did_you_mean_path
from hashcli.hashmodel.description import Interpolation, Resize

PREFIX = "features:"
SUFFIXES = (*ARRAY_SUFFIXES, ".npy")
ARRAYS = ("files", "texts", "features", "image_features", "text_features")
SAME = 0.999  # cosine above which two vectors of one name are the same, computed twice

Kind = Literal["photo", "text"]
Arrays = dict[str, np.ndarray]  # by the names in ARRAYS


@dataclass(frozen=True)
class NamedVectors:
    """n vectors of photos, or of texts, float32 [n, width] of unit length; `rows` has the row of each name.

    `source` says which files they are from.
    """

    source: str
    kind: Kind
    rows: dict[str, int]
    vectors: np.ndarray

    def some(self, rows: Sequence[int | None], names: Sequence[str]) -> np.ndarray:
        """float32 [len(rows), width]. Raises HashcliError, naming those that have no row."""
        absent = [name for name, row in zip(names, rows, strict=True) if row is None]
        if absent:
            raise self._missing(absent, len(names))
        return self.vectors[np.array(rows, np.int64)]

    def _missing(self, absent: list[str], of: int) -> HashcliError:
        source, shown = self.source, _examples(list(dict.fromkeys(absent)))
        if not self.rows:
            return HashcliError(
                f"{source} holds vectors of photos alone, and this needs those of {of:,} texts as well."
            )
        known = f" There, a {self.kind} is named like {next(iter(self.rows))!r}." if len(absent) == of else ""
        have = "has" if len(absent) == 1 else "have"
        return HashcliError(
            f"{len(absent):,} of {of:,} {self.kind}s {have} no vector in {source}, for example {shown}.{known}",
            "Add their vectors, or train on a list of photos that have all of theirs"
            + (", or leave out the vectors of texts: CKDH needs only those of photos." if self.kind == "text" else "."),
        )


@dataclass
class VectorImageTower:
    """Vectors of photos, in place of an image tower.

    A photo's name is its path, or the end of it, from any folder on: `1.jpg`, `beach/1.jpg`. The longest that is known
    counts.
    """

    key: str
    width: int
    vectors: NamedVectors
    size: int = 0  # it reads no pixels
    resize: Resize = "crop"
    interpolation: Interpolation = "bicubic"

    def look_up(self, paths: Sequence[str]) -> np.ndarray:
        """float32 [n, width]. Raises HashcliError naming photos without a vector, and two that share one by name."""
        rows = [self._row(path) for path in paths]
        vectors = self.vectors.some(rows, paths)
        first: dict[int | None, str] = {}
        for path, row in zip(paths, rows, strict=True):
            if first.setdefault(row, path) != path:
                name = next(name for name, place in self.vectors.rows.items() if place == row)
                raise HashcliError(
                    f"In {self.vectors.source}, {name} could be {first[row]} or {path}.",
                    "Name the photos there by their paths from a folder that holds them all.",
                )
        return vectors

    def encode_images(self, paths: Iterable[str]) -> Iterator[np.ndarray | Exception]:
        yield from self.look_up(list(paths))

    def _row(self, path: str) -> int | None:
        parts = Path(os.path.abspath(path)).as_posix().split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((self.vectors.rows[end] for end in ends if end in self.vectors.rows), None)


@dataclass
class VectorTextTower:
    """Vectors of texts, in place of a text tower. White space in a text makes no difference."""

    key: str
    width: int
    vectors: NamedVectors

    @property
    def is_empty(self) -> bool:
        """Whether the files hold vectors of photos alone."""
        return not self.vectors.rows

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.vectors.some([self.vectors.rows.get(_text_name(text)) for text in texts], texts)


@dataclass(frozen=True)
class _Table:
    """The vectors of n photos, or of texts, in one file: float32 [n, width] of unit length, and their n names."""

    where: Path
    kind: Kind
    names: list[str]
    vectors: np.ndarray


def vector_towers(name: str, of: Kind = "photo") -> tuple[VectorImageTower, VectorTextTower]:
    """The towers of a name that starts with PREFIX. The files must hold at least vectors `of` one kind.

    Raises HashcliError naming a file that cannot be used, and what in it: an array that is missing or has the wrong
    shape, vectors that are zero or not finite, names with two different vectors, widths that differ.
    """
    source = name.removeprefix(PREFIX)
    found: dict[Kind, list[_Table]] = {"photo": [], "text": []}
    for where, arrays in _read_files(_find_files(source)):
        for one in _tables(where, arrays):
            found[one.kind].append(one)
    everything = found["photo"] + found["text"]
    if not found[of]:
        raise HashcliError(f"{source} holds no vectors of {of}s.", f"It needs the arrays {_needed(of)}.")
    first, width = everything[0].where, everything[0].vectors.shape[1]
    for one in everything:
        if (other := one.vectors.shape[1]) != width:
            raise HashcliError(
                f"The vectors of {first} have {width} numbers each, and those of {one.where} have {other}.",
                "Photos and texts need vectors of one model, in one space.",
            )
    image, text = (_joined(source, kind, tables, width) for kind, tables in found.items())
    key = f"features-{_digest(image, text)}"
    return VectorImageTower(key, width, image), VectorTextTower(key, width, text)


def _find_files(source: str) -> list[Path]:
    """The files that a name lists, those of a folder in the order of their names."""
    files = []
    for part in source.split(","):
        path = Path(part.strip()).expanduser()
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file())
            if not inside:
                raise HashcliError(f"{path} holds no vectors: no file in it ends in {_listed(SUFFIXES)}.")
            files += inside
        elif not path.is_file():
            raise HashcliError(f"There is no file {part.strip()!r}.{did_you_mean_path(part.strip())}")
        elif path.suffix.lower() not in SUFFIXES:
            raise HashcliError(f"{path} is no file of vectors.", f"Such a file ends in {_listed(SUFFIXES)}.")
        else:
            files.append(path)
    return files


def _read_files(files: list[Path]) -> Iterator[tuple[Path, Arrays]]:
    """The arrays of each file; those of a folder's .npy files together."""
    together: dict[Path, Arrays] = {}
    for path in files:
        if path.suffix.lower() == ".npy":
            together.setdefault(path.parent, {})[path.stem] = _read_npy(path)
        else:
            yield path, read_arrays(path, ARRAYS)
    yield from together.items()


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except Exception as error:  # numpy raises many kinds
        raise unreadable(path, error) from error


def _tables(where: Path, arrays: Arrays) -> list[_Table]:
    """The vectors of photos, of texts, or of both, that the arrays of one place are."""
    tables = []
    if "features" in arrays:
        kind: Kind = "text" if "texts" in arrays else "photo"
        tables.append(_table(where, kind, arrays, "features"))
    if "image_features" in arrays:
        tables.append(_table(where, "photo", arrays, "image_features"))
    if "text_features" in arrays:
        tables.append(_table(where, "text", arrays, "text_features"))
    if not tables:
        raise HashcliError(
            f"{where} holds no vectors under a name that is known.",
            f"It needs the arrays {_needed('photo')}, or {_needed('text')}.",
        )
    return tables


def _table(where: Path, kind: Kind, arrays: Arrays, features: str) -> _Table:
    key = "files" if kind == "photo" else "texts"
    if key not in arrays:
        raise HashcliError(f"{where} has {features} but no {key}.", f"It needs the arrays {_needed(kind)}.")
    names, vectors = _names(arrays[key], kind), arrays[features]
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or vectors.shape != (len(names), vectors.shape[1]):
        raise HashcliError(
            f"{where}: {features} is {vectors.dtype} {list(vectors.shape)}, and there are {len(names):,} {key}.",
            f"It must be numbers, one row for each of the {key}.",
        )
    vectors = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    useless = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
    if len(useless):
        examples = _examples([names[row] for row in useless])
        raise HashcliError(
            f"{where}: {len(useless):,} of {len(names):,} vectors are zero or not finite, for example of {examples}.",
            "Compute them again, or leave them out.",
        )
    return _Table(where, kind, names, vectors / lengths)


def _rows_by_name(where: str, names: Sequence[str], vectors: np.ndarray) -> dict[str, int]:
    """The first row of each name. Raises HashcliError for a name that has two different vectors."""
    rows: dict[str, int] = {}
    for row, name in enumerate(names):
        first = rows.setdefault(name, row)
        if first != row and vectors[first] @ vectors[row] < SAME:
            raise HashcliError(f"{where} has two different vectors of {name!r}.", "Leave one of them out.")
    return rows


def _joined(source: str, kind: Kind, tables: list[_Table], width: int) -> NamedVectors:
    """The vectors of all tables as one."""
    names = [name for one in tables for name in one.names]
    vectors = np.concatenate([np.empty((0, width), np.float32), *(one.vectors for one in tables)])
    return NamedVectors(source, kind, _rows_by_name(source, names, vectors), vectors)


def _names(array: np.ndarray, kind: Kind) -> list[str]:
    names = [as_string(one) for one in array.ravel()]
    if kind == "text":
        return [_text_name(name) for name in names]
    return [name.strip().replace("\\", "/").removeprefix("./") for name in names]


def _text_name(text: str) -> str:
    return " ".join(text.split())


def _needed(kind: Kind) -> str:
    return "files and features" if kind == "photo" else "texts and features"


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _examples(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3]))


def _digest(*parts: NamedVectors) -> str:
    """16 hex digits over all names and vectors."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update("\n".join([part.kind, *part.rows]).encode(errors="surrogateescape"))
        digest.update(part.vectors.tobytes())
    return digest.hexdigest()[:16]
