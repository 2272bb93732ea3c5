"""What scans leave out: folders of systems and photo programs, what patterns say, and what was forgotten.

Patterns are those of .gitignore. They come from the index, which remembers them, and from `.hashcliignore` files beside
the photos. Where several say something about a file, the last one decides, as in git, and those of a folder come after
those of the folders above it. What is in a folder that is left out cannot be included again.
"""

import fnmatch
import os
import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from io import TextIOWrapper
from typing import TYPE_CHECKING

from hashcli.errors import HashcliError
from hashcli.index.files.paths import is_within
from hashcli.plain_files import open_plain

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".hashcliignore"
_LARGEST_IGNORE_FILE = 1_000_000  # bytes

# Folders that hold no photos of their own: thumbnails, caches, what was deleted, and what belongs to the system.
FOLDERS_LEFT_OUT = (
    "@eaDir #recycle #snapshot @Recycle @Recently-Snapshot .@__thumb",  # disks in a network
    "$RECYCLE.BIN System*Volume*Information",
    "lost+found .Trash .Trash-* .Trashes .thumbnails .thumbs",
    ".AppleDouble .DocumentRevisions-V100 .Spotlight-V100 .TemporaryItems .fseventsd __MACOSX",
    ".git .hg .svn",
    "*.lrdata",  # previews of Lightroom
    "*.photoslibrary/database *.photoslibrary/external *.photoslibrary/internal *.photoslibrary/private",
    "*.photoslibrary/resources *.photoslibrary/scopes",
    "*.aplibrary/Previews *.aplibrary/Thumbnails *.photolibrary/Previews *.photolibrary/Thumbnails",
    "CaptureOne/Cache appdata_*/preview",
)
_left_out = re.compile(
    "|".join(fnmatch.translate(f"*/{name}") for line in FOLDERS_LEFT_OUT for name in line.split()), re.IGNORECASE
)


class PatternError(HashcliError):
    """A pattern that cannot be used."""

    def __init__(self, pattern: str) -> None:
        super().__init__(f"{pattern!r} is not a pattern.", "For example: @eaDir, *.png, or /2020/drafts")


class IgnoreFileError(HashcliError):
    """An ignore file that cannot be used."""


@dataclass(frozen=True)
class Rules:
    """What decides in one folder whether something is left out: lists of patterns, each with the folder that its
    patterns are relative to. The last list that says something about a path decides."""

    lists: tuple[tuple[str, "GitIgnoreSpec"], ...] = ()

    def left_out_by(self, path: str, *, is_folder: bool) -> str | None:
        """The pattern, or the name of a folder without photos, because of which a path is left out; None if it is
        not."""
        for folder, patterns in reversed(self.lists):
            said = patterns.check_file(_relative(path, folder) + "/" * is_folder)
            if said.include is not None:
                return str(patterns.patterns[said.index or 0]) if said.include else None
        return os.path.basename(path) if is_folder and _left_out.fullmatch(path) else None

    def with_patterns(self, folder: str, lines: Iterable[str]) -> "Rules":
        """With a list of patterns more. Raises ValueError."""
        from pathspec import GitIgnoreSpec

        return Rules((*self.lists, (folder, GitIgnoreSpec.from_lines(lines))))

    def with_ignore_file(self, folder: str) -> "Rules":
        """With those of the ignore file in a folder. Raises IgnoreFileError and OSError."""
        content = open_plain(os.path.join(folder, IGNORE_FILE))
        with TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape") as file:
            text = file.read(_LARGEST_IGNORE_FILE + 1)
        if len(text) > _LARGEST_IGNORE_FILE:
            raise IgnoreFileError("too large for a list of patterns")
        try:
            return self.with_patterns(folder, text.split("\n"))
        except ValueError as error:
            raise IgnoreFileError(str(error)) from error

    def for_named(self, folder: str) -> "Rules":
        """Without the lists that would leave out a folder, which was named and so is not left out."""
        kept = ((base, list_) for base, list_ in self.lists if not list_.match_file(_relative(folder, base) + "/"))
        return Rules(tuple(kept))


