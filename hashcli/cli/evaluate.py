"""hashcli evaluate: a hash model against a dataset's protocol."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashcli.cli.common import (
    Download,
    Json,
    ProgressReporter,
    ProtocolName,
    open_dataset,
    say,
    stop_with,
    whole_numbers,
    write_json,
)

if TYPE_CHECKING:
    from hashcli.datasets.dataset import ImageTextDataset
    from hashcli.datasets.splits import Split
    from hashcli.evaluation.ranking import Report
    from hashcli.evaluation.retrieval import SavedCodes

    Reports = dict[str, Report]  # by direction

EXAMPLES = """Examples:\n
hashcli evaluate --dataset mirflickr --root ~/data/mirflickr25k\n
hashcli evaluate --dataset flickr8k --root ~/data/flickr8k --model ./my-model --json\n
hashcli evaluate --dataset mirflickr --root ~/data/mirflickr25k --seed 0,1,2 --plots figures\n
hashcli evaluate --codes runs/a/codes-64.npz --codes runs/b/codes-64.npz"""


def run(
    dataset: Annotated[str | None, typer.Option(help="A dataset's name, or a file or folder of your own.")] = None,
    root: Annotated[Path | None, typer.Option(help="The folder that holds the dataset's official files.")] = None,
    protocol: ProtocolName = None,
    model: Annotated[str, typer.Option(help="Hash model, by name or folder.")] = "lite-256",
    codes: Annotated[
        list[Path] | None,
        typer.Option(
            help="A run's codes-BITS.npz, in place of dataset and model; several, by seed, are averaged.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[str, typer.Option("--k", help="Cuts for mAP@k, with commas between.")] = "50,5000",
    seed: Annotated[
        str, typer.Option(help="Decides the split into query and database; several, with commas, are averaged.")
    ] = "0",
    plots: Annotated[Path | None, typer.Option(help="Draw the curves into this folder, as PNG files.")] = None,
    download: Download = False,
    json: Json = False,
) -> None:
    """Measure a hash model by a dataset's protocol.

    Image to text and text to image, by Hamming distance, chance beside every figure.
    With labels: mean average precision and precision, items being relevant that share a label. With captions: recall
    of one's own photo or captions. Equal distances are ranked by database row, after one shuffle by the seed that
    draws the split. Several seeds give mean and sample standard deviation.
    """
    if bool(dataset) == bool(codes):
        stop_with("Give --dataset or --codes.", "For example: hashcli evaluate --codes runs/a/codes-64.npz", status=2)
    cuts, seeds = whole_numbers("--k", k, "50,5000"), whole_numbers("--seed", seed, "0,1,2")
    if min(cuts) < 1 or min(seeds) < 0:
        stop_with("--k takes numbers from 1, and --seed from 0.", status=2)
    if plots:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            stop_with("Plots need matplotlib, which is not installed.", "pip install 'hashcli[train]'")

    if codes:
        from hashcli.evaluation.retrieval import read_codes

        saved = [read_codes(path) for path in codes]
        about, repeats = _about_codes(saved), [one.evaluate(cuts) for one in saved]
    else:
        from hashcli.datasets.splits import make_split

        assert dataset
        saved = []
        pairs = open_dataset(dataset, root, protocol, download=download)
        splits = [make_split(pairs, one, protocol) for one in seeds]
        about, repeats = _measure(pairs, splits, model, cuts)
    figures = _figures(repeats)
    if json:
        _print_json(about, figures, repeats)
    else:
        say(", ".join(f"{key} {value}" for key, value in about.items()))
        if sys.stdout.isatty():
            _print_table(figures)
        else:
            for row in figures:
                measured = f"mean {row['mean']:.4f}\tsd {row['sd']:.4f}" if "sd" in row else f"{row['value']:.4f}"
                print(f"{row['direction']}\t{row['metric']}\t{measured}\tchance {row['chance']:.4f}")
    if plots:
        _draw(plots, about, repeats, saved)


def _measure(
    pairs: "ImageTextDataset", splits: "list[Split]", model: str, cuts: Sequence[int]
) -> "tuple[dict[str, Any], list[Reports]]":
    from hashcli.datasets.splits import training_overlap
    from hashcli.evaluation.retrieval import evaluate_model, rows_of
    from hashcli.hashmodel.model import HashModel
    from hashcli.hashmodel.registry import find_model

    hash_model = HashModel(find_model(model), verify=True)
    trained = [training_overlap(hash_model.folder.parent / "split.json", pairs, split) for split in splits]
    for warning in filter(None, [*splits[0].warnings, *trained]):
        say(f"warning: {warning}")
    with ProgressReporter("Encoding") as reporter:
        reporter.planned(len(rows_of(splits)))
        repeats = evaluate_model(hash_model, pairs, splits, cuts, reporter.advanced)
    about = {
        "model": hash_model.name,
        "bits": hash_model.bits,
        "dataset": pairs.name,
        "protocol": splits[0].protocol,
        "seed": _all([split.seed for split in splits]),
        "split": _all([split.checksum for split in splits]),
        "query": len(splits[0].query),
        "database": len(splits[0].database),
        "ties": "by database row",
    }
    return about, repeats


def _about_codes(saved: "list[SavedCodes]") -> dict[str, Any]:
    for what in ("length", "dataset", "protocol", "method"):
        known = [(one.path, f"{one.bits} bits" if what == "length" else one.about.get(what)) for one in saved]
        if len({value for _, value in known if value}) > 1:
            each = ", ".join(f"{path} has {value}" for path, value in known if value)
            stop_with(
                f"Codes are not averaged that differ in their {what}: {each}.",
                "Give runs that differ by their seed alone.",
            )
    told = {key: _all([one.about.get(key) for one in saved]) for key in saved[0].about}
    return {
        "codes": _all([str(one.path) for one in saved]),
        "bits": saved[0].bits,
        **told,
        "query": len(saved[0].query),
        "database": len(saved[0].database),
        "ties": "by database row",
    }


def _all(values: list[Any]) -> Any:
    """What all have in common, or each one's own."""
    return values[0] if all(value == values[0] for value in values) else values


