"""What a run measures: while it trains, on the validation photos; in the end, on the query set."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.distillation.material import Encode, Features
from hashcli.evaluation.ranking import Report
from hashcli.evaluation.retrieval import DatasetCodes, evaluate_codes, headline
from hashcli.hashmodel.codes import pack

Reports = dict[str, Report]  # by direction


class SplitMeasure:
    """Measures by a dataset's split.

    `features` are of all the dataset's `rows` that are used, in ascending order, and `trained` [m] is the row of each
    training row. Validation photos ask, and the photos that were trained on answer; without labels, the validation
    photos are looked for among themselves.
    """

    def __init__(
        self,
        pairs: ImageTextDataset,
        split: Split,
        features: Features,
        rows: np.ndarray,
        trained: np.ndarray,
        tell: Callable[[str, Reports], None],
    ) -> None:
        self.pairs, self.split, self.features, self.rows, self.trained = pairs, split, features, rows, trained
        self.tell = tell
        used = [split.validation] if pairs.labels is None else [split.validation, split.train]
        self.validation_rows = np.unique(np.concatenate(used))
        self.validation_features = features.part(torch.from_numpy(np.searchsorted(rows, self.validation_rows)))

    def validate(self, encode: Encode, seen: Tensor | None) -> dict[str, float]:
        codes = self._validation_codes(encode)
        return headline(codes, self.pairs.labels, self.split.validation, self._database(seen)) if codes else {}

    def report(self, what: str, encode: Encode) -> None:
        codes = self.codes(encode)
        if self._can_search(codes):
            self.tell(what, evaluate_codes(codes, self.pairs.labels, self.split.query, self.split.database))

    def report_validation(self, what: str, encode: Encode, seen: Tensor | None) -> None:
        codes = self._validation_codes(encode)
        if codes:
            self.tell(what, evaluate_codes(codes, self.pairs.labels, self.split.validation, self._database(seen)))

    def codes(self, encode: Encode) -> DatasetCodes:
        """Codes of all rows that the run uses."""
        return _codes(encode, self.features, self.rows)

    def _validation_codes(self, encode: Encode) -> DatasetCodes | None:
        if not len(self.split.validation):
            return None
        codes = _codes(encode, self.validation_features, self.validation_rows)
        return codes if self._can_search(codes) else None

    def _can_search(self, codes: DatasetCodes) -> bool:
        """Without labels, what asks finds itself where both sides are of one kind."""
        return self.pairs.labels is not None or len(codes.packed) > 1

    def _database(self, seen: Tensor | None) -> np.ndarray:
        if self.pairs.labels is None:
            return self.split.validation
        train = self.split.train
        return train if seen is None else train[np.isin(train, self.trained[seen.numpy()])]


def _codes(encode: Encode, features: Features, rows: np.ndarray) -> DatasetCodes:
    with torch.no_grad():
        packed = {kind: pack(outputs.cpu().numpy()) for kind, outputs in encode(features).items()}
    return DatasetCodes(rows, rows[features.photo_of.cpu().numpy()], packed)
