"""The training loop: repeatable, resumable to the bit, and stopped by a loss that is not finite."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")


from hashcli.distillation.trainer import HashHeads, Trainer
from hashcli.distillation.training_loop import EpochReport
from hashcli.errors import HashcliError
from tests.distillation.planted import PAIRED, make_trainer, make_training_set, quick_settings, train, weights


def short(method: str) -> dict[str, Any]:
    return {name: 2 for name in ("epochs", "round_steps") if name in quick_settings(method)}


class StoppedError(Exception):
    pass


def test_one_seed_gives_one_result_and_another_seed_another() -> None:
    training_set = make_training_set(100, seed=1)
    first, again, other = (
        weights(train(make_trainer("soda", training_set, seed=seed, epochs=2)).folded().modules()) for seed in (0, 0, 1)
    )
    assert first == again
    assert all(first[name] != other[name] for name in first)


@pytest.mark.parametrize("method", PAIRED)
def test_a_run_stopped_after_any_epoch_ends_with_the_weights_of_one_that_was_not(method: str, tmp_path: Path) -> None:
    """It is stopped, and started anew, after each and every epoch: within LCDH's rounds, too, and between them."""
    training_set = make_training_set(100, seed=1)
    epochs: list[EpochReport] = []
    uninterrupted = train(make_trainer(method, training_set, None, epochs.append, **short(method)))

    def stop(epoch: EpochReport) -> None:
        """Stop at the end of an epoch, before it is saved, unless it was stopped there before."""
        if (epoch.stage, epoch.number) not in stopped:
            stopped.append((epoch.stage, epoch.number))
            raise StoppedError

    def attempt(trainer: Trainer[Any]) -> HashHeads | None:
        try:
            return train(trainer)
        except StoppedError:
            return None

    stopped: list[tuple[str, int]] = []
    trainer = make_trainer(method, training_set, tmp_path, stop, **short(method))
    resumed = None
    while resumed is None:
        resumed = attempt(trainer)
    assert stopped == [(epoch.stage, epoch.number) for epoch in epochs]
    assert len({stage for stage, _ in stopped}) > 1
    assert weights(resumed.modules()) == weights(uninterrupted.modules())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch() -> None:
    """Row 70 of 100 is spoiled, and stands in the first or the second batch of the first epoch."""
    training_set = make_training_set(100, seed=1)
    training_set.teacher_image[70, 3] = float("nan")
    with pytest.raises(HashcliError, match=r"^ckdh-teacher: the loss is not finite in epoch 1, batch [12] \(.*nan"):
        train(make_trainer("ckdh", training_set))


def test_one_pair_alone_is_refused(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(HashcliError, match="fewer than two training photos have labels"):
        train(make_trainer("ckdh", make_training_set(1, seed=1)))
    assert not recwarn.list


def test_a_batch_of_one_is_left_out_and_losses_are_reported() -> None:
    """65 items in batches of 64: the 65th is alone, and makes no pair."""
    epochs: list[EpochReport] = []
    train(make_trainer("soda", make_training_set(65, seed=1), None, epochs.append, epochs=1))
    stages = [(epoch.stage, epoch.number, epoch.of) for epoch in epochs]
    assert stages == [("soda-teacher", 1, 1), ("soda-student", 1, 1)]
    assert set(epochs[0].losses) == {"likelihood", "gap", "quantisation", "balance"}
    assert all(0 < value < 10 for value in epochs[0].losses.values())
