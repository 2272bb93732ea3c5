"""How an update reports its progress. Apart from the rest, since every command loads it, `--help` too."""


class UpdateCallback:
    """Follows the progress of an update. Override the methods you need; as they stand, they do nothing.

    An update scans the disk first. Then it works in up to five stages: photos, text files, texts, and where words in
    photos are read, these photos and their texts. Each begins with `planned`.
    """

    def migrating(self, version: int) -> None:
        """The index is of an older hashcli, with tables of this version, and is about to be brought to the present
        ones. Its codes are kept."""

    def dropped_damaged(self, count: int) -> None:
        """`count` damaged entries of the index were dropped. Their files are read again."""

    def scanned(self, count: int) -> None:
        """The scan of the disk has found `count` files so far."""

    def left_out(self, count: int) -> None:
        """So many files of the index are left out now, and leave it."""

    def encodes_on(self, device: str) -> None:
        """A device was asked for, and "cpu", "cuda" or "coreml" is used."""

    def planned(self, count: int) -> None:
        """A stage begins that has `count` files or texts to work through."""

    def reading_words(self, count: int) -> None:
        """A stage begins that reads the words in `count` photos, which takes longer than encoding them."""
        self.planned(count)

    def advanced(self, count: int) -> None:
        """Another `count` files or texts of this stage are done."""

    def skipped(self, path: str, reason: str) -> None:
        """An input was left out, for this reason."""

    def damaged(self, path: str, reason: str) -> None:
        """A photo was taken although its file is damaged; the reason says what is missing."""

    def text_left_out(self, path: str, text: str) -> None:
        """A text about the photo at `path` was left out, because cameras or programs are known to write it."""
