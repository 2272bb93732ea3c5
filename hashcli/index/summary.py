"""What an update tells: how it goes on, what it would do, what it did."""

from dataclasses import dataclass, field


class UpdateCallback:
    """Follows an update: override what is of interest. Files are scanned first; then a number is planned, and done."""

    def scanned(self, count: int) -> None:
        """So many files have been found up to now."""

    def planned(self, count: int) -> None:
        """So many files or texts are to be read now."""

    def advanced(self, count: int) -> None:
        """So many more of them are done."""

    def skipped(self, path: str, reason: str) -> None:
        """A file was left out."""


@dataclass(frozen=True)
class PlannedChange:
    """What an update would do with one photo or text file."""

    action: str  # "add", "update", "move", "remove"
    path: str
    moved_from: str = ""


@dataclass
class UpdateSummary:
    """What an update did. `skipped` are inputs left out, each with its reason.

    The first five count photos. A photo that was known keeps its row when it cannot be read now; one whose content is
    damaged is removed. The others count texts, wherever they come from: one is updated when it was known and has been
    encoded again, or at last; moved when it is now in another file; and unchanged also where its file was not
    looked at. The texts of a file that cannot be read are kept.
    """

    added: int = 0
    updated: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    texts_added: int = 0
    texts_updated: int = 0
    texts_moved: int = 0
    texts_removed: int = 0
    texts_unchanged: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Every count by its name, `skipped` last: what `hashcli index --json` prints."""
        return {name: value for name, value in vars(self).items() if name != "skipped"} | {"skipped": len(self.skipped)}

    def changed(self) -> bool:
        """Whether anything in the index is another than it was."""
        return any(
            value for name, value in vars(self).items() if name not in ("unchanged", "texts_unchanged", "skipped")
        )

    def skip(self, path: str, reason: str, reporter: UpdateCallback) -> None:
        self.skipped.append((path, reason))
        reporter.skipped(path, reason)
