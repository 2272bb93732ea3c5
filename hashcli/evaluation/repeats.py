"""The same measurement several times, by different seeds: mean and standard deviation."""

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


def repeated_figures(reports: Sequence[Report]) -> list[RepeatedMetric]:
    """Every figure over two or more reports of one direction. Raises HashcliError when they differ in kind."""
    _require_alike(reports)
    repeated = []
    for same in zip(*(report.metrics for report in reports), strict=True):
        values = [figure.value for figure in same]
        chance = float(np.mean([figure.chance for figure in same]))
        repeated.append(
            RepeatedMetric(same[0].name, float(np.mean(values)), float(np.std(values, ddof=1)), chance, values)
        )
    return repeated


def mean_curves(reports: Sequence[Report]) -> list[Curve]:
    """Every curve's mean over the reports of one direction. Raises HashcliError when they measure different things."""
    _require_alike(reports)
    return [
        Curve(
            same[0].name,
            same[0].x,
            np.mean([curve.values for curve in same], axis=0).tolist(),
            np.mean([curve.chance for curve in same], axis=0).tolist(),
        )
        for same in zip(*(report.curves for report in reports), strict=True)
    ]


def _require_alike(reports: Sequence[Report]) -> None:
    kinds = [
        ([figure.name for figure in report.metrics], [(curve.name, curve.x) for curve in report.curves])
        for report in reports
    ]
    if any(kind != kinds[0] for kind in kinds):
        raise HashcliError(
            "These cannot be averaged: they differ in their figures, bits or database.",
            "Give runs of one dataset and one code length that differ by their seed.",
        )
