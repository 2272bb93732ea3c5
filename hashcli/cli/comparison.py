"""How compared runs are shown: a table for people, rows for programs, rows of LaTeX, and pictures."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hashcli.cli.command import Command
from hashcli.cli.console import say, write_json
from hashcli.cli.run_progress import SHOWN

if TYPE_CHECKING:
    from hashcli.evaluation.compare import ComparedMetric, Comparison, Spread


class ComparingCommand(Command):
    """Takes several runs after one --compare, as the shell gives them for `runs/*`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spread: list[str] = []
        comparing = False
        for arg in args:
            if arg.startswith("-"):
                comparing = arg == "--compare"
                if comparing:
                    continue
            spread += ["--compare", arg] if comparing else [arg]
        return super().parse_args(ctx, spread)


Form = Literal["table", "json", "latex"]  # a table has tabs in a pipe
_UNSEEN_ROW = "  in the unseen database"


def compare_runs(
    paths: list[Path], baseline: str | None = None, form: Form = "table", plots: Path | None = None
) -> None:
    """Compare the runs in these folders, print them and draw their curves."""
    from hashcli.evaluation.compare import compare, find_runs

    runs = find_runs(paths)
    for run in runs:
        if run.rows is None:
            say(f"warning: {run.path} is left out: it is not finished")
    comparison = compare(runs, baseline)
    facts = next(iter(comparison.runs.values()))[0].facts
    say(f"dataset {facts['dataset']}, protocol {facts['protocol']}")
    if form == "json":
        _print_json(comparison)
    elif form == "latex":
        _print_latex(comparison)
    elif sys.stdout.isatty():
        _print_tables(comparison)
    else:
        _print_rows(comparison)
    if plots:
        _draw(comparison, plots, str(facts["dataset"]))


def _print_json(comparison: "Comparison") -> None:
    for one in comparison.metrics:
        row = {
            "runs": one.label,
            "of": one.of,
            "bits": one.bits,
            "direction": one.direction,
            "metric": one.metric,
            **_numbers(one.values),
            "chance": one.chance,
        }
        if one.gain:
            row |= {"baseline": one.baseline, "gain": _numbers(one.gain)}
        write_json(row)


def _numbers(spread: "Spread") -> dict[str, Any]:
    return {"mean": spread.mean, "sd": spread.deviation, "values": spread.by_seed}


def _print_rows(comparison: "Comparison") -> None:
    for one in _read_first(comparison):
        row = [_name(one), f"{one.bits} bits", one.direction, one.metric, *_columns("mean", one.values)]
        row += [f"seeds {len(one.values.by_seed)}", f"chance {one.chance:.4f}"]
        print("\t".join(row + (_columns("gain", one.gain) if one.gain else [])))


def _columns(name: str, spread: "Spread") -> list[str]:
    sign = "+" if name == "gain" else ""
    deviation = "-" if spread.deviation is None else f"{spread.deviation:.4f}"
    return [f"{name} {spread.mean:{sign}.4f}", f"sd {deviation}"]


def _print_tables(comparison: "Comparison") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, highlight=False)
    for title, rows in _blocks(comparison, " ± "):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        table.add_column(title, overflow="fold")
        for bits in comparison.bits:
            table.add_column(f"{bits} bits", justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        console.print()


def _print_latex(comparison: "Comparison") -> None:
    for title, rows in _blocks(comparison, r" $\pm$ "):
        print(f"% {title}; bits: {', '.join(map(str, comparison.bits))}")
        for name, *cells in rows:
            print(" & ".join([_escaped(name), *cells]) + r" \\")


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)


def _blocks(comparison: "Comparison", between: str) -> Iterable[tuple[str, list[list[str]]]]:
    """For each direction and metric a title and its rows: a name, and a cell for each code length.

    Below the row of a name are its gains and the same in the unseen database, and chance ends the block.
    """
    from hashcli.evaluation.retrieval import UNSEEN

    shown = _read_first(comparison)
    titles = dict.fromkeys((one.direction.removesuffix(UNSEEN), one.metric) for one in shown)
    for direction, metric in titles:
        seen, unseen = (
            [one for one in shown if (one.direction, one.metric) == (way, metric)]
            for way in (direction, direction + UNSEEN)
        )
        rows = []
        for name in dict.fromkeys(map(_name, [*seen, *unseen])):
            rows += _rows_of(comparison, name, [one for one in seen if _name(one) == name], between)
            rows += _rows_of(comparison, _UNSEEN_ROW, [one for one in unseen if _name(one) == name], between)
        for name, block in (("chance", seen), (_UNSEEN_ROW, unseen)):
            if block:
                chances = {one.bits: one for one in block}
                rows.append([name, *_cells(comparison, chances, lambda one: _short(one.chance))])
        yield f"{direction}, {metric}", rows


def _rows_of(comparison: "Comparison", name: str, own: "list[ComparedMetric]", between: str) -> list[list[str]]:
    """The values of one name at each code length and, if there are any, their gains; nothing without values."""
    if not own:
        return []
    by_bits = {one.bits: one for one in own}
    rows = [[name, *_cells(comparison, by_bits, lambda one: _figure(one.values, between))]]
    baseline = next((one.baseline for one in own if one.gain), None)
    if baseline:
        gains = _cells(comparison, by_bits, lambda one: _figure(one.gain, between, "+") if one.gain else "")
        rows.append([f"  gain over {baseline}", *gains])
    return rows


def _cells(
    comparison: "Comparison", own: "dict[int, ComparedMetric]", shown: "Callable[[ComparedMetric], str]"
) -> list[str]:
    return [shown(own[bits]) if bits in own else "" for bits in comparison.bits]


def _figure(spread: "Spread", between: str, sign: str = "") -> str:
    deviation = "" if spread.deviation is None else between + _short(spread.deviation)
    return _short(spread.mean, sign) + deviation


def _short(value: float, sign: str = "") -> str:
    """Such as ".806" or "+.012", as papers print it."""
    shown = f"{value:{sign}.3f}"
    return shown.replace("0.", ".", 1) if abs(value) < 0.9995 else shown


def _read_first(comparison: "Comparison") -> "list[ComparedMetric]":
    """The metrics to read first, as `distill` shows them."""
    return [one for one in comparison.metrics if one.metric in SHOWN]


def _name(one: "ComparedMetric") -> str:
    """The runs' label, and what was evaluated where that is not their method itself."""
    method, comma, settings = one.label.partition(",")
    return f"{one.of}{comma}{settings}" if one.of.startswith(method) else f"{one.label}: {one.of}"


def _draw(comparison: "Comparison", folder: Path, dataset: str) -> None:
    from hashcli.evaluation.compare import joint_curves
    from hashcli.evaluation.plots import plot_compared

    folder.mkdir(parents=True, exist_ok=True)
    for bits in comparison.bits:
        curves = joint_curves(comparison, bits)
        if not curves:
            say(f"{bits} bits: there are no curves to draw, for lack of codes or of labels.")
            continue
        for kind in ("precision-recall", "precision-at-n"):
            path = folder / f"{kind}-{bits}.png"
            plot_compared(curves, path, f"{dataset}, {bits} bits", by_rank=kind == "precision-at-n")
            say(f"Drawn: {path}")
