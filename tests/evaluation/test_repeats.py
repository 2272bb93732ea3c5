"""Mean and deviation over seeds, against the statistics module."""

import statistics

import numpy as np
import pytest

from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import Report, evaluate_labels
from hashcli.evaluation.repeats import mean_curves, repeated_metrics


def report(seed: int, n: int = 60) -> Report:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (n, 2), dtype=np.uint8)
    labels = rng.integers(0, 2, (n, 3), dtype=np.uint8)
    return evaluate_labels(codes[:10], labels[:10], codes[10:], labels[10:])


def test_mean_and_sample_deviation() -> None:
    reports = [report(seed) for seed in range(3)]
    for place, metric in enumerate(repeated_metrics(reports)):
        values = [one.metrics[place].value for one in reports]
        assert metric.name == reports[0].metrics[place].name
        assert metric.values == values
        assert metric.mean == pytest.approx(statistics.mean(values))
        assert metric.deviation == pytest.approx(statistics.stdev(values))
        assert metric.chance == pytest.approx(statistics.mean(one.metrics[place].chance for one in reports))
    for place, curve in enumerate(mean_curves(reports)):
        at_5 = [one.curves[place].values[5] for one in reports]
        assert curve.values[5] == pytest.approx(statistics.mean(at_5))


def test_reports_of_different_databases_are_not_averaged() -> None:
    with pytest.raises(HashcliError, match="differ"):
        repeated_metrics([report(0), report(0, n=70)])
