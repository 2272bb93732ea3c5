"""hashcli evaluate: the metrics of a hash model on a dataset, by the dataset's protocol."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from hashcli.cli.comparison import ComparingCommand, compare_runs
from hashcli.cli.console import ProgressBar, say, stop_with, write_json
from hashcli.cli.options import (
    DatasetRoot,
    Download,
    Json,
    ProtocolName,
    complete_dataset,
    complete_model,
    open_dataset,
    whole_numbers,
)
from hashcli.errors import how_to_install

if TYPE_CHECKING:
    import numpy as np

    from hashcli.datasets.dataset import ImageTextDataset
    from hashcli.datasets.splits import Split
    from hashcli.evaluation.ranking import Report
    from hashcli.evaluation.retrieval import DatasetCodes, EvaluatedRows, SavedCodes

    Reports = dict[str, Report]  # by direction

EXAMPLES = """Examples:\n
hashcli evaluate --dataset mirflickr --root ~/data/mirflickr25k\n
hashcli evaluate --dataset flickr8k --root ~/data/flickr8k --model ./my-model --json\n
hashcli evaluate --dataset mirflickr --root ~/data/mirflickr25k --seed 0,1,2 --plots figures\n
hashcli evaluate --codes runs/a/codes-64.npz --codes runs/b/codes-64.npz\n
hashcli evaluate --check mirflickr\n
hashcli evaluate --codes theirs.mat     codes of published code: q_img, q_txt, r_img, r_txt, q_l, r_l\n
hashcli evaluate --codes runs/a/codes-64.npz --export ours.mat\n
hashcli evaluate --compare runs/* --plots figures     runs of distill, side by side"""

COMMAND = ComparingCommand  # for cli/__init__.py


def run(
    dataset: Annotated[
        str | None,
        typer.Option(autocompletion=complete_dataset, help="A dataset's name, or a file or folder of your own."),
    ] = None,
    root: DatasetRoot = None,
    protocol: ProtocolName = None,
    model: Annotated[
        str, typer.Option(autocompletion=complete_model, help="Hash model, by name or folder.")
    ] = "lite-256",
    codes: Annotated[
        list[Path] | None,
        typer.Option(
            help="A run's codes-BITS.npz, or codes of published code (.mat, .h5, .npz), instead of dataset and model. "
            "Repeat it to average over seeds.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            autocompletion=complete_dataset,
            help="Do not evaluate: tell what of a dataset is there, and what leaks between the parts of its split.",
        ),
    ] = None,
    k: Annotated[str, typer.Option("--k", help="Cut-offs for mAP@k, separated by commas.")] = "50,5000",
    seed: Annotated[
        str,
        typer.Option(help="Determines the split into query and database. Several, separated by commas, are averaged."),
    ] = "0",
    plots: Annotated[Path | None, typer.Option(help="Write plots of the curves to this folder, as PNG files.")] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN...", help="Compare finished runs, or folders of them, by method and code length, over seeds."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="With --compare: the runs to show gains over, by their name in its table.",
            show_default="the same without a teacher",
        ),
    ] = None,
    latex: Annotated[bool, typer.Option("--latex", help="With --compare: print rows of a LaTeX table.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write codes, labels and split for published code: to a .mat, .h5 or .npz file."
        ),
    ] = None,
    download: Download = False,
    json: Json = False,
) -> None:
    """Evaluate a hash model by a dataset's protocol.

    It ranks from image to text and from text to image by Hamming distance, and shows chance beside every metric.
    With labels, the metrics are mean average precision and precision; items that share a label are relevant. With
    captions, they are the recall of a caption's own photo and of a photo's own captions. Items at equal distance are
    ranked by database row, after one shuffle by the seed that draws the split. Several seeds give the mean and the
    sample standard deviation. Of searches in the part of the database that was not trained on, from image to image and
    from text to text, one metric is shown; --json has all metrics and the curves.
    """
    if bool(compare) and (dataset or codes or check):
        stop_with("--compare takes runs alone: leave --dataset, --codes and --check out.", status=2)
    if (baseline or latex) and not compare:
        stop_with("--baseline and --latex belong to --compare.", status=2)
    if not compare and bool(dataset) + bool(codes) + bool(check) != 1:
        remedy = "For example: hashcli evaluate --codes runs/a/codes-64.npz"
        stop_with("Give one of --dataset, --codes and --check.", remedy, status=2)
    cuts, seeds = whole_numbers("--k", k, "50,5000"), whole_numbers("--seed", seed, "0,1,2")
    if min(cuts) < 1 or min(seeds) < 0:
        stop_with("--k takes numbers from 1, and --seed from 0.", status=2)
    if check:
        _check(check, open_dataset(check, root, protocol, download=download), protocol, seeds[0], json)
        return
    if plots:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            stop_with("Plots need matplotlib, which is not installed.", how_to_install("train"))

    if compare:
        compare_runs(compare, baseline, "json" if json else "latex" if latex else "table", plots)
        return
    if export and len(codes or seeds) > 1:
        stop_with("--export writes the codes of one run and one seed.", status=2)
    if codes:
        evaluation = _evaluate_codes(codes, cuts)
    else:
        from hashcli.datasets.splits import make_split

        assert dataset
        opened = open_dataset(dataset, root, protocol, download=download)
        evaluation = _evaluate_model(model, opened, [make_split(opened, one, protocol) for one in seeds], cuts)
    if json:
        _print_json(evaluation, _rows(evaluation.repeats))
    else:
        say(", ".join(f"{key} {value}" for key, value in evaluation.facts.items()))
        from hashcli.evaluation.retrieval import main_results

        _print_rows(_rows([main_results(reports) for reports in evaluation.repeats]))
    if plots:
        _draw(plots, evaluation)
    if export:
        from hashcli.evaluation.peer_codes import write_peer_codes

        (one,) = evaluation.coded
        write_peer_codes(export, one.codes, one.labels, one.rows, one.ids)
        say(f"Written: {export}")


def _check(name: str, dataset: "ImageTextDataset", protocol: str | None, seed: int, json: bool) -> None:
    """Print what `check_dataset` finds. The exit status is 1 where there is a problem."""
    from hashcli.datasets.check import check_dataset
    from hashcli.datasets.splits import make_split

    split = make_split(dataset, seed, protocol)
    with ProgressBar("Reading photos") as progress:
        progress.planned(len(dataset.ids))
        findings = check_dataset(dataset, split, protocol, progress.advanced)
    say(f"{name}, {split.protocol}, seed {seed}, split {split.checksum}")
    for finding in findings:
        if json:
            write_json({"dataset": dataset.name, "protocol": split.protocol, "seed": seed, **asdict(finding)})
        else:
            of = f" of {finding.of:,}" if finding.of is not None else ""
            examples = f"\tfor example {', '.join(finding.examples)}" if finding.examples else ""
            print(f"{'problem' if finding.is_problem else 'ok'}\t{finding.what}\t{finding.count:,}{of}{examples}")
    if any(finding.is_problem for finding in findings):
        raise typer.Exit(1)


class _Coded(NamedTuple):
    """What was evaluated with one seed; `ids` names each row of the dataset, where that is known."""

    codes: "DatasetCodes"
    labels: "np.ndarray | None"
    rows: "EvaluatedRows"
    ids: list[str] | None = None


class _Evaluation(NamedTuple):
    """`facts` name what was evaluated; `repeats` are the reports of each seed, and `coded` its codes; `saved` are those
    that were read from files, if any.
    """

    facts: dict[str, Any]
    repeats: "list[Reports]"
    coded: list[_Coded]
    saved: "list[SavedCodes]"


def _evaluate_model(name: str, dataset: "ImageTextDataset", splits: "list[Split]", cuts: Sequence[int]) -> _Evaluation:
    from hashcli.datasets.splits import training_overlap
    from hashcli.evaluation.retrieval import EvaluatedRows, encode_dataset, evaluate_fully, evaluated_rows
    from hashcli.hashmodel.registry import load_model

    model = load_model(name)
    overlaps = [training_overlap(model.folder.parent / "split.json", dataset, split) for split in splits]
    for warning in filter(None, [*splits[0].warnings, *overlaps]):
        say(f"warning: {warning}")
    with ProgressBar("Encoding") as progress:
        progress.planned(len(evaluated_rows(splits)))
        codes = encode_dataset(model, dataset, evaluated_rows(splits), progress.advanced)
    coded = [
        _Coded(codes, dataset.labels, EvaluatedRows(split.query, split.database, split.unseen), dataset.ids)
        for split in splits
    ]
    repeats = [evaluate_fully(one.codes, one.labels, one.rows, cuts) for one in coded]
    facts = {
        "model": model.name,
        "bits": model.bits,
        "dataset": dataset.name,
        "protocol": splits[0].protocol,
        "seed": _common([split.seed for split in splits]),
        "split": _common([split.checksum for split in splits]),
        "query": len(splits[0].query),
        "database": len(splits[0].database),
        "unseen database": len(splits[0].unseen),
        "ties": "by database row",
    }
    return _Evaluation(facts, repeats, coded, [])


def _evaluate_codes(paths: list[Path], cuts: Sequence[int]) -> _Evaluation:
    from hashcli.evaluation.peer_codes import holds_peer_codes, read_peer_codes
    from hashcli.evaluation.retrieval import check_averageable, read_codes

    saved = [read_peer_codes(path) if holds_peer_codes(path) else read_codes(path) for path in paths]
    check_averageable(saved)
    facts = {
        "codes": _common([str(one.path) for one in saved]),
        "bits": saved[0].bits,
        **{key: _common([one.origin.get(key) for one in saved]) for key in saved[0].origin},
        "query": len(saved[0].query),
        "database": len(saved[0].database),
        **({"unseen database": len(saved[0].unseen)} if saved[0].unseen is not None else {}),
        "ties": "by database row",
    }
    coded = [_Coded(one.codes, one.labels, one.evaluated) for one in saved]
    return _Evaluation(facts, [one.evaluate(cuts) for one in saved], coded, saved)


def _common(values: list[Any]) -> Any:
    """The value that all have in common, or the list of them."""
    return values[0] if all(value == values[0] for value in values) else values


def _rows(repeats: "list[Reports]") -> list[dict[str, Any]]:
    """A row for each metric: its value, or the mean and deviation over several seeds."""
    from hashcli.evaluation.repeats import repeated_metrics

    if len(repeats) == 1:
        return [
            {"direction": direction, "metric": metric.name, "value": metric.value, "chance": metric.chance}
            for direction, report in repeats[0].items()
            for metric in report.metrics
        ]
    return [
        {
            "direction": direction,
            "metric": metric.name,
            "mean": metric.mean,
            "sd": metric.deviation,
            "values": metric.values,
            "chance": metric.chance,
        }
        for direction in repeats[0]
        for metric in repeated_metrics([reports[direction] for reports in repeats])
    ]


def _print_json(evaluation: _Evaluation, rows: list[dict[str, Any]]) -> None:
    from hashcli.evaluation.repeats import mean_curves

    for row in rows:
        write_json({**evaluation.facts, **row})
    for direction in evaluation.repeats[0]:
        for curve in mean_curves([reports[direction] for reports in evaluation.repeats]):
            points = {"curve": curve.name, "x": curve.x, "values": curve.values, "chance": curve.chance}
            write_json({**evaluation.facts, "direction": direction, **points})


def _print_rows(rows: list[dict[str, Any]]) -> None:
    if sys.stdout.isatty():
        _print_table(rows)
        return
    for row in rows:
        value = f"mean {row['mean']:.4f}\tsd {row['sd']:.4f}" if "sd" in row else f"{row['value']:.4f}"
        print(f"{row['direction']}\t{row['metric']}\t{value}\tchance {row['chance']:.4f}")


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    numbers = [column for column in ("value", "mean", "sd", "chance") if column in rows[0]]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("metric", overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    direction = None
    for row in rows:
        if row["direction"] != direction:
            direction = row["direction"]
            table.add_section()
            table.add_row(direction, style="bold")
        table.add_row(f"  {row['metric']}", *(f"{row[number]:.4f}" for number in numbers))
    Console(highlight=False).print(table)


def _draw(folder: Path, evaluation: _Evaluation) -> None:
    from hashcli.evaluation.plots import (
        plot_losses,
        plot_precision_at,
        plot_precision_recall,
        plot_precision_recall_over_ranks,
    )
    from hashcli.evaluation.repeats import mean_curves
    from hashcli.evaluation.retrieval import is_main

    folder.mkdir(parents=True, exist_ok=True)
    facts, repeats = evaluation.facts, evaluation.repeats
    drawn = []
    drawn_directions = [direction for direction in repeats[0] if is_main(direction, repeats[0])]
    curves = {direction: mean_curves([reports[direction] for reports in repeats]) for direction in drawn_directions}
    if all(curves.values()):
        about = [facts.get("model") or facts.get("method"), facts.get("dataset"), f"{facts['bits']} bits"]
        title = ", ".join(str(name) for name in about if name)
        title += f", mean of {len(repeats)} seeds" if len(repeats) > 1 else ""
        names = ("precision-recall", "precision-recall-over-ranks", "precision-at-n")
        drawn = [folder / f"{name}.png" for name in names]
        plot_precision_recall(curves, drawn[0], title)
        plot_precision_recall_over_ranks(curves, drawn[1], title)
        plot_precision_at(curves, drawn[2], title)
    else:
        say("There is no precision to draw: this dataset has no labels.")
    for one in evaluation.saved:
        log = one.path.parent / "log.jsonl"
        if log.exists():
            drawn.append(folder / f"loss-{one.path.resolve().parent.name}.png")
            plot_losses(log, one.bits, drawn[-1])
    for path in drawn:
        say(f"Drawn: {path}")
