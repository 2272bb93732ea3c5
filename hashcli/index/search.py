"""Answers from an index: the items whose codes are nearest to a query's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashcli.errors import HashcliError
from hashcli.hashmodel.model import HashModel
from hashcli.hashmodel.registry import find_model
from hashcli.index.catalog import Catalog, Kind
from hashcli.index.hamming import Codes


@dataclass(frozen=True)
class Match:
    """One answer. `path` is absolute; `distance` is in bits, of `bits`."""

    rank: int
    kind: str
    path: str
    distance: int
    bits: int

    @property
    def similarity(self) -> float:
        """The share of bits that agree."""
        return 1 - self.distance / self.bits


class Index:
    """An index opened for reading, while others may read it and one may write it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog = Catalog.open(folder)
        model = self.catalog.model
        if model is None:
            self.catalog.close()
            raise HashcliError(f"The index in {folder} is empty.", "Add photos: hashcli index PATH-OF-PHOTOS")
        self.model = model

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.catalog.close()

    def load_model(self) -> HashModel:
        """The model the codes are of. Raises HashcliError when it is gone or is another one by now."""
        try:
            folder = find_model(self.model.source)
        except HashcliError as error:
            raise HashcliError(
                f"The index in {self.folder} was made with the hash model {self.model.source}, which is not there.",
                "Put it back, or encode everything with another: hashcli index --rehash --model NAME",
            ) from error
        model = HashModel(folder)
        if model.fingerprint != self.model.fingerprint:
            raise HashcliError(
                f"The index in {self.folder} was made with another version of {self.model.source} "
                f"({self.model.fingerprint}; now {model.fingerprint}), and their codes cannot be compared.",
                "Encode everything again: hashcli index --rehash",
            )
        return model

    def nearest(self, kind: Kind, output: np.ndarray, k: int, rerank: int = 0) -> list[Match]:
        """The k items of a kind nearest to a query's float output [bits], best first."""
        with self.catalog.snapshot():
            if self.catalog.model != self.model:
                raise HashcliError(
                    f"The index in {self.folder} was given another hash model just now.", "Run the search again."
                )
            nearest = self._codes(kind).nearest(output, k, rerank)
            paths = self.catalog.paths(int(id_) for id_ in nearest.ids)
        pairs = zip(nearest.ids.tolist(), nearest.distances.tolist(), strict=True)
        found = [(paths[id_], distance) for id_, distance in pairs if id_ in paths]
        return [
            Match(rank, kind.name.lower(), path, distance, self.model.bits)
            for rank, (path, distance) in enumerate(found, start=1)
        ]

    def _codes(self, kind: Kind) -> Codes:
        """The derived files, or the catalog's own codes while those are not of its generation.

        Nothing is written: an update is what brings the derived files back, and a search needs no right to write.
        """
        codes = Codes.mapped(self.folder, kind, self.catalog.generation, self.model.bits)
        return Codes.in_memory(*self.catalog.codes(kind)) if codes is None else codes
