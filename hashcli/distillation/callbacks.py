"""What a run reports while it goes on."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hashcli.distillation.training_loop import EpochReport
    from hashcli.evaluation.ranking import Report


class RunCallback(Protocol):
    """Called as a run goes on. A subclass overrides what it needs; the other methods do nothing.

    Their `return` is for type checkers, which take an empty method of a Protocol to be abstract.
    """

    def planned(self, count: int, what: str = "Features") -> None:
        """`count` photos or texts, or both, are to be encoded, those in the cache among them. `what` names them."""
        return

    def advanced(self, count: int) -> None:
        """`count` more of them are encoded."""
        return

    def left_out(self, count: int) -> None:
        """`count` photos cannot be read, and the run goes on without them."""
        return

    def epoch_ended(self, bits: int, epoch: "EpochReport") -> None:
        """An epoch has ended at a code length, or at 0 bits while the student's tower is tuned."""
        return

    def evaluated(self, what: str, bits: int, reports: "dict[str, Report]") -> None:
        """Something was evaluated, the student or a teacher or a baseline; the reports are by direction."""
        return

    def writing(self, folder: Path) -> None:
        """A hash model is being written into a folder, which takes a moment."""
        return

    def bits_kept(self, bits: int, image: float, text: float) -> None:
        """After an update: the share of the old photos' and of the old texts' bits that are as they were."""
        return
