"""Plots of an evaluation and of a training run, as PNG files. They need matplotlib."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import (
    PRECISION_AT,
    PRECISION_OVER_RANKS,
    PRECISION_WITHIN_FOUND,
    RECALL_OVER_RANKS,
    RECALL_WITHIN,
    Curve,
)
from hashcli.parsing import parse_json

Curves = dict[str, list[Curve]]  # by direction
Epochs = dict[int, dict[str, dict[str, float]]]  # by number: the values of "losses" and "validation" by name

# A pair that the colour-blind can tell apart.
COLOURS = {"image to text": "#0072b2", "text to image": "#d55e00", "code to code": "#0072b2"}
CHANCE: dict[str, Any] = {"linestyle": ":", "linewidth": 1.2}


def plot_precision_recall(curves: Curves, path: Path, title: str) -> None:
    """Draw precision against recall by hash lookup, a point for each Hamming radius within which something is found.

    The precision is the mean over the queries that find something, as papers draw it: were the others to count as 0,
    the curve would begin near 0.
    """
    figure, axes = _figure(title, *_PRECISION_RECALL)
    _plot_pairs(axes, curves, _precision_recall)
    _save(figure, axes, path)


def plot_precision_recall_over_ranks(curves: Curves, path: Path, title: str) -> None:
    """Draw precision against recall among the first N results, for N from 1 to the whole database."""
    figure, axes = _figure(title, "recall among the first N, for all N", "precision among the first N")
    _plot_pairs(axes, curves, _precision_recall_over_ranks)
    _save(figure, axes, path)


def _plot_pairs(axes: Axes, curves: Curves, points: Callable[[list[Curve]], "_Points"]) -> None:
    """One curve against another at the same points, where something is found."""
    for direction, of_direction in curves.items():
        x, y, chance = points(of_direction)
        axes.plot(x, y, marker=".", markersize=4, color=COLOURS[direction], label=direction)
        axes.plot(x, chance, color=COLOURS[direction], **CHANCE)


def plot_precision_at(curves: Curves, path: Path, title: str) -> None:
    """Draw the precision among the first N results."""
    figure, axes = _figure(title, *_PRECISION_AT)
    for direction, of_direction in curves.items():
        x, y, chance = _precision_at(of_direction)
        axes.plot(x, y, color=COLOURS[direction], label=direction)
        axes.plot(x, chance, color=COLOURS[direction], **CHANCE)
    _save(figure, axes, path)


def plot_compared(curves: dict[str, Curves], path: Path, title: str, *, by_rank: bool) -> None:
    """Draw the curves of several methods, by label, in one picture with a panel for each direction, two side by side.

    Precision is drawn by rank, or else against recall.
    """
    points = _precision_at if by_rank else _precision_recall
    x_name, y_name = _PRECISION_AT if by_rank else _PRECISION_RECALL
    directions = list(dict.fromkeys(direction for own in curves.values() for direction in own))
    columns = min(2, len(directions))
    rows = -(-len(directions) // columns)
    figure = Figure(figsize=(4.5 * columns, 4 * rows + 0.25 * len(curves)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes in panels[len(directions) :]:
        axes.remove()
    for axes, direction in zip(panels, directions, strict=False):
        for number, (label, own) in enumerate(curves.items()):
            x, y, chance = points(own[direction])
            axes.plot(x, y, color=f"C{number}", linestyle=("-", "--", "-.")[number // 10 % 3], label=label)
        axes.plot(x, chance, color="grey", label="chance", **CHANCE)
        axes.set_title(direction, fontsize="medium")
        axes.set_xlabel(x_name)
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.3)
    for first in panels[::columns]:
        first.set_ylabel(y_name)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", frameon=False, ncols=2)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


_PRECISION_RECALL = "recall, a point for each Hamming radius", "precision of queries that find any"
_PRECISION_AT = "N, the nearest by Hamming distance", PRECISION_AT

_Points = tuple[list[float], list[float], list[float]]  # x, y, and chance


def _precision_recall(curves: list[Curve]) -> _Points:
    return _points(curves, RECALL_WITHIN, PRECISION_WITHIN_FOUND)


def _precision_recall_over_ranks(curves: list[Curve]) -> _Points:
    return _points(curves, RECALL_OVER_RANKS, PRECISION_OVER_RANKS)


def _points(curves: list[Curve], x_name: str, y_name: str) -> _Points:
    by_name = {curve.name: curve for curve in curves}
    x, y = by_name[x_name], by_name[y_name]
    used = [point for point, chance in enumerate(y.chance) if chance > 0]
    places, values, chances = ([one[point] for point in used] for one in (x.values, y.values, y.chance))
    return places, values, chances


def _precision_at(curves: list[Curve]) -> _Points:
    curve = next(curve for curve in curves if curve.name == PRECISION_AT)
    return list(curve.x), curve.values, curve.chance


def plot_losses(log: Path, bits: int, path: Path) -> None:
    """Draw the terms of the loss by epoch and, dashed, the validation metrics; a panel for each stage of training.

    `log` is the log.jsonl of a run. Raises HashcliError when it cannot be read, and when it has no epochs of `bits`.
    """
    _losses_figure(_read_log(log, bits), f"{log.resolve().parent.name}, {bits} bits").savefig(path, dpi=150)


def _losses_figure(stages: dict[str, Epochs], title: str) -> Figure:
    columns = min(len(stages), 3)
    rows = -(-len(stages) // columns)
    figure = Figure(figsize=(max(4 * columns, 6), 3 * rows + 1.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    legend: dict[str, Line2D] = {}
    for axes, (stage, epochs) in zip(panels, stages.items(), strict=False):
        _plot_stage(axes, epochs, legend)
        axes.set_title(stage, fontsize="medium")
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    for axes in panels[len(stages) :]:
        axes.remove()
    figure.legend(handles=list(legend.values()), loc="outside lower center", frameon=False, ncols=min(columns + 1, 3))
    figure.suptitle(f"{title}\nthe terms of the loss; dashed, on the right: validation", fontsize="medium")
    return figure


def _read_log(log: Path, bits: int) -> dict[str, Epochs]:
    """The epochs of a log by stage."""
    stages: dict[str, Epochs] = defaultdict(dict)
    try:
        for line in log.read_text(encoding="utf-8").splitlines():
            epoch = parse_json(line)
            if epoch["bits"] == bits:
                stages[epoch["stage"]][epoch["number"]] = {kind: epoch[kind] for kind in ("losses", "validation")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HashcliError(f"{log} is not a training log: {error}.") from error
    if not stages:
        raise HashcliError(f"{log} has no epochs of {bits} bits.")
    return stages


def _plot_stage(axes: Axes, epochs: Epochs, legend: dict[str, Line2D]) -> None:
    """Losses on the left axis and validation on the right. A name keeps its colour, which `legend` records."""
    right = axes.twinx()
    right.set_ylim(0, 1.02)
    for own_axes, kind, style in ((axes, "losses", "-"), (right, "validation", "--")):
        for name in dict.fromkeys(name for epoch in epochs.values() for name in epoch[kind]):
            line = legend.setdefault(name, Line2D([], [], color=f"C{len(legend)}", linestyle=style, label=name))
            numbers = [number for number, epoch in epochs.items() if name in epoch[kind]]
            values = [epochs[number][kind][name] for number in numbers]
            marker = "." if len(values) == 1 else ""
            own_axes.plot(numbers, values, color=line.get_color(), linestyle=style, marker=marker)


def _figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize="medium")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Figure, axes: Axes, path: Path) -> None:
    axes.plot([], [], color="grey", label="chance", **CHANCE)
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