@dataclass(frozen=True)
class Exclusion:
    """What an index leaves out.

    patterns    those it remembers; one that begins with ! takes in what an earlier one, or hashcli by itself, leaves
                out
    forgotten   absolute paths of files and folders that were dropped
    """

    patterns: tuple[str, ...] = ()
    forgotten: frozenset[str] = frozenset()

    @classmethod
    def remembered(cls, patterns: Iterable[str], forgotten: Iterable[str]) -> "Exclusion":
        """What an index says. Raises PatternError for a pattern that was damaged since."""
        patterns = tuple(patterns)
        for pattern in patterns:
            _checked(pattern.removeprefix("!"))
        return cls(patterns, frozenset(forgotten))

    def changed(self, exclude: Iterable[str], include: Iterable[str]) -> "Exclusion":
        """With more patterns, which count after those that are there. Raises PatternError."""
        new = dict.fromkeys([*map(_checked, exclude), *(f"!{_checked(pattern)}" for pattern in include)])
        opposites = {pattern[1:] if pattern.startswith("!") else f"!{pattern}" for pattern in new}
        kept = (pattern for pattern in self.patterns if pattern not in new and pattern not in opposites)
        return replace(self, patterns=(*kept, *new))

    def without_named(self, paths: Iterable[str]) -> "Exclusion":
        """Naming what was forgotten, or a folder that it is in, brings it back."""
        named = list(paths)
        kept = (path for path in self.forgotten if not any(is_within(path, one) for one in named))
        return replace(self, forgotten=frozenset(kept))

    def rules_in(self, folder: str, roots: Iterable[str]) -> Rules:
        """The rules for what is in a folder that was named, from the outermost root around it and the folders between.

        Ignore files that cannot be used are passed over; the scan that comes to them names them.
        """
        top = min((root for root in roots if is_within(folder, root)), key=len, default=folder)
        rules = Rules().with_patterns(top, self.patterns) if self.patterns else Rules()
        above = top
        for part in _relative(folder, top).split(os.sep) if folder != top else ():
            with suppress(OSError, IgnoreFileError):
                rules = rules.with_ignore_file(above)
            above = os.path.join(above, part)
        return rules.for_named(folder) if folder != top else rules

    def left_out(self, files: Iterable[str], roots: Collection[str]) -> dict[str, str]:
        """Those of some files in roots that are left out though they were named, each with the pattern that says so."""

        @cache
        def rules_of(folder: str) -> Rules | str | None:
            """The rules in a folder, or the pattern that leaves it out; None outside of the roots."""
            if folder in roots:
                rules = self.rules_in(folder, roots)
            else:
                above = os.path.dirname(folder)
                outer = rules_of(above) if above != folder else None
                if not isinstance(outer, Rules):
                    return outer
                if pattern := outer.left_out_by(folder, is_folder=True):
                    return pattern
                rules = outer
            with suppress(OSError, IgnoreFileError):
                rules = rules.with_ignore_file(folder)
            return rules

        found = {}
        for file in files:
            rules = rules_of(os.path.dirname(file))
            pattern = rules.left_out_by(file, is_folder=False) if isinstance(rules, Rules) else rules
            if pattern:
                found[file] = pattern
        return found


def _relative(path: str, folder: str) -> str:
    return path[len(folder.rstrip(os.sep)) + 1 :]


def _checked(pattern: str) -> str:
    """A pattern as .gitignore would have it; a leading # is meant as it is."""
    from pathspec import GitIgnoreSpec

    pattern = "\\" + pattern if pattern.startswith("#") else pattern
    try:
        usable = [found.include for found in GitIgnoreSpec.from_lines([pattern]).patterns]
    except ValueError:
        usable = []
    if usable != [True] or "\n" in pattern:
        raise PatternError(pattern)
    return pattern
