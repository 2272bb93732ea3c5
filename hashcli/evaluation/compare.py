"""Runs of `distill` compared: each metric by method and code length, over seeds, and what is gained over a baseline.

Only what the run folders hold is read: run.json, metrics.json and, for curves, codes-BITS.npz.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from hashcli.errors import HashcliError, reason_of
from hashcli.evaluation.ranking import Curve
from hashcli.evaluation.repeats import mean_curves
from hashcli.evaluation.retrieval import UNSEEN, check_averageable, is_main, read_codes
from hashcli.parsing import parse_json
from hashcli.plain_files import read_plain

# Settings that do not tell methods apart: those that are compared over, and those without an effect on the codes.
_NO_LABEL = ("seed", "bits", "device", "validate_every")


@dataclass(frozen=True)
class Run:
    """A run folder: `facts` are of its run.json, `rows` of its metrics.json, or None while it is not finished."""

    path: Path
    facts: dict[str, Any]
    rows: list[dict[str, Any]] | None

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.facts["config"])

    @property
    def seed(self) -> int:
        return int(self.config["seed"])


@dataclass(frozen=True)
class Spread:
    """A mean over seeds. `deviation` is the sample standard deviation (n - 1), or None for one seed."""

    by_seed: dict[int, float]

    @property
    def mean(self) -> float:
        return mean(self.by_seed.values())

    @property
    def deviation(self) -> float | None:
        return stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None

    def minus(self, other: "Spread") -> "Spread | None":
        """The differences seed by seed; None if no seed is in both."""
        both = {seed: value - other.by_seed[seed] for seed, value in self.by_seed.items() if seed in other.by_seed}
        return Spread(both) if both else None


@dataclass(frozen=True)
class ComparedMetric:
    """A metric of runs that differ in their seed only.

    `label` names the runs: their method, with the settings in which the compared runs of it differ. `of` is what was
    evaluated: the method itself, a teacher, a baseline. `gain` is over the runs labelled `baseline`.
    """

    label: str
    of: str
    bits: int
    direction: str
    metric: str
    values: Spread
    chance: float
    baseline: str | None = None
    gain: Spread | None = None


@dataclass(frozen=True)
class Comparison:
    """Runs by label, in the order given, and `metrics` of all of them."""

    runs: dict[str, list[Run]]
    metrics: list[ComparedMetric] = field(default_factory=list)

    @property
    def bits(self) -> list[int]:
        return sorted({metric.bits for metric in self.metrics})


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in these folders: a run folder itself, or those anywhere in it. Raises HashcliError if one has none."""
    found: dict[Path, Run] = {}
    for path in paths:
        files = [path / "run.json"] if (path / "run.json").exists() else sorted(path.rglob("run.json"))
        if not files:
            raise HashcliError(f"{path} holds no run.", "Give the folder of a run, or a folder of such folders.")
        for file in files:
            found.setdefault(file.resolve(), _read_run(file.parent))
    return list(found.values())


def compare(runs: Sequence[Run], baseline: str | None = None) -> Comparison:
    """Compare finished runs on the same dataset and protocol, and of the same split where they are of the same seed.

    The gain of each is over the runs labelled `baseline`; without one, over those of the same settings that were
    trained without a teacher (distil = false). Raises HashcliError if the runs do not go together, or if there is no
    such label.
    """
    finished = [run for run in runs if run.rows is not None]
    _check_comparable(finished)
    by_label = _by_label(finished)
    if baseline is not None and baseline not in by_label:
        raise HashcliError(f"None of the runs is {baseline!r}.", f"There are: {'; '.join(by_label)}.")
    baselines = {label: baseline or _without_teacher(label, by_label) for label in by_label}
    values = {label: _values(own) for label, own in by_label.items()}
    metrics = []
    for label, own in values.items():
        for (of, bits, direction, name), seeds in own.items():
            against = baselines[label] if baselines[label] != label else None
            other = _counterpart(values[against], by_label[against][0], by_label[label][0], of) if against else {}
            spread = Spread({seed: value for seed, (value, _) in seeds.items()})
            base = other.get((bits, direction, name))
            gain = spread.minus(base) if base else None
            chance = mean(chance for _, chance in seeds.values())
            baseline_of_it = against if gain else None
            metrics.append(ComparedMetric(label, of, bits, direction, name, spread, chance, baseline_of_it, gain))
    return Comparison(by_label, metrics)


