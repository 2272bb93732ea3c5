"""What a training run says while it goes on: one live line in a terminal, and all of it in the log."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hashcli.cli.console import ProgressBar, detail, say

if TYPE_CHECKING:
    from hashcli.distillation.run_folder import MetricRow
    from hashcli.distillation.training_loop import EpochReport
    from hashcli.evaluation.ranking import MetricValue, Report

SHOWN = ("mAP@all", "recall@10", "recall@10 of the 10 nearest")  # the metrics to read first
_ROUND = re.compile(r"\bround[ -](\d+)")  # in the name of a stage, or of what was evaluated


class RunProgress(ProgressBar):
    """A run's callback. Messages go to stderr, and the full lines of every epoch to the log.

    In a terminal, each stage has one line that is rewritten, and leaves a short one when it ends. A stage that is a
    round of several leaves one only after the last round.
    """

    def __init__(self) -> None:
        super().__init__("Features")
        self._is_terminal = sys.stderr.isatty()
        self._stage: _Stage | None = None

    def __enter__(self) -> "RunProgress":
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._end_stage()
        super().__exit__(*error)

    def planned(self, count: int, what: str = "Features") -> None:
        self._doing = what
        super().planned(count)

    def writing(self, folder: Path) -> None:
        self._end_stage()
        say(f"Writing {folder}")

    def left_out(self, count: int) -> None:
        say(f"warning: {count:,} of the photos cannot be read, and are left out")

    def epoch_ended(self, bits: int, epoch: "EpochReport") -> None:
        name = f"{bits} bits, {epoch.stage}" if bits else epoch.stage
        if self._stage is None or self._stage.name != name:
            self._begin_stage(name, epoch.of)
        assert self._stage
        self._stage.add(epoch)
        self.scanned(epoch.number)
        self.noted(self._stage.short())
        # A pipe gets the last epoch of a stage, a terminal the stage's short line.
        tell = say if epoch.number == epoch.of and not self._is_terminal else detail
        tell(_full(name, epoch))

    def evaluated(self, what: str, bits: int, reports: "dict[str, Report]") -> None:
        of_round = _ROUND.search(what)
        if not of_round:
            self._end_stage()
        # In a terminal, the last stage's line has the validation.
        tell = detail if of_round or (self._is_terminal and what == "validation") else say
        from hashcli.evaluation.retrieval import UNSEEN, is_main

        for direction in [one for one in reports if is_main(one, reports)]:
            unseen = {one.name: one.value for one in _read_first(reports.get(f"{direction}{UNSEEN}"))}
            for one in _read_first(reports[direction]):
                also = f", unseen {unseen[one.name]:.4f}" if one.name in unseen else ""
                tell(f"{bits} bits, {what}, {direction}: {one.name} {one.value:.4f}{also}, chance {one.chance:.4f}")

    def bits_kept(self, bits: int, image: float, text: float) -> None:
        self._end_stage()
        say(f"{bits} bits: of the old items' bits, {image:.1%} (photos) and {text:.1%} (texts) are unchanged")

    def _begin_stage(self, name: str, epochs: int) -> None:
        if self._stage and _ROUND.sub("", self._stage.name) != _ROUND.sub("", name):
            self._end_stage()
        self._stage = _Stage(name)
        self.planned(epochs, name)

    def _end_stage(self) -> None:
        if self._stage and self._is_terminal:
            say(f"{self._stage.name}: {self._stage.short()}")
        self._stage = None


def _read_first(report: "Report | None") -> "list[MetricValue]":
    return [metric for metric in report.metrics if metric.name in SHOWN] if report else []


class _Stage:
    """What is shown of a stage: the loss and the validation of its last epoch, and its best epoch."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._loss = 0.0
        self._validation: dict[str, float] = {}
        self._best: tuple[float, int] | None = None  # mean of the validation metrics, and the epoch

    def add(self, epoch: "EpochReport") -> None:
        self._loss = sum(epoch.losses.values())
        if epoch.validation:
            self._validation = epoch.validation
            mean = sum(epoch.validation.values()) / len(epoch.validation)
            if self._best is None or mean > self._best[0]:
                self._best = mean, epoch.number

    def short(self) -> str:
        """Such as "loss 1.64, valid .887 .885, best 28": the validation by direction."""
        parts = [f"loss {self._loss:.3f}"]
        if self._best:
            values = " ".join(f"{value:.3f}".removeprefix("0") for value in self._validation.values())
            parts += [f"valid {values}", f"best {self._best[1]}"]
        return ", ".join(parts)


def _full(name: str, epoch: "EpochReport") -> str:
    losses = ", ".join(f"{name} {value:.4f}" for name, value in epoch.losses.items())
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in epoch.validation.items())
    validation = f"; validation: {metrics}" if metrics else ""
    return f"{name}, epoch {epoch.number} of {epoch.of}: {losses}{validation}"


def shown_rows(rows: "list[MetricRow]") -> "list[MetricRow]":
    """The rows to read first: of the rounds of a stream, only those of the last."""
    last = max((int(of_round[1]) for row in rows if (of_round := _ROUND.match(row["of"]))), default=0)

    def is_shown(row: "MetricRow") -> bool:
        of_round = _ROUND.match(row["of"])
        is_old = of_round is not None and int(of_round[1]) < last
        return row["name"] in SHOWN and not row["of"].startswith("validation") and not is_old

    return [row for row in rows if is_shown(row)]
