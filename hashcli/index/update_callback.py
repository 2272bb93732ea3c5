"""How an update reports its progress. Apart from the rest, since every command loads it, `--help` too."""


class UpdateCallback:
    """Follows the progress of an update. Override the methods you need; as they stand, they do nothing.

    An update scans the disk first. Then it works in up to three stages, photos, text files and texts, each of which
    begins with `planned`.
    """

    def scanned(self, count: int) -> None:
        """The scan of the disk has found `count` files so far."""

    def planned(self, count: int) -> None:
        """A stage begins that has `count` files or texts to work through."""

    def advanced(self, count: int) -> None:
        """Another `count` files or texts of this stage are done."""

    def skipped(self, path: str, reason: str) -> None:
        """An input was left out, for this reason."""

    def damaged(self, path: str, reason: str) -> None:
        """A photo was taken although its file is damaged; the reason says what is missing."""
