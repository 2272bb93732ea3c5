"""The same evaluation repeated with different seeds: mean and standard deviation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import Curve, Report


@dataclass(frozen=True)
class RepeatedMetric:
    """A metric over several runs: `deviation` is the sample standard deviation (n - 1), `chance` a mean."""

    name: str
    mean: float
    deviation: float
    chance: float
    values: list[float]


def repeated_metrics(reports: Sequence[Report]) -> list[RepeatedMetric]:
    """Each metric over two or more reports of one direction. Raises HashcliError when their metrics differ."""
    _require_alike(reports)
    repeated = []
    for metrics in zip(*(report.metrics for report in reports), strict=True):
        values = [metric.value for metric in metrics]
        chance = float(np.mean([metric.chance for metric in metrics]))
        repeated.append(
            RepeatedMetric(metrics[0].name, float(np.mean(values)), float(np.std(values, ddof=1)), chance, values)
        )
    return repeated


def mean_curves(reports: Sequence[Report]) -> list[Curve]:
    """The mean of each curve over the reports of one direction. Raises HashcliError when their metrics differ."""
    _require_alike(reports)
    return [
        Curve(
            curves[0].name,
            curves[0].x,
            np.mean([curve.values for curve in curves], axis=0).tolist(),
            np.mean([curve.chance for curve in curves], axis=0).tolist(),
        )
        for curves in zip(*(report.curves for report in reports), strict=True)
    ]


def _require_alike(reports: Sequence[Report]) -> None:
    kinds = [
        ([metric.name for metric in report.metrics], [(curve.name, curve.x) for curve in report.curves])
        for report in reports
    ]
    if any(kind != kinds[0] for kind in kinds):
        raise HashcliError(
            "These cannot be averaged: they differ in their metrics, bits or database.",
            "Give runs of one dataset and one code length that differ only in their seed.",
        )