def joint_curves(comparison: Comparison, bits: int) -> dict[str, dict[str, list[Curve]]]:
    """The mean curves of the students' codes by label and direction, those in an unseen database too where all runs
    have them. Runs without codes of this length are left out.

    Raises HashcliError if the codes of a label cannot be averaged.
    """
    curves = {}
    for label, runs in comparison.runs.items():
        paths = [run.path / f"codes-{bits}.npz" for run in runs]
        saved = [read_codes(path) for path in paths if path.exists()]
        check_averageable(saved)
        reports = [one.evaluate([50]) for one in saved]
        if reports:
            ways = [way for way in reports[0] if is_main(way, reports[0]) or way.endswith(UNSEEN)]
            curves[label] = {way: mean_curves([report[way] for report in reports]) for way in ways}
    curves = {label: own for label, own in curves.items() if all(own.values())}
    common = set.intersection(*map(set, curves.values())) if curves else set()
    return {label: {way: own[way] for way in own if way in common} for label, own in curves.items()}


def _read_run(path: Path) -> Run:
    try:
        facts = parse_json(read_plain(path / "run.json").decode())
        if not {"config", "dataset", "protocol", "split"} <= facts.keys() or "seed" not in facts["config"]:
            raise ValueError("its run.json has no settings, dataset or split")
        metrics = path / "metrics.json"
        rows = parse_json(read_plain(metrics).decode()) if metrics.exists() else None
        for row in rows or []:
            row["of"], row["bits"], row["direction"], row["name"], row["value"], row["chance"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HashcliError(f"{path} does not hold a run: {reason_of(error)}.") from error
    return Run(path, facts, rows)


def _check_comparable(runs: Sequence[Run]) -> None:
    if not runs:
        raise HashcliError("None of the runs is finished.", "A finished run has a metrics.json.")
    for what in ("dataset", "protocol"):
        _check_same([(run.path, str(run.facts[what])) for run in runs], what)
    by_seed: dict[int, list[tuple[Path, str]]] = defaultdict(list)
    for run in runs:
        by_seed[run.seed].append((run.path, str(run.facts["split"])))
    for seed, splits in by_seed.items():
        _check_same(splits, f"split of seed {seed}")


def _check_same(values: list[tuple[Path, str]], what: str) -> None:
    (first, value), *others = values
    for path, other in others:
        if other != value:
            raise HashcliError(
                f"Runs that differ in their {what} are not compared: {first} has {value}, {path} has {other}.",
                "Compare runs on one dataset, with the same splits.",
            )


def _by_label(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by label. Settings are compared among the runs of one method: each has settings of its own."""
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run in runs:
        for name, value in run.config.items():
            values[run.config["method"], name].add(repr(value))
    by_label: dict[str, list[Run]] = {}
    for run in runs:
        method = run.config["method"]
        varied = [
            f"{name}={_shown(value)}"
            for name, value in run.config.items()
            if name not in ("method", *_NO_LABEL)
            and len(values[method, name]) > 1
            and (name, value) != ("distil", True)
        ]
        by_label.setdefault(", ".join([method, *varied]), []).append(run)
    return by_label


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_teacher(label: str, by_label: dict[str, list[Run]]) -> str | None:
    """The label of the runs that differ from those of `label` in nothing but `distil`."""

    def settings(of: str) -> dict[str, Any]:
        config = by_label[of][0].config
        return {name: value for name, value in config.items() if name not in ("distil", *_NO_LABEL)}

    if by_label[label][0].config.get("distil") is not True:
        return None
    for other, runs in by_label.items():
        if runs[0].config.get("distil") is False and settings(other) == settings(label):
            return other
    return None


_Values = dict[tuple[str, int, str, str], dict[int, tuple[float, float]]]  # value and chance, by seed


def _values(runs: Sequence[Run]) -> _Values:
    """By what was evaluated, bits, direction and metric. What was measured on validation photos is left out."""
    values: _Values = defaultdict(dict)
    for run in runs:
        for row in run.rows or []:
            key = row["of"], row["bits"], row["direction"], row["name"]
            if row["of"].startswith("validation"):
                continue
            if run.seed in values[key]:
                raise HashcliError(
                    f"Two of the runs have the same settings, code length and seed: {run.path} is one of them.",
                    "Leave one of them out.",
                )
            values[key][run.seed] = row["value"], row["chance"]
    return values


def _counterpart(values: _Values, base: Run, run: Run, of: str) -> dict[tuple[int, str, str], Spread]:
    """The baseline's values of the same thing: of its own method, if `of` is the run's own."""
    method = run.config["method"]
    wanted = of.replace(method, base.config["method"], 1) if of.startswith(method) else of
    return {
        (bits, direction, name): Spread({seed: value for seed, (value, _) in seeds.items()})
        for (what, bits, direction, name), seeds in values.items()
        if what == wanted
    }
