"""What an update takes and gives: its options, the changes it would make and what it did."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashcli.hashmodel.device import Device

from hashcli.index.update_callback import UpdateCallback


@dataclass(frozen=True)
class UpdateOptions:
    """How an index is to be updated.

    model            the hash model to encode with, a name or a folder; None: the index's own, or the default for a new
                     index
    rehash           encode everything again, also with another model
    hidden           enter hidden folders and take hidden files
    texts            False: leave text files alone; descriptions in photos are recorded, but not yet encoded
    exclude          patterns, as in .gitignore, of what is left out from now on
    include          patterns of what is taken again, though hashcli or an earlier pattern leaves it out
    check_content    read every file, also those whose size and times have not changed
    read_words       whether to read the words in photos, now and in later updates; None: as the index remembers
    device           what to encode on: "cpu", "cuda", "coreml" or "auto"; None: the CPU, which is then not reported
    """

    model: str | None = None
    rehash: bool = False
    hidden: bool = False
    texts: bool = True
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    check_content: bool = False
    read_words: bool | None = None
    device: "Device | None" = None


@dataclass(frozen=True)
class PlannedChange:
    """What an update would do with one photo or text file.

    action        "add", "update", "move" or "remove"
    path          the file, where it is now or, for "remove", where it was
    moved_from    for "move", where the file was before
    """

    action: str
    path: str
    moved_from: str = ""


@dataclass(frozen=True)
class PublishOptions:
    """How an index is to be published; what is None stays as the index remembers it.

    address       of the collection
    machine       the label of this machine, by default its name
    published_as  an address or folder that takes the place of the indexed folders in paths; "" for none
    rebuild       take out all that this machine has published, and publish everything again
    approximate   if the collection has to be made, have its searches look at the likeliest part of the codes only
    """

    address: str | None = None
    machine: str | None = None
    published_as: str | None = None
    rebuild: bool = False
    approximate: bool = False


@dataclass
class PublishSummary:
    """How many rows were sent to the collection, and how many were taken out of it."""

    published: int = 0
    withdrawn: int = 0


@dataclass
class UpdateSummary:
    """What an update did, as counts.

    Photos:

    added        new photos
    updated      known photos whose content has changed, or that were encoded again
    moved        photos found under another name or in another folder; their codes were kept
    removed      photos that are gone or left out now, or whose content is damaged now
    unchanged    photos that are as they were, and photos of this update with a new time but the same content
    damaged      those of the added and updated whose files are damaged: what could be decoded of them was encoded

    Texts, wherever they come from: `texts_added`, `texts_updated` (known texts that were encoded, again or at last),
    `texts_moved` (now in another file), `texts_removed`, and `texts_unchanged` (all others, whether or not their files
    were looked at). `texts_left_out` counts texts about the photos that were read that cameras and programs are known
    to write by themselves.

    `skipped` lists the inputs that were left out as (path, reason). A known photo or text file that could not be
    reached or read keeps its place in the index.

        summary = index.update(["~/Pictures"])
        print(f"{summary.added} new photos")
        for path, reason in summary.skipped:
            print(f"{path} was skipped: {reason}")
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
    texts_left_out: int = 0
    damaged: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Every count by its name; `skipped`, the number of inputs left out, comes last."""
        return {name: value for name, value in vars(self).items() if name != "skipped"} | {"skipped": len(self.skipped)}

    def changed(self) -> bool:
        """Whether the update changed anything in the index."""
        unchanging = ("unchanged", "texts_unchanged", "texts_left_out", "damaged", "skipped")
        return any(count for name, count in self.counts().items() if name not in unchanging)


@dataclass(frozen=True)
class UpdateReport:
    """Where an update in progress reports to: the summary that it will return, and its caller's callback."""

    summary: UpdateSummary
    callback: UpdateCallback

    def skip(self, path: str, reason: str) -> None:
        """Record an input that is left out, and tell the caller."""
        self.summary.skipped.append((path, reason))
        self.callback.skipped(path, reason)

    def leave_out(self, path: str, text: str) -> None:
        """Record a text about a photo that no person wrote, it seems, and tell the caller."""
        self.summary.texts_left_out += 1
        self.callback.text_left_out(path, text)

    def damage(self, path: str, lost: float) -> None:
        """Record a photo that was encoded although this share of it is lost, 0 to 1, and tell the caller."""
        self.summary.damaged += 1
        missing = f"{max(1, round(lost * 100))} % of the picture is missing"
        self.callback.damaged(path, missing if lost else "but all of the picture could be read")
