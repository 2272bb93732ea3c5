"""The training loop: seeded, checkpointed after every epoch, and resumed to the same final weights."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hashcli.errors import HashcliError

WARM_UP = 0.05  # the share of a stage in which the learning rate of the schedule "cosine" rises


@dataclass(frozen=True)
class Stage:
    """Modules that are trained together, by a loss over the rows of a batch.

    `loss` gets int64 rows [batch], each below `row_count`, and returns the terms of the loss by name; their sum is
    minimised. `validate` returns metrics by name, after every `validate_every` epochs and after the last.
    """

    name: str
    modules: nn.ModuleDict
    loss: Callable[[Tensor], dict[str, Tensor]]
    row_count: int
    epochs: int
    batch: int
    learning_rates: dict[str, float]  # by the names of `modules`
    validate: Callable[[], dict[str, float]] = dict
    validate_every: int = 1  # 0: only after the last
    schedule: str = "constant"  # or cosine, as the setting


@dataclass(frozen=True)
class EpochReport:
    """What is logged of an epoch: it is number `number` of `of` in its stage."""

    stage: str
    number: int
    of: int
    losses: dict[str, float]
    validation: dict[str, float]
    seconds: float


def train_stage(stage: Stage, seed: int, checkpoints: Path | None, on_epoch: Callable[[EpochReport], None]) -> None:
    """Train a stage to its end, from its checkpoint in the folder `checkpoints` if there is one.

    Every epoch's order and dropout are drawn from (seed, epoch) alone, so a resumed run ends with the weights of an
    uninterrupted one. Raises HashcliError naming the batch if a loss is not finite, and if there are fewer than two
    items.
    """
    if stage.row_count < 2:
        raise HashcliError(f"{stage.name}: one text with its photo is too little to train on.", "Give more pairs.")
    optimiser = torch.optim.Adam(
        [{"params": module.parameters(), "lr": stage.learning_rates[name]} for name, module in stage.modules.items()],
        fused=True,  # all parameters in one loop, which takes less time
    )
    path = checkpoints / f"{stage.name}.pt" if checkpoints else None
    done = _load(path, stage.modules, optimiser) if path and path.exists() else 0
    for number in range(done, stage.epochs):
        began = time.monotonic()
        stage.modules.train()
        losses = _train_epoch(stage, optimiser, seed, number)
        validation = _validate_if_due(stage, number + 1)
        on_epoch(EpochReport(stage.name, number + 1, stage.epochs, losses, validation, time.monotonic() - began))
        if path:
            _save(path, stage.modules, optimiser, number + 1)
    stage.modules.eval()


def _train_epoch(stage: Stage, optimiser: torch.optim.Optimizer, seed: int, number: int) -> dict[str, float]:
    """Train on all items once. Returns the mean over the items of each term of the loss."""
    sums: dict[str, float] = {}
    rates = [stage.learning_rates[name] for name in stage.modules]
    batches = math.ceil(stage.row_count / stage.batch)
    for step, rows in enumerate(_batches(stage, seed, number)):
        share = _share_of_rate(stage.schedule, (number * batches + step + 0.5) / (stage.epochs * batches))
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = share * rate
        terms = stage.loss(rows)
        total = torch.stack(list(terms.values())).sum()
        if not math.isfinite(total.item()):
            shown = ", ".join(f"{name} {value.item():.3g}" for name, value in terms.items())
            raise HashcliError(
                f"{stage.name}: the loss is not finite in epoch {number + 1}, batch {step + 1} ({shown}; "
                f"training rows {rows[:5].tolist()}...).",
                "Try a lower learning_rate, or look at these rows' features.",
            )
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(rows)
    return {name: value / stage.row_count for name, value in sums.items()}


def _share_of_rate(schedule: str, done: float) -> float:
    """The share of the learning rate when `done` of the stage is, from 0 to 1."""
    if schedule == "constant":
        return 1.0
    return min(done / WARM_UP, (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2)


def _validate_if_due(stage: Stage, epoch: int) -> dict[str, float]:
    due = epoch == stage.epochs or (stage.validate_every and epoch % stage.validate_every == 0)
    if not due:
        return {}
    stage.modules.eval()
    with torch.no_grad():
        return stage.validate()


def _batches(stage: Stage, seed: int, epoch: int) -> Iterator[Tensor]:
    """Rows in a new order. A last batch of one is left out, since it has no pairs."""
    torch.manual_seed(hash((seed, epoch)) % 2**31)  # a hash of whole numbers is the same in every process
    for rows in torch.randperm(stage.row_count).split(stage.batch):  # type: ignore[no-untyped-call]
        if len(rows) > 1:
            yield rows


def _load(path: Path, modules: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Take up a checkpoint. Returns how many epochs were done."""
    try:
        saved = torch.load(path, weights_only=True)
        modules.load_state_dict(saved["modules"])
        optimiser.load_state_dict(saved["optimiser"])
        return int(saved["epoch"])
    except Exception as error:  # torch and pickle raise nearly anything on a damaged file
        raise HashcliError(f"{path} is damaged ({error}).", "Delete it, and resume the run.") from error


def _save(path: Path, modules: nn.Module, optimiser: torch.optim.Optimizer, epoch: int) -> None:
    temporary = path.with_name(path.name + ".tmp")
    torch.save({"modules": modules.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch}, temporary)
    temporary.replace(path)
