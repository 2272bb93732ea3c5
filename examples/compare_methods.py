"""Compare the three methods with their ablations and with untrained codes: the tables of docs/results.md, in one go.

    pip install '.[train]'
    python examples/compare_methods.py --mirflickr DIR --flickr8k DIR --teacher lite-256 --out runs/table

Every run is a folder in --out, as `hashcli distill` writes it. A finished run is not repeated, and a stopped one goes
on. The tables show all runs of the given bits and seeds. They replace the text between the two marks in --results; the
text around the marks is left alone.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.registry import load_dataset
from hashcli.datasets.splits import Split, make_split
from hashcli.distillation.callbacks import RunCallback
from hashcli.distillation.lcdh import LcdhSettings
from hashcli.distillation.open_towers import open_teacher
from hashcli.distillation.registry import load_method
from hashcli.distillation.resolve import resolve_settings, settings_from_json
from hashcli.distillation.run import train_hash_models
from hashcli.distillation.run_plan import RunPlan
from hashcli.distillation.settings import Settings
from hashcli.evaluation.ranking import Report

# The metric shown for each dataset, and the methods that can be trained on it: SODA needs labels.
SHOWN = {"mirflickr": ("mAP@all", ("soda", "ckdh", "lcdh")), "flickr8k": ("recall@10", ("ckdh", "lcdh"))}

# Settings other than the defaults, to save time; those that a method does not have are left out for it. The tables do
# not show the validation after each epoch.
SETTINGS: dict[str, dict[str, Any]] = {
    "mirflickr": {"validate_every": 0},
    "flickr8k": {
        "validate_every": 0,
        "epochs": 2,
    },  # 27,000 captions make 211 batches; MIRFlickr's part, 3
}

Row = dict[str, Any]  # label, seed, bits, direction, value, chance
Cells = dict[int, list[float]]  # by bits, a value for each seed


class PrintMetrics(RunCallback):
    """Prints the first metric of everything that a run evaluates."""

    def evaluated(self, what: str, bits: int, reports: dict[str, Report]) -> None:
        first = {direction: report.metrics[0] for direction, report in reports.items()}
        shown = ", ".join(f"{direction} {one.name} {one.value:.4f}" for direction, one in first.items())
        print(f"  {bits} bits, {what}: {shown}", file=sys.stderr)


@dataclass(frozen=True)
class Comparison:
    """The runs on one dataset that are compared. `teacher_key` identifies the teacher's weights."""

    dataset: ImageTextDataset
    splits: list[Split]
    bits: tuple[int, ...]
    teacher: str
    teacher_key: str

    def settings(self, method: str, split: Split, distil: bool = True) -> Settings:
        known = load_method(method).settings.rules()
        own = {name: value for name, value in SETTINGS[self.dataset.name].items() if name in known}
        values = own | {"teacher": self.teacher, "bits": self.bits, "seed": split.seed, "distil": distil}
        return resolve_settings(method=method, **values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirflickr", type=Path, help="its folder; without it, no such tables")
    parser.add_argument("--flickr8k", type=Path, help="its folder; without it, no such tables")
    parser.add_argument("--teacher", default=resolve_settings().teacher)
    parser.add_argument("--bits", type=numbers, default=(16, 32, 64, 128), help="with commas between")
    parser.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="with commas between")
    parser.add_argument("--caption-bits", type=numbers, default=(16, 32, 64, 128), help="the same, for flickr8k")
    parser.add_argument("--caption-seeds", type=numbers, default=(0, 1, 2), help="the same, for flickr8k")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()

    sections = []
    key = open_teacher(options.teacher)[0].key
    for name, bits, seeds in (
        ("mirflickr", options.bits, options.seeds),
        ("flickr8k", options.caption_bits, options.caption_seeds),
    ):
        if root := getattr(options, name):
            dataset = load_dataset(name, root)
            splits = [make_split(dataset, seed) for seed in seeds]
            comparison = Comparison(dataset, splits, bits, options.teacher, key)
            sections.append(section(comparison, all_runs(comparison, options.out / name)))
    write_tables(options.results, "\n\n".join(sections))


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def all_runs(comparison: Comparison, out: Path) -> list[Row]:
    """Run every method with and without its teacher, at every seed, and the baselines. Returns the rows to show."""
    metric, methods = SHOWN[comparison.dataset.name]
    rows = []
    for split in comparison.splits:
        for method in methods:
            for distil in (True, False):
                label = method.upper() if distil else f"{method.upper()} without its teacher"
                folder = out / f"{method}{'' if distil else '-without-teacher'}-{split.seed}"
                plan = RunPlan(
                    comparison.dataset,
                    split,
                    comparison.settings(method, split, distil),
                    folder,
                    user_cache_path("hashcli") / "features",
                    resume=(folder / "run.json").exists(),
                    baselines=distil and method == methods[0],  # they are the same for all methods
                )
                for row in finished_run(plan, comparison.teacher_key):
                    if row["name"] == metric and not row["of"].startswith("validation"):
                        of = label if row["of"] == method else row["of"].replace(method, method.upper())
                        rows.append(row | {"label": of, "seed": split.seed})
    return rows


