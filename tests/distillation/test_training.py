"""The training loop: repeatable, resumable to the bit, and stopped by a loss that is not finite."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from hashcli.distillation import ckdh, lcdh, soda
from hashcli.distillation.material import Hashers, Job
from hashcli.distillation.training import Epoch
from hashcli.errors import HashcliError
from tests.distillation.planted import make_job, make_material, weights

METHODS = {"soda": soda.distill, "ckdh": ckdh.distill, "lcdh": lcdh.distill}
SHORT = {"epochs": 2, "passes": 2}


class StoppedError(Exception):
    pass


def test_one_seed_gives_one_result_and_another_seed_another() -> None:
    material = make_material(100, seed=1)
    first, again, other = (
        weights(soda.distill(make_job(material, seed=seed, **SHORT)).modules()) for seed in (0, 0, 1)
    )
    assert first == again
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_stopped_after_any_epoch_ends_with_the_weights_of_one_that_was_not(method: str, tmp_path: Path) -> None:
    """It is stopped, and started anew, after each and every epoch."""
    material = make_material(100, seed=1)
    told: list[Epoch] = []
    undisturbed = METHODS[method](make_job(material, None, told.append, **SHORT))

    def stop(epoch: Epoch) -> None:
        """Stop at the end of an epoch, before it is saved, unless it was stopped there before."""
        if (epoch.stage, epoch.number) not in stopped:
            stopped.append((epoch.stage, epoch.number))
            raise StoppedError

    def attempt(job: Job) -> Hashers | None:
        try:
            return METHODS[method](job)
        except StoppedError:
            return None

    stopped: list[tuple[str, int]] = []
    job = make_job(material, tmp_path, stop, **SHORT)
    resumed = None
    while resumed is None:
        resumed = attempt(job)
    assert stopped == [(epoch.stage, epoch.number) for epoch in told]
    assert len({stage for stage, _ in stopped}) > 1
    assert weights(resumed.modules()) == weights(undisturbed.modules())


PROGRAM = """
import sys
from pathlib import Path
from hashcli.distillation import lcdh
from tests.distillation.planted import make_job, make_material

lcdh.distill(
    make_job(make_material(400, seed=1), Path(sys.argv[1]), lambda epoch: print(epoch.stage, flush=True), epochs=5000)
)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_a_run_killed_outright_goes_on(tmp_path: Path) -> None:
    """Killed some time after its first epoch, with 5,000 to go; what it left is taken up, whatever it is."""
    folder = tmp_path / "killed"
    folder.mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    running = subprocess.Popen(
        [sys.executable, tmp_path / "program.py", folder],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
    )
    assert running.stdout is not None
    assert running.stdout.readline() == b"lcdh-teacher\n"
    time.sleep(0.3)
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    saved = torch.load(folder / "lcdh-teacher.pt", weights_only=True)["epoch"]
    assert 0 < saved < 5000

    material = make_material(400, seed=1)
    epochs = saved + 2
    told: list[Epoch] = []
    resumed = lcdh.distill(make_job(material, folder, told.append, epochs=epochs))
    assert told[0].number == saved + 1
    assert weights(resumed.modules()) == weights(lcdh.distill(make_job(material, epochs=epochs)).modules())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch() -> None:
    """Row 70 of 100 is spoiled, and stands in the first or the second batch of the first epoch."""
    material = make_material(100, seed=1)
    material.teacher_image[70, 3] = float("nan")
    with pytest.raises(HashcliError, match=r"^ckdh-teacher: the loss is not finite in epoch 1, batch [12] \(.*nan"):
        ckdh.distill(make_job(material))


def test_a_batch_of_one_is_left_out_and_losses_are_told() -> None:
    """65 items in batches of 64: the 65th is alone, and no pair."""
    told: list[Epoch] = []
    soda.distill(make_job(make_material(65, seed=1), None, told.append, epochs=1))
    assert [(epoch.stage, epoch.number, epoch.of) for epoch in told] == [("soda-teacher", 1, 1), ("soda-student", 1, 1)]
    assert set(told[0].losses) == {"likelihood", "gap", "quantisation", "balance"}
    assert all(0 < value < 10 for value in told[0].losses.values())
