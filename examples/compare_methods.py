"""Compare the three methods with their ablations and with untrained codes: the tables of docs/results.md, in one go.

    pip install '.[train]'
    python examples/compare_methods.py --mirflickr DIR --flickr8k DIR --vectors IMAGES.npz --out runs/tables

    a   MIRFlickr-25K by MIR-A: three methods, an ablation of each claim, and codes that need no pairs
    b   the same with labels for 3, 10, 30 and 100 % of the training photos, with and without a teacher; and a picture
    c   Flickr8k's captions
    d   Flickr8k's captions with the vectors of a CLIP as CKDH's teacher: IMAGES.npz, as docs/training.md says

--tables a,b makes some of them, and --variants some of their rows, for example --variants "SODA,SODA in one stage".
Each row at each code length and seed is a process of its own, which writes a folder in --out, as `hashcli distill`
does. A finished one is not repeated, and a stopped command goes on where it was. The tables have what is finished, and
the processor seconds of one such process, without the encoding of photos and texts, which comes first and is timed
apart. They replace the text between their marks in --results; the text around the marks is left alone.
"""

import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from method_jobs import BASELINES, Data, Job, encode, write_vectors

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split, make_split
from hashcli.distillation.feature_files import PREFIX
from hashcli.distillation.lcdh import LcdhSettings
from hashcli.errors import HashcliError
from hashcli.evaluation.compare import Spread
from hashcli.evaluation.retrieval import UNSEEN

SHARES = (0.03, 0.1, 0.3, 1.0)  # of the labels, in table b
DIRECTIONS = ("image to text", "text to image")


@dataclass(frozen=True)
class Variant:
    """A row: a method with settings other than the defaults. An ablation is compared with the row `of`."""

    label: str
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    of: str = ""

    @property
    def slug(self) -> str:
        return re.sub(r"\W+", "-", self.label.lower()).strip("-")


# What the ablations are of: each paper's claims, as docs/training.md names them.
ABLATIONS = (
    Variant("SODA", "soda"),
    Variant("SODA without its teacher", "soda", {"distil": False}, "SODA"),
    Variant("SODA without prompts", "soda", {"label_input": "classes"}, "SODA"),
    Variant("SODA in one stage", "soda", {"two_stages": False}, "SODA"),
    Variant("CKDH", "ckdh"),
    Variant("CKDH without its teacher", "ckdh", {"distil": False}, "CKDH"),
    Variant("CKDH without graph attention", "ckdh", {"graph_attention": False}, "CKDH"),
    Variant("CKDH without likelihood", "ckdh", {"likelihood": 0.0, "student_likelihood": 0.0}, "CKDH"),
    Variant("CKDH without intra", "ckdh", {"intra": 0.0, "student_intra": 0.0}, "CKDH"),
    Variant("CKDH without inter", "ckdh", {"inter": 0.0, "student_inter": 0.0}, "CKDH"),
    Variant("LCDH", "lcdh"),
    Variant("LCDH without its teacher", "lcdh", {"distil": False}, "LCDH"),
    Variant("LCDH with its teacher alone as target", "lcdh", {"teacher_share": 1.0}, "LCDH"),
    Variant("LCDH without attention", "lcdh", {"attention": False}, "LCDH"),
)
# Few epochs, to save time: 27,000 captions make 211 batches. They ask for less dropout, as validation photos showed.
CAPTION_SETTINGS = {"epochs": 2, "image_dropout": 0.2, "text_dropout": 0.0, "dropout": 0.1, "schedule": "constant"}
UNTRAINED = Variant("baselines", BASELINES)
CAPTIONS = tuple(one for one in ABLATIONS if one.method != "soda" and (not one.of or one.settings == {"distil": False}))


def label_variants() -> dict[tuple[str, float], Variant]:
    """The rows of table b, by row and share of the labels; with all labels, they are rows of table a."""
    rows = [one for one in ABLATIONS if not one.of or one.settings == {"distil": False}]
    return {
        (row.label, share): row
        if share == 1
        else Variant(f"{row.label} at {percent(share)} of the labels", row.method, row.settings | {"labelled": share})
        for row in rows
        for share in SHARES
    }


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def clip_variants(vectors: str, small: str) -> tuple[Variant, ...]:
    """All teachers are vectors of photos alone, so that they differ in what they know of photos."""
    clip = f"{PREFIX}{vectors}"
    return (
        Variant("CLIP", "ckdh", {"teacher": clip}),
        Variant("CLIP's similar pairs alone", "ckdh", {"teacher": clip, "distil": False}, "CLIP"),
        Variant("lite-256", "ckdh", {"teacher": small}, "CLIP"),
        Variant("no teacher", "ckdh", {"teacher": small, "distil": False, "neighbours": 0.0}, "CLIP"),
    )


