"""What a training run shows in a terminal of 80 columns, and what goes to a pipe and to the log."""

import io
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hashcli.cli import messages
from hashcli.cli.run_progress import RunProgress, shown_rows


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """A log file, as of --log."""
    path = tmp_path / "log.txt"
    messages.set_up(quiet=False, verbose=False, log=path)
    yield path
    messages.logger.handlers = [messages.stderr]
    messages.stderr.setLevel(logging.INFO)


def epoch(stage: str, number: int, of: int, validation: float | None = None) -> Any:
    losses = {"likelihood": 1.5, "instance": 0.25, "relation": 0.125, "quantisation": 0.0625 / number}
    directions = ("image to text", "text to image")
    metrics = {f"{direction} mAP@all": validation for direction in directions} if validation else {}
    return SimpleNamespace(stage=stage, number=number, of=of, losses=losses, validation=metrics)


def reports(value: float) -> Any:
    metric = SimpleNamespace(name="mAP@all", value=value, chance=0.5)
    return {direction: SimpleNamespace(metrics=[metric]) for direction in ("image to text", "text to image")}


def both_databases(value: float) -> Any:
    """As a dataset with labels has them: the same with unseen items, a little worse, and photos among photos."""
    unseen = {f"{direction}, unseen database": report for direction, report in reports(value - 0.05).items()}
    return reports(value) | unseen | {"image to image": reports(0.9)["image to text"]}


def draw(progress: RunProgress) -> None:
    """Draw the live line now, and not when its time has come."""
    if progress._progress:
        progress._progress.refresh()


def run_stages() -> None:
    """The longest lines that a run has: 1,024 bits, and LCDH in three rounds."""
    with RunProgress() as progress:
        progress.planned(100)
        progress.advanced(100)
        for number, validation in ((1, 0.6), (2, 0.8), (3, 0.7)):
            progress.epoch_ended(1024, epoch("lcdh-teacher", number, 3, validation))
            draw(progress)
        for number in (1, 2, 3):
            progress.epoch_ended(1024, epoch(f"lcdh-round-{number}", 1, 1, 0.7 + number / 100))
            draw(progress)
            progress.evaluated(f"validation, round {number}", 1024, reports(0.7))
        progress.evaluated("validation", 1024, reports(0.73))
        progress.evaluated("lcdh", 1024, both_databases(0.75))


def test_a_terminal_has_one_line_for_each_stage(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    run_stages()
    shown = lines_of(stderr.getvalue())
    assert max(map(len, shown)) <= 80
    kept = [line for line in shown if line.startswith("1024 bits") and "/" not in line]
    assert kept == [
        "1024 bits, lcdh-teacher: loss 1.896, valid .700 .700, best 2",
        "1024 bits, lcdh-round-3: loss 1.938, valid .730 .730, best 1",
        "1024 bits, lcdh, image to text: mAP@all 0.7500, unseen 0.7000, chance 0.5000",
        "1024 bits, lcdh, text to image: mAP@all 0.7500, unseen 0.7000, chance 0.5000",
    ]
    live = [line for line in shown if line.startswith("1024 bits") and "/" in line]
    assert any("2/3 loss 1.906, valid .800 .800, best 2" in line for line in live)
    assert not any("…" in line for line in live)


def test_the_log_has_every_epoch_and_every_round_in_full(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    run_stages()
    lines = log.read_text().splitlines()
    full = "lcdh-teacher, epoch 2 of 3: likelihood 1.5000, instance 0.2500, relation 0.1250, quantisation 0.0312; "
    assert any(full + "validation: image to text mAP@all 0.8000" in line for line in lines)
    assert sum(", validation, round " in line for line in lines) == 6


def test_a_pipe_has_the_last_epoch_of_each_stage_in_full(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    run_stages()
    lines = stderr.getvalue().splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "1024 bits, lcdh-teacher, epoch 3 of 3",
        *(f"1024 bits, lcdh-round-{number}, epoch 1 of 1" for number in (1, 2, 3)),
        *(f"1024 bits, {what}, {way}" for what in ("validation", "lcdh") for way in ("image to text", "text to image")),
    ]


def lines_of(output: str) -> list[str]:
    """The lines as they were at some time in a terminal, without its control sequences."""
    return [line.rstrip() for line in re.split(r"[\r\n]+|\x1b\[\d*A", re.sub(r"\x1b\[[0-9;?]*[mKhl]", "", output))]


def test_of_the_rounds_of_a_stream_the_last_is_shown_in_the_end() -> None:
    rows = [
        {"of": of, "name": name}
        for of in ("validation", "round 9, stored codes", "round 10, stored codes", "lcdh")
        for name in ("mAP@all", "mAP@50")
    ]
    assert [row["of"] for row in shown_rows(rows)] == ["round 10, stored codes", "lcdh"]
