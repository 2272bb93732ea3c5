"""Bringing the photos of an index up to date: read ahead in threads, encoded and committed in batches."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from hashcli.errors import reason_of
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.formats import MissingExtraError, UnreadableImageError, check_format, first_bytes
from hashcli.hashmodel.images import lost_share, opened
from hashcli.hashmodel.model import HashModel
from hashcli.hashmodel.prefetch import batched, prefetch
from hashcli.index.catalog import UNSTORABLE, Catalog, IndexedFile
from hashcli.index.catalog_file import TO_BE_READ
from hashcli.index.files.changed import ChangedFile
from hashcli.index.files.hashing import hash_of_content
from hashcli.index.files.metadata import Metadata, read_metadata
from hashcli.index.files.plan import PlannedFiles
from hashcli.index.files.text_files import Text
from hashcli.index.summary import UpdateReport
from hashcli.index.update_texts import TextUpdate


@dataclass(frozen=True, slots=True)
class _PhotoContent:
    """What was read from a photo: the hash of its content, its pixels unless its code is known, and its metadata.

    `lost` is the share of its picture that is missing, None if its file is not damaged.
    """

    content_hash: bytes
    pixels: np.ndarray | None
    metadata: Metadata
    lost: float | None


class PhotoUpdate:
    """One update of the photos. Descriptions found in them are passed to `texts`."""

    def __init__(
        self, catalog: Catalog, model: HashModel, files: PlannedFiles, texts: TextUpdate, report: UpdateReport
    ) -> None:
        self._catalog = catalog
        self._model = model
        self._changed = files.changed
        self._texts = texts
        self._report = report
        self._summary = report.summary
        self._summary.unchanged += files.unchanged
        self._missing_extras: Counter[str] = Counter()
        self._to_remove = {photo.id: path for path, photo in files.missing.items()}
        # Ids of missing photos by their content: one that turns up under another name has moved, and keeps its code.
        self._movable: dict[bytes, list[int]] = {}
        for photo in files.missing.values():
            if photo.encoded:
                self._movable.setdefault(photo.hash, []).append(photo.id)

    def read_and_encode(self) -> None:
        """Read the new and changed photos, and encode those whose code is not known. Every batch is committed."""
        self._report.callback.planned(len(self._changed))
        results = prefetch(self._read, self._changed, look_ahead=2 * self._model.image_batch)
        for batch in batched(results, self._model.image_batch):
            pixels = [read.pixels for _, read in batch if isinstance(read, _PhotoContent) and read.pixels is not None]
            codes = iter(pack(self._model.encode_pixels(np.stack(pixels))) if pixels else [])
            with self._catalog.changing_items():
                for file, result in batch:
                    if isinstance(result, Exception):
                        self._leave_out(file, result)
                        continue
                    try:
                        self._record(file, result, None if result.pixels is None else next(codes))
                    except UNSTORABLE as error:
                        self._leave_out(file, error)
                        continue
                    if result.lost is not None:
                        self._report.damage(file.path, result.lost)
            self._report.callback.advanced(len(batch))
        for reason, photos in self._missing_extras.items():
            if photos > 1:
                self._report.callback.skipped(f"{photos - 1} more", reason)

    def remove_missing(self) -> None:
        """Drop the missing photos that have not turned up elsewhere. Within a transaction."""
        self._catalog.remove(self._to_remove)
        self._summary.removed += len(self._to_remove)

    def _read(self, file: ChangedFile) -> _PhotoContent:
        """Runs in a thread, and uses nothing but the file."""
        check_format(file.path, first_bytes(file.path))  # before all of it is read
        content_hash = hash_of_content(file.path)
        pixels = None
        with opened(file.path) as image:
            if content_hash not in self._movable and not _has_code(file.indexed, content_hash):
                pixels = self._model.pixels_of(image)
            return _PhotoContent(content_hash, pixels, read_metadata(image, file.path, file.beside), lost_share(image))

    def _record(self, file: ChangedFile, read: _PhotoContent, code: np.ndarray | None) -> None:
        """Record a photo and the texts in it, those read in its picture among them: both or, where that raises one of
        UNSTORABLE, neither."""
        in_content = self._catalog.texts_in_content(read.content_hash)
        all_texts = dict.fromkeys([*read.metadata.descriptions, *in_content])
        texts = [Text(None, text, file.path) for text in all_texts]
        if read.metadata.problems:  # what could not be read is tried again each time
            file = replace(file, state=file.state._replace(beside=TO_BE_READ))
        with self._catalog.part():
            done = self._keep_code(file, read) if code is None else self._set_code(file, read, code)
            self._texts.set_texts(file.path, file.state, read.content_hash, texts)
        for text in read.metadata.left_out:
            self._report.leave_out(file.path, text)
        for path, reason in read.metadata.problems:
            self._report.skip(path, reason)
        setattr(self._summary, done, getattr(self._summary, done) + 1)

    def _set_code(self, file: ChangedFile, read: _PhotoContent, code: np.ndarray) -> str:
        """Returns which count of the summary this adds to."""
        content = file.state, read.content_hash, code, read.metadata.facts
        if file.indexed:
            self._catalog.set_content(file.indexed.id, *content)
            return "updated"
        self._catalog.add_photo(file.path, *content)
        return "added"

    def _keep_code(self, file: ChangedFile, read: _PhotoContent) -> str:
        """Record a photo whose code is known from its own row, or from that of a missing photo. Returns which count of
        the summary this adds to."""
        indexed, path, state, facts = file.indexed, file.path, file.state, read.metadata.facts
        if indexed and _has_code(indexed, read.content_hash):  # only its time has changed
            self._catalog.set_path(indexed.id, path, state, facts)
            return "unchanged"
        sources = self._movable[read.content_hash]
        moved = next((id_ for id_ in sources if id_ in self._to_remove), None)
        if indexed:  # another photo was moved over it
            self._catalog.copy_content(indexed.id, state, sources[0], facts)
            return "updated"
        if moved is None:  # one more copy of a photo that has moved
            self._catalog.add_copy(sources[0], path, state, facts)
            return "added"
        self._catalog.set_path(moved, path, state, facts)
        self._texts.remove_from(self._to_remove.pop(moved))
        return "moved"

    def _leave_out(self, file: ChangedFile, error: Exception) -> None:
        reason = reason_of(error)
        if isinstance(error, MissingExtraError):  # there may be thousands: the first is named, the others are counted
            self._missing_extras[reason] += 1
            if self._missing_extras[reason] > 1:
                self._summary.skipped.append((file.path, reason))
                return
        elif file.indexed and isinstance(error, UnreadableImageError):
            self._catalog.remove([file.indexed.id])  # the content it was encoded from is gone
            self._summary.removed += 1
            self._texts.remove(file.path)
        self._report.skip(file.path, reason)


def _has_code(indexed: IndexedFile | None, content_hash: bytes) -> bool:
    """Whether the index has a code for this content of a photo."""
    return indexed is not None and indexed.encoded and indexed.hash == content_hash
