"""Evaluates a run by its split: on the validation photos while it trains, and on the query set at its end."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.distillation.features import Features, UsedItems
from hashcli.distillation.trainer import Encoder
from hashcli.evaluation.ranking import Report
from hashcli.evaluation.retrieval import DatasetCodes, EvaluatedRows, evaluate_codes, evaluate_fully, headline
from hashcli.hashmodel.codes import pack

Reports = dict[str, Report]  # by direction


class SplitEvaluator:
    """Evaluates encoders on a dataset's split, with the `features` of all items that the run uses.

    `on_report` gets the name of what was evaluated and its reports. Validation photos are the queries and the photos
    trained on are the database; without labels, the validation photos are searched for among themselves.
    """

    def __init__(
        self,
        dataset: ImageTextDataset,
        split: Split,
        items: UsedItems,
        features: Features,
        on_report: Callable[[str, Reports], None],
    ) -> None:
        self.dataset, self.split, self.items, self.features, self.on_report = dataset, split, items, features, on_report
        used = [split.validation] if dataset.labels is None else [split.validation, split.train]
        self.validation_rows = np.unique(np.concatenate(used))
        places = np.searchsorted(items.rows, self.validation_rows)
        self.validation_features = features.part(torch.from_numpy(places))
        of_validation = np.flatnonzero(np.isin(items.photo_of, places))
        self._validation_searched = np.flatnonzero(np.isin(of_validation, items.searched))

    def validate(self, encode: Encoder, seen: Tensor | None) -> dict[str, float]:
        codes = self._validation_codes(encode)
        return headline(codes, self.dataset.labels, self.split.validation, self._database(seen)) if codes else {}

    def report(self, what: str, encode: Encoder) -> None:
        codes = self.codes(encode)
        if self._can_search(codes):
            self.on_report(what, self.evaluate(codes))

    def report_stream(self, what: str, encode: Encoder, seen: Tensor, stored: Tensor | None) -> None:
        if self.dataset.labels is None:
            return
        codes = _encode(encode, self.features, self.items.rows)
        if stored is not None:
            packed = pack(stored.cpu().numpy())
            rows, places = self.items.trained_rows[seen.numpy()], self.items.trained[seen.numpy()]
            codes.packed["image"][np.searchsorted(self.items.rows, rows)] = packed
            codes.packed["text"][places] = packed
        codes = codes.some_texts(self.items.searched)
        self.on_report(what, evaluate_codes(codes, self.dataset.labels, self.split.query, self._database(seen)))

    def report_validation(self, what: str, encode: Encoder) -> None:
        codes = self._validation_codes(encode)
        if codes:
            database = self._database(None)
            self.on_report(what, evaluate_codes(codes, self.dataset.labels, self.split.validation, database))

    def codes(self, encode: Encoder) -> DatasetCodes:
        """Codes of all photos that the run uses, and of their texts that are evaluated."""
        return _encode(encode, self.features, self.items.rows).some_texts(self.items.searched)

    def evaluate(self, codes: DatasetCodes) -> Reports:
        """All metrics of the query set by direction, as of `evaluate_fully`: in the unseen database too."""
        rows = EvaluatedRows(self.split.query, self.split.database, self.split.unseen)
        return evaluate_fully(codes, self.dataset.labels, rows)

    def _validation_codes(self, encode: Encoder) -> DatasetCodes | None:
        if not len(self.split.validation):
            return None
        codes = _encode(encode, self.validation_features, self.validation_rows).some_texts(self._validation_searched)
        return codes if self._can_search(codes) else None

    def _can_search(self, codes: DatasetCodes) -> bool:
        """False for codes of a single kind without labels: each query would find itself in the database."""
        return self.dataset.labels is not None or len(codes.packed) > 1

    def _database(self, seen: Tensor | None) -> np.ndarray:
        if self.dataset.labels is None:
            return self.split.validation
        train = self.split.train[self.dataset.labelled[self.split.train]]
        return train if seen is None else train[np.isin(train, self.items.trained_rows[seen.numpy()])]


def _encode(encode: Encoder, features: Features, rows: np.ndarray) -> DatasetCodes:
    with torch.no_grad():
        packed = {kind: pack(outputs.cpu().numpy()) for kind, outputs in encode(features).items()}
    return DatasetCodes(rows, rows[features.photo_of.cpu().numpy()], packed)
