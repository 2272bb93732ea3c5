"""A run's losses and metrics for TensorBoard, where that is installed."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashcli.distillation.training_loop import EpochReport


class Scalars:
    """Writes event files into a folder; nothing where the package `tensorboard` is not installed.

    A loss or a validation metric of an epoch is named BITS/STAGE/NAME, and its step is the epoch; a metric of
    metrics.json is named OF/DIRECTION/NAME, and its step is the code length.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None  # opened with the first scalar: it makes the folder

    def add_epoch(self, bits: int, epoch: "EpochReport") -> None:
        for name, value in (epoch.losses | epoch.validation).items():
            self._add(f"{bits} bits/{epoch.stage}/{name}" if bits else f"{epoch.stage}/{name}", value, epoch.number)
        self._flush()

    def add_metrics(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self._add(f"{row['of']}/{row['direction']}/{row['name']}", row["value"], row["bits"])
        self._flush()

    def _add(self, name: str, value: float, step: int) -> None:
        if self._writer is None and find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))  # type: ignore[no-untyped-call]
        if self._writer:
            self._writer.add_scalar(name, value, step)

    def _flush(self) -> None:
        if self._writer:
            self._writer.flush()
