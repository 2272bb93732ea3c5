"""Losses and metrics for TensorBoard."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from hashcli.distillation import scalars
from hashcli.distillation.run_folder import RunFolder
from hashcli.distillation.training_loop import EpochReport

ROW = {"of": "ckdh", "bits": 16, "direction": "image to text", "name": "mAP@all", "value": 0.75, "chance": 0.5}


def write(folder: Path) -> None:
    run = RunFolder(folder)
    for number in (1, 2, 2):  # a run that was killed repeats an epoch
        run = RunFolder(folder) if number == 2 else run
        run.log_epoch(16, EpochReport("student", number, 2, {"gap": 0.5}, {"mAP@all": 0.25}, 1.0))
    run.save_metrics([ROW])


def test_each_epoch_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            assert Path(folder) == tmp_path / "tensorboard"

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None: ...

    monkeypatch.setattr(scalars, "find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    write(tmp_path)
    assert written == [
        ("16 bits/student/gap", 0.5, 1),
        ("16 bits/student/mAP@all", 0.25, 1),
        ("16 bits/student/gap", 0.5, 2),
        ("16 bits/student/mAP@all", 0.25, 2),
        ("ckdh/image to text/mAP@all", 0.75, 16),
    ]


def test_without_tensorboard_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scalars, "find_spec", lambda _: None)
    write(tmp_path)
    assert not (tmp_path / "tensorboard").exists()


def test_tensorboard_reads_what_is_written(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write(tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    names = [tag for tag in events.Tags()["scalars"] if tag.endswith("student/gap")]
    assert len(names) == 1
    assert [event.step for event in events.Scalars(names[0])] == [1, 2]
