"""The training loop: repeatable, resumable to the bit, and stopped by a loss that is not finite."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")


from hashcli.distillation import ckdh, lcdh, soda
from hashcli.distillation.material import Hashers, Job
from hashcli.distillation.training import Epoch
from hashcli.errors import HashcliError
from tests.distillation.planted import make_job, make_material, weights

METHODS = {"soda": soda.distill, "ckdh": ckdh.distill, "lcdh": lcdh.distill}
SHORT: dict[str, Any] = {"epochs": 2, "round_steps": 2}


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


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch() -> None:
    """Row 70 of 100 is spoiled, and stands in the first or the second batch of the first epoch."""
    material = make_material(100, seed=1)
    material.teacher_image[70, 3] = float("nan")
    with pytest.raises(HashcliError, match=r"^ckdh-teacher: the loss is not finite in epoch 1, batch [12] \(.*nan"):
        ckdh.distill(make_job(material))


def test_one_pair_alone_is_refused() -> None:
    with pytest.raises(HashcliError, match="too little to train on"):
        ckdh.distill(make_job(make_material(1, seed=1)))


def test_a_batch_of_one_is_left_out_and_losses_are_told() -> None:
    """65 items in batches of 64: the 65th is alone, and no pair."""
    told: list[Epoch] = []
    soda.distill(make_job(make_material(65, seed=1), None, told.append, epochs=1))
    assert [(epoch.stage, epoch.number, epoch.of) for epoch in told] == [("soda-teacher", 1, 1), ("soda-student", 1, 1)]
    assert set(told[0].losses) == {"likelihood", "gap", "quantisation", "balance"}
    assert all(0 < value < 10 for value in told[0].losses.values())