def _figures(repeats: "list[Reports]") -> list[dict[str, Any]]:
    """A row for each figure: its value, or the mean and deviation of several seeds."""
    from hashcli.evaluation.repeats import repeated_figures

    if len(repeats) == 1:
        return [
            {"direction": direction, "metric": figure.name, "value": figure.value, "chance": figure.chance}
            for direction, report in repeats[0].items()
            for figure in report.metrics
        ]
    return [
        {
            "direction": direction,
            "metric": figure.name,
            "mean": figure.mean,
            "sd": figure.deviation,
            "values": figure.values,
            "chance": figure.chance,
        }
        for direction in repeats[0]
        for figure in repeated_figures([reports[direction] for reports in repeats])
    ]


def _print_json(about: dict[str, Any], figures: list[dict[str, Any]], repeats: "list[Reports]") -> None:
    from hashcli.evaluation.repeats import mean_curves

    for row in figures:
        write_json({**about, **row})
    for direction in repeats[0]:
        for curve in mean_curves([reports[direction] for reports in repeats]):
            drawn = {"curve": curve.name, "x": curve.x, "values": curve.values, "chance": curve.chance}
            write_json({**about, "direction": direction, **drawn})


def _print_table(figures: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    numbers = [column for column in ("value", "mean", "sd", "chance") if column in figures[0]]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("metric", overflow="fold")
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    direction = None
    for row in figures:
        if row["direction"] != direction:
            direction = row["direction"]
            table.add_section()
            table.add_row(direction, style="bold")
        table.add_row(f"  {row['metric']}", *(f"{row[number]:.4f}" for number in numbers))
    Console(highlight=False).print(table)


def _draw(folder: Path, about: dict[str, Any], repeats: "list[Reports]", saved: "list[SavedCodes]") -> None:
    from hashcli.evaluation.plots import plot_losses, plot_precision_at, plot_precision_recall
    from hashcli.evaluation.repeats import mean_curves

    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    curves = {direction: mean_curves([reports[direction] for reports in repeats]) for direction in repeats[0]}
    if all(curves.values()):
        names = [about.get("model") or about.get("method"), about.get("dataset"), f"{about['bits']} bits"]
        title = ", ".join(str(name) for name in names if name)
        title += f", mean of {len(repeats)} seeds" if len(repeats) > 1 else ""
        drawn = [folder / "precision-recall.png", folder / "precision-at-n.png"]
        plot_precision_recall(curves, drawn[0], title)
        plot_precision_at(curves, drawn[1], title)
    else:
        say("There is no precision to draw: this dataset has no labels.")
    for one in saved:
        log = one.path.parent / "log.jsonl"
        if log.exists():
            drawn.append(folder / f"loss-{one.path.resolve().parent.name}.png")
            plot_losses(log, one.bits, drawn[-1])
    for path in drawn:
        say(f"Drawn: {path}")
