"""The plots are written, and hold the colours of what they claim to show."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hashcli.errors import HashcliError
from hashcli.evaluation.ranking import PRECISION_OVER_RANKS, PRECISION_WITHIN_FOUND, RECALL_OVER_RANKS, Curve
from tests.conftest import Run
from tests.evaluation.saved import save_codes

pytest.importorskip("matplotlib")

EPOCHS = [
    {
        "bits": 16,
        "stage": stage,
        "number": number,
        "of": 2,
        "losses": {"likelihood": 1 / number},
        "validation": {} if stage == "teacher" else {"image to text mAP@all": 0.4 + 0.1 * number},
        "seconds": 0.1,
    }
    for stage in ("teacher", "student-1", "student-2", "student-3")
    for number in (1, 2)
]


def colours(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return set(map(tuple, np.unique(np.array(image.convert("RGB")).reshape(-1, 3), axis=0).tolist()))


def test_both_directions_and_chance_are_drawn(tmp_path: Path) -> None:
    from hashcli.evaluation.plots import plot_precision_at, plot_precision_recall, plot_precision_recall_over_ranks

    radius = [
        Curve(PRECISION_WITHIN_FOUND, [0, 1, 2], [0.0, 0.9, 0.5], [0.0, 0.5, 0.5]),
        Curve(PRECISION_OVER_RANKS, [1, 5, 9], [0.9, 0.9, 0.5], [0.5, 0.5, 0.5]),
        Curve(RECALL_OVER_RANKS, [1, 5, 9], [0.0, 0.9, 1.0], [0.1, 0.5, 1.0]),
        Curve("recall within Hamming radius", [0, 1, 2], [0.0, 0.3, 1.0], [0.0, 0.2, 1.0]),
    ]
    first = Curve("precision@N", [1, 2], [0.8, 0.5], [0.5, 0.5])
    other = [*(Curve(one.name, one.x, [0.7 * value for value in one.values], one.chance) for one in radius), first]
    curves = {"image to text": [*radius, first], "text to image": other}
    blue, orange = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
    for plot in (plot_precision_recall, plot_precision_recall_over_ranks, plot_precision_at):
        plot(curves, tmp_path / "both.png", "both")
        plot({"text to image": other}, tmp_path / "one.png", "one")
        assert {blue, orange} <= colours(tmp_path / "both.png")
        assert orange in colours(tmp_path / "one.png")
        assert blue not in colours(tmp_path / "one.png")


def test_losses_of_every_stage(tmp_path: Path) -> None:
    from hashcli.evaluation.plots import plot_losses

    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(epoch) + "\n" for epoch in EPOCHS))
    plot_losses(log, 16, tmp_path / "loss.png")
    assert {(0x1F, 0x77, 0xB4), (0xFF, 0x7F, 0x0E)} <= colours(tmp_path / "loss.png")  # the loss, and validation
    with pytest.raises(HashcliError, match="no epochs of 32 bits"):
        plot_losses(log, 32, tmp_path / "loss.png")
    log.write_text("not JSON\n")
    with pytest.raises(HashcliError, match="not a training log"):
        plot_losses(log, 16, tmp_path / "loss.png")


@pytest.mark.parametrize("count", [1, 3, 4])
def test_the_title_of_the_losses_lies_on_nothing(count: int) -> None:
    """Also for a long name and many terms."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from hashcli.evaluation.plots import _losses_figure

    losses = {f"a term of the loss {number}": 0.5 for number in range(6)}
    stages = {f"stage-{number}": {1: {"losses": losses, "validation": {"mAP": 0.5}}} for number in range(count)}
    figure = _losses_figure(stages, "mirflickr-ckdh-without-teacher-0, 128 bits")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [one.get_window_extent() for one in (figure.texts[0], figure.legends[0])]
    boxes += [axes.get_tightbbox() or axes.bbox for axes in figure.axes[:count]]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width


def test_through_the_command(hashcli: Run, tmp_path: Path) -> None:
    for seed in (0, 1):
        save_codes(tmp_path / f"run-{seed}" / "codes-16.npz", seed=seed)
        (tmp_path / f"run-{seed}" / "log.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in EPOCHS))
    codes = [argument for seed in (0, 1) for argument in ("--codes", f"run-{seed}/codes-16.npz")]
    done = hashcli("evaluate", *codes, "--plots", "drawn/here")
    plots = ["precision-at-n.png", "precision-recall-over-ranks.png", "precision-recall.png"]
    drawn = ["loss-run-0.png", "loss-run-1.png", *plots]
    assert sorted(path.name for path in (tmp_path / "drawn" / "here").iterdir()) == drawn
    assert all(f"drawn/here/{name}" in done.stderr for name in drawn)


def test_without_labels_there_is_no_precision_to_draw(hashcli: Run, tmp_path: Path) -> None:
    save_codes(tmp_path / "codes-16.npz", labelled=False)
    assert "no labels" in hashcli("evaluate", "--codes", "codes-16.npz", "--plots", "drawn").stderr