@dataclass(frozen=True)
class Table:
    """The rows of one table and how they are run. `settings` are other than the defaults, to save time.

    `split` is that of the first seed.
    """

    data: Data
    variants: Sequence[Variant]
    bits: Sequence[int]
    options: argparse.Namespace
    settings: dict[str, Any]
    dataset: ImageTextDataset
    splits: dict[int, Split]

    def job(self, variant: Variant, bits: int, seed: int) -> Job:
        options = self.options
        folder = options.out / (self.data.name + ("-clip" if self.data.vectors else "")) / variant.slug
        settings = {"teacher": options.teacher, **self.settings, **variant.settings}
        return Job(self.data, variant.method, bits, seed, str(folder / f"{bits}-{seed}"), settings, tuple(options.set))


def main() -> None:
    options = parse_arguments()
    failed = 0
    for name in options.tables:
        table = open_table(name, options)
        if table is None:
            print(f"Table {name} is left out: its data are not given.", file=sys.stderr)
            continue
        started = time.process_time()
        encode(table.data, table.job(table.variants[0], 64, 0).settings["teacher"], tuple(options.set))
        print(f"Table {name}: encoded in {time.process_time() - started:.0f} CPU seconds", file=sys.stderr)
        failed += run_all(table)
        write_tables(options.results, "\n".join(SECTIONS[name](table)), MARKS[name])
    if failed:
        sys.exit(f"{failed} of the runs failed: the reasons are above.")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirflickr", type=Path, help="its folder, for a and b")
    parser.add_argument("--flickr8k", type=Path, help="its folder, for c and d")
    parser.add_argument("--vectors", type=Path, help="a file with CLIP's vectors of photos of Flickr8k, for d")
    parser.add_argument("--teacher", default="lite-256")
    parser.add_argument("--tables", type=lambda text: text.split(","), default=list("abcd"), help="with commas between")
    parser.add_argument("--bits", type=numbers, default=(16, 32, 64, 128), help="for a, c and d")
    parser.add_argument("--label-bits", type=int, default=64, help="for b")
    parser.add_argument("--seeds", type=numbers, default=(0, 1, 2), help="with commas between")
    parser.add_argument("--variants", type=lambda text: text.split(","), help="rows, with commas between; all")
    parser.add_argument("--set", action="append", default=[], help="a setting of all methods that have it, NAME=VALUE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    if unknown := set(options.tables) - set(SECTIONS):
        parser.error(f"there is no table {', '.join(sorted(unknown))}")
    return options


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def open_table(name: str, options: argparse.Namespace) -> Table | None:
    """A table with its data; None if these are not given."""
    root = options.mirflickr if name in "ab" else options.flickr8k
    if root is None or (name == "d" and options.vectors is None):
        return None
    data = Data("mirflickr" if name in "ab" else "flickr8k", str(root), str(options.vectors) if name == "d" else "")
    settings: dict[str, Any] = {"validate_every": 0} | (CAPTION_SETTINGS if name == "c" else {})  # not shown
    bits: Sequence[int] = options.bits
    variants: Sequence[Variant] = (*ABLATIONS, UNTRAINED)
    if name == "b":
        bits, variants = (options.label_bits,), tuple(label_variants().values())
    elif name == "c":
        variants = (*CAPTIONS, UNTRAINED)
    elif name == "d":
        settings["epochs"] = 3
        small = write_vectors(data, options.out / "lite-256.npz")
        variants = clip_variants(str(options.vectors), small)
    if options.variants:
        variants = tuple(one for one in variants if one.label.partition(" at ")[0] in options.variants)
    dataset = data.load()
    splits = {seed: make_split(dataset, seed) for seed in options.seeds}
    return Table(data, variants, bits, options, settings, dataset, splits)


def run_all(table: Table) -> int:
    """Run what is not finished. Returns how many runs failed."""
    jobs = [
        (variant.label, table.job(variant, bits, seed))
        for seed in table.splits
        for variant in table.variants
        for bits in table.bits
    ]
    failed = 0
    for number, (label, job) in enumerate(jobs, start=1):
        if job.finished(table.splits[job.seed]) is None:
            print(f"{number} of {len(jobs)}: {label}, {job.bits} bits, seed {job.seed}", file=sys.stderr)
            failed += not job.run()
            print(f"  {job.cpu_seconds:.0f} CPU seconds", file=sys.stderr)
    return failed


@dataclass(frozen=True)
class Cells:
    """A row of a table: by bits and seed, the values, what chance gives, and CPU seconds."""

    values: dict[int, dict[int, float]]
    chances: dict[int, float]
    cpu: list[float]


def rows_of(table: Table, direction: str, metric: str) -> dict[str, Cells]:
    """The finished rows by label. A job of baselines makes several, and CKDH's teacher has one of its own."""
    rows: dict[str, Cells] = {}
    for variant in table.variants:
        for bits in table.bits:
            for seed, split in table.splits.items():
                job = table.job(variant, bits, seed)
                for row in job.finished(split) or []:
                    if (row["direction"], row["name"]) != (direction, metric) or row["of"].startswith("validation"):
                        continue
                    label = row["of"] if variant.method == BASELINES else variant.label
                    if row["of"] == f"{variant.method}'s teacher" and variant.label == variant.method.upper():
                        label = f"{variant.label}'s teacher"
                    elif row["of"] != variant.method and variant.method != BASELINES:
                        continue
                    cells = rows.setdefault(label, Cells({}, {}, []))
                    cells.values.setdefault(bits, {})[seed] = row["value"]
                    cells.chances[bits] = row["chance"]
                    if not label.endswith("'s teacher"):
                        cells.cpu.append(job.cpu_seconds)
    return rows


def comparison(table: Table, direction: str, metric: str) -> list[str]:
    """A table of one direction: full forms as mean ± deviation, an ablation with what it loses, seed by seed."""
    rows = rows_of(table, direction, metric)
    of = {variant.label: variant.of for variant in table.variants}
    lines = [
        f"| {direction} | {' | '.join(f'{bits} bits' for bits in table.bits)} | CPU s |",
        "|---" * (len(table.bits) + 2) + "|",
    ]
    for label, cells in rows.items():
        full = rows.get(of.get(label, ""))
        shown = [cell(cells.values.get(bits, {}), full.values.get(bits, {}) if full else None) for bits in table.bits]
        lines.append(f"| {label} | {' | '.join(shown)} | {f'{np.mean(cells.cpu):.0f}' if cells.cpu else ''} |")
    chances = {bits: chance for cells in rows.values() for bits, chance in cells.chances.items()}
    shown = [f"{chances[bits]:.3f}" if bits in chances else "" for bits in table.bits]
    return [*lines, f"| chance | {' | '.join(shown)} | |"]


def cell(values: dict[int, float], full: dict[int, float] | None = None) -> str:
    """Values by seed as "0.806 ± 0.002"; beside those of a full form, as "0.794 (-0.012 ± 0.003)"."""
    if not values:
        return ""
    if full is None:
        return shown(Spread(values))
    lost = Spread(values).minus(Spread(full))
    return f"{Spread(values).mean:.3f}" + (f" ({shown(lost, '+')})" if lost else "")


def shown(spread: Spread, sign: str = "") -> str:
    mean = f"{spread.mean:{sign}.3f}"
    return mean if spread.deviation is None else f"{mean} ± {spread.deviation:.3f}"


def heading(table: Table, title: str) -> list[str]:
    """What was run, on which data."""
    dataset, (split, *others) = table.dataset, table.splits.values()
    settings = table.job(
        next(one for one in (*table.variants, *ABLATIONS) if one.method != BASELINES), 64, 0
    ).resolved()
    stream = Job(table.data, "lcdh", 64, 0, "", {}, tuple(table.options.set)).resolved()
    assert isinstance(stream, LcdhSettings)
    database = "searched among themselves"
    if dataset.labels is not None:
        database = f"a database of {len(split.database):,}, of which {len(split.unseen):,} are unseen"
    seeds = ", ".join(map(str, table.splits))
    lines = [
        f"### {title}",
        "",
        f"{split.protocol}: {len(split.train):,} photos to train, {len(split.validation):,} held out for validation, "
        f"{len(split.query):,} queries, {database}. Teacher {table.options.teacher}, student "
        f"{settings.student}, {settings.epochs} epochs (LCDH's student: {stream.rounds} rounds of "
        f"{stream.round_steps} steps). "
        f"Seeds {seeds}{', mean ± sample standard deviation' if others else ''}; a seed decides "
        f"{'validation' if dataset.parts else 'split'}, weights and order. In brackets: the difference from the full "
        "form, seed by seed. CPU s: processor seconds of one run at one length, with its evaluation; codes of "
        "the teacher's own features are made by one run together.",
        "",
    ]
    if table.options.set:
        lines += [f"All rows with {', '.join(f'`{one}`' for one in table.options.set)}.", ""]
    for warning in split.warnings:
        lines += [f"*{warning}.*", ""]
    return lines


def label_section(table: Table) -> list[str]:
    """mAP@all of both databases, with the ablations."""
    lines = heading(table, "MIRFlickr-25K, mAP@all")
    for direction in DIRECTIONS:
        for database in ("", UNSEEN):
            lines += [*comparison(table, direction + database, "mAP@all"), ""]
    return lines[:-1]


def caption_section(table: Table) -> list[str]:
    lines = heading(table, "Flickr8k, recall@10")
    for direction in DIRECTIONS:
        lines += [*comparison(table, direction, "recall@10"), ""]
    return lines[:-1]


def clip_section(table: Table) -> list[str]:
    lines = []
    for direction in DIRECTIONS[::-1]:
        lines += [*comparison(table, direction, "recall@10"), ""]
    return lines[:-1]


def few_labels_section(table: Table) -> list[str]:
    """A row for each method with and without its teacher, a column for each share of the labels, and the picture."""
    lines = heading(table, f"Few labels: MIRFlickr-25K, mAP@all, {table.bits[0]} bits")
    variants = label_variants()
    names = list(dict.fromkeys(name for name, _ in variants))
    curves: dict[str, dict[str, dict[float, list[float]]]] = {}
    for direction in [way + database for way in DIRECTIONS for database in ("", UNSEEN)]:
        rows = rows_of(table, direction, "mAP@all")
        lines += [
            f"| {direction}: share of labels | {' | '.join(map(percent, SHARES))} |",
            "|---" * (len(SHARES) + 1) + "|",
        ]
        curves[direction] = {}
        for name in names:
            of = name.removesuffix(" without its teacher")
            cells: dict[float, dict[int, float]] = {}
            shown = []
            for share in SHARES:
                values, full = (
                    rows[label].values.get(table.bits[0], {}) if label in rows else {}
                    for label in (variants[name, share].label, variants[of, share].label)
                )
                shown.append(cell(values, None if of == name else full))
                cells[share] = values
            if any(shown):
                lines.append(f"| {name} | {' | '.join(shown)} |")
                curves[direction][name] = {share: list(own.values()) for share, own in cells.items() if own}
        lines.append("")
    picture = table.options.results.parent / "few-labels.png"
    draw(curves, picture, f"mAP@all by the share of labels, {table.bits[0]} bits")
    return [*lines, f"![mAP@all by the share of labels]({picture.name})"]


def draw(curves: dict[str, dict[str, dict[float, list[float]]]], path: Path, title: str) -> None:
    """A panel for each direction, a line for each method; dashed without its teacher, bars for the deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True).ravel()
    for axes, (direction, rows) in zip(panels, curves.items(), strict=True):
        for name, values in rows.items():
            shares = sorted(values)
            means = [float(np.mean(values[share])) for share in shares]
            deviations = [float(np.std(values[share], ddof=1)) if len(values[share]) > 1 else 0.0 for share in shares]
            colour = f"C{['SODA', 'CKDH', 'LCDH'].index(name[:4])}"
            style = "--" if "without" in name else "-"
            axes.errorbar([100 * one for one in shares], means, deviations, color=colour, linestyle=style, label=name)
        axes.set_xscale("log")
        axes.set_xticks([100 * share for share in SHARES], list(map(percent, SHARES)))
        axes.minorticks_off()
        axes.set_title(direction, fontsize="medium")
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", frameon=False, ncols=3)
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def write_tables(path: Path, tables: str, name: str) -> None:
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


SECTIONS = {"a": label_section, "b": few_labels_section, "c": caption_section, "d": clip_section}
MARKS = {"a": "mirflickr", "b": "few-labels", "c": "captions", "d": "clip-vectors"}

if __name__ == "__main__":
    try:
        main()
    except HashcliError as error:
        sys.exit(str(error))