def finished_run(plan: RunPlan, teacher_key: str) -> list[Row]:
    """The metrics of a run, which is trained now unless it is finished already."""
    if (plan.out / "metrics.json").exists():
        saved = json.loads((plan.out / "run.json").read_text())
        version = load_method(plan.settings.method).version
        before = settings_from_json(saved["config"]), saved["towers"]["teacher"], saved["split"]
        if before == (plan.settings, teacher_key, plan.split.checksum) and saved.get("method_version", 1) == version:
            return list(json.loads((plan.out / "metrics.json").read_text()))
        sys.exit(
            f"{plan.out} holds a run with other settings, another teacher, other data or an older version of its "
            "method. Choose another --out."
        )
    print(plan.out, file=sys.stderr)
    return train_hash_models(plan, PrintMetrics())


def section(comparison: Comparison, rows: list[Row]) -> str:
    """Two tables, one for each direction, and what each method gains by its teacher."""
    dataset, splits = comparison.dataset, comparison.splits
    metric, methods = SHOWN[dataset.name]
    settings = comparison.settings("lcdh", splits[0])
    assert isinstance(settings, LcdhSettings)
    split = splits[0]
    database = f"a database of {len(split.database):,}" if dataset.labels is not None else "searched among themselves"
    seeds = ", ".join(str(split.seed) for split in splits)
    spread = ", mean ± sample standard deviation" if len(splits) > 1 else ""
    lines = [
        f"### {dataset.name}, {metric}",
        "",
        f"{split.protocol}: {len(split.train):,} photos to train, {len(split.validation):,} held out for validation, "
        f"{len(split.query):,} queries, {database}. Teacher {settings.teacher} ({comparison.teacher_key}), student "
        f"{settings.student}, {settings.epochs} epochs (LCDH's student: {settings.rounds} rounds of "
        f"{settings.round_steps} steps). "
        f"Seeds {seeds}{spread}; a seed decides {'validation' if dataset.parts else 'split'}, weights and order.",
    ]
    for warning in split.warnings:
        lines += ["", f"*{warning}.*"]
    for direction in ("image to text", "text to image"):
        chosen = [row for row in rows if row["direction"] == direction]
        labels = list(dict.fromkeys(row["label"] for row in chosen))
        labels.sort(key=lambda label: not label.startswith(tuple(method.upper() for method in methods)))
        cells = {label: cells_of([row for row in chosen if row["label"] == label]) for label in labels}
        chance = {bits: [np.mean([row["chance"] for row in chosen]).item()] for bits in next(iter(cells.values()))}
        lines += ["", *markdown(direction, cells | {"chance": chance})]
        gains = {
            method.upper(): {
                bits: (np.array(values) - cells[f"{method.upper()} without its teacher"][bits]).tolist()
                for bits, values in cells[method.upper()].items()
            }
            for method in methods
        }
        lines += ["", *markdown(f"{direction}: gain by the teacher, seed by seed", gains, sign="+")]
    return "\n".join(lines)


def cells_of(rows: list[Row]) -> Cells:
    return {bits: [row["value"] for row in rows if row["bits"] == bits] for bits in {row["bits"]: None for row in rows}}


def markdown(corner: str, table: dict[str, Cells], sign: str = "") -> list[str]:
    lengths = list(next(iter(table.values())))
    lines = [f"| {corner} | {' | '.join(f'{bits} bits' for bits in lengths)} |", "|---" * (len(lengths) + 1) + "|"]
    for label, cells in table.items():
        lines.append(f"| {label} | {' | '.join(cell(cells[bits], sign) for bits in lengths)} |")
    return lines


def cell(values: list[float], sign: str) -> str:
    mean = f"{np.mean(values):{sign}.3f}"
    return f"{mean} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean


def write_tables(path: Path, tables: str, name: str = "tables") -> None:
    """Put the tables between the marks of a name, or at the end of a file without them."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"{before.rstrip()}\n\n{begin}\n\n{tables}\n\n{end}\n\n{after.strip()}".rstrip() + "\n", encoding="utf-8"
    )
    print(path)


if __name__ == "__main__":
    main()
