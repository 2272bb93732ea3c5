"""Bringing an index up to date with the disk: only what is new or changed is read and encoded.

plan            what has changed on disk since the last update          files/plan.py
photos          read, encode and record the changed ones                update_photos.py
texts           read the changed text files, then encode new texts      update_texts.py
words           if asked for, read the words in photos as texts         update_ocr.py
derived files   write what searches read anew                           refresh_derived_files, below
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from time import time

from hashcli.errors import HashcliError, did_you_mean_path
from hashcli.hashmodel import description
from hashcli.hashmodel.model import HashModel
from hashcli.hashmodel.registry import DEFAULT_MODEL, find_model
from hashcli.index.catalog import Catalog, IndexedModel, Kind
from hashcli.index.catalog_file import FILE_NAME
from hashcli.index.code_index import FILE_NAMES, FaissCodeIndex
from hashcli.index.files.ocr import check_ocr_installed
from hashcli.index.files.paths import is_within_any
from hashcli.index.files.plan import IndexedPaths, UpdatePlan, make_plan
from hashcli.index.files.text_files import is_text_file
from hashcli.index.filter_table import TABLE_NAMES, FilterTable
from hashcli.index.lock import LOCK_FILE, writer_lock
from hashcli.index.summary import UpdateOptions, UpdateReport, UpdateSummary
from hashcli.index.update_callback import UpdateCallback
from hashcli.index.update_ocr import read_words_in_photos
from hashcli.index.update_photos import PhotoUpdate
from hashcli.index.update_texts import TextUpdate
from hashcli.index.word_index import BUILD_NAME, WordIndex, has_fts5, write_word_index
from hashcli.index.word_index import FILE_NAME as WORDS_NAME

_OF_KINDS = [name for kind in Kind for name in (*FILE_NAMES[kind], TABLE_NAMES[kind])]
_DERIVED_FILES = "|".join(re.escape(name) for name in (*_OF_KINDS, WORDS_NAME, BUILD_NAME))
_OWN_FILE = re.compile(rf"{LOCK_FILE}|{re.escape(FILE_NAME)}(-\w+)?|({_DERIVED_FILES})(\.tmp)?")


class NotAnIndexFolderError(HashcliError):
    """`index_folder` holds other files and no index, so that none is made there."""

    def __init__(self, index_folder: Path, other_file: str) -> None:
        super().__init__(
            f"{index_folder} is not an index and holds other files, for example {other_file}.",
            f"Give the index a folder of its own, such as {index_folder / '.hashcli'}",
        )
        self.index_folder = index_folder


class OtherModelError(HashcliError):
    """The index in `index_folder` was made with another hash model than `model`, the one it is to be updated with."""

    def __init__(self, index_folder: Path, current: IndexedModel, model: str, wanted: HashModel) -> None:
        super().__init__(
            f"The index was made with {current.source} (fingerprint {current.fingerprint}); "
            f"{wanted.name} at {wanted.folder} is another model ({wanted.fingerprint}), and their codes cannot be "
            "compared.",
            f"Update with {current.source}, or encode everything again with {model}.",
        )
        self.index_folder = index_folder
        self.model = model


class SearchFilesError(HashcliError):
    """The files that are derived from the catalog in `index_folder` cannot be written."""

    def __init__(self, index_folder: Path, error: OSError) -> None:
        super().__init__(
            f"The search files in {index_folder} cannot be written: {error.strerror}.",
            "Nothing is lost: free some disk space, or check the permissions of the folder; then update the index "
            "again.",
        )
        self.index_folder = index_folder


def update(
    index_folder: Path,
    paths: Sequence[str],
    options: UpdateOptions | None = None,
    callback: UpdateCallback | None = None,
) -> UpdateSummary:
    """Index photos, folders of photos and text files, or without paths everything indexed before.

    The paths are `canonical`. Every batch is committed as it is encoded, so that a kill costs at most the batch in
    flight, and the next update goes on from there. The files that searches read are written at the end.

    Raises HashcliError, of these classes among others: IndexBusyError, NotAnIndexFolderError, OtherModelError,
    UnusableIndexFolderError, DamagedIndexError, SearchFilesError, DeviceError.
    """
    options, callback = options or UpdateOptions(), callback or UpdateCallback()
    is_new = not (index_folder / FILE_NAME).exists()
    if is_new and paths and not any(os.path.exists(path) for path in paths):
        raise HashcliError(f"{paths[0]}: no such file or folder.{did_you_mean_path(paths[0])}", "Nothing was indexed.")
    if options.read_words:
        check_ocr_installed()
    find_model(options.model or DEFAULT_MODEL)  # raises, before a folder is made, if there is no such model
    if is_new:
        _check_holds_nothing_else(index_folder)
    with writer_lock(index_folder), Catalog.create_or_open(index_folder, callback.migrating) as catalog:
        catalog.mend_pages()
        model, adopted = _choose_model(catalog, index_folder, options)
        if options.device:
            callback.encodes_on(model.device)
        if damaged := catalog.remove_damaged_rows():
            callback.dropped_damaged(damaged)
        if options.read_words not in (None, catalog.reads_words):
            with catalog.changing_items():
                catalog.set_reads_words(bool(options.read_words))
        plan = make_plan(IndexedPaths.of(catalog, paths, options), paths, options, callback.scanned)
        if adopted:
            catalog.set_model(adopted)
        _record_what_was_found(catalog, plan)
        try:
            summary = _carry_out(plan, catalog, model, options, callback)
            with catalog.transaction():
                catalog.set_refreshed(int(time()))
            return summary
        finally:  # also after an interrupt: what has been encoded can be found at once
            refresh_derived_files(catalog, index_folder)


def indexed_paths(index_folder: Path) -> list[str]:
    """The paths that an update without paths looks at: folders, and files that were given by name."""
    with Catalog.open(index_folder) as catalog, catalog.snapshot():
        return IndexedPaths.of(catalog, (), UpdateOptions()).to_refresh()


def forget(index_folder: Path, paths: Sequence[str], callback: UpdateCallback | None = None) -> tuple[int, int]:
    """Drop photos, text files and roots at and below the given paths from the index; the files are not touched.

    What lies within a root that stays is remembered, and not taken up again unless it is named. Returns how many photos
    and how many texts were dropped. Raises IndexNotFoundError.
    """
    Catalog.open(index_folder).close()  # raises if there is none, where create_or_open would make one
    callback = callback or UpdateCallback()
    with writer_lock(index_folder), Catalog.create_or_open(index_folder, callback.migrating) as catalog:
        catalog.mend_pages()
        photos: dict[str, int] = {}
        text_files = []
        for path, file in catalog.files():  # photos first
            if not is_within_any(path, paths) and file.photo not in photos:
                continue
            if is_text_file(path):
                text_files.append(path)
            else:
                photos[path] = file.id
        texts = catalog.count_all_texts()
        with catalog.changing_items():
            catalog.remove(photos.values())
            catalog.remove_contents_without_photos()
            for path in [*photos, *text_files]:
                catalog.remove_texts(path)
            for root in catalog.roots():
                if is_within_any(root, paths):
                    catalog.remove_root(root)
            mounts = catalog.mounts()
            catalog.set_mounts({path: mounts[path] for path in mounts if not is_within_any(path, paths)})
            if photos or catalog.count_all_texts() < texts:
                before = [path for path in catalog.forgotten() if not is_within_any(path, paths)]
                catalog.set_forgotten({*before, *(path for path in paths if is_within_any(path, catalog.roots()))})
        refresh_derived_files(catalog, index_folder)
        return len(photos), texts - catalog.count_all_texts()


def refresh_derived_files(catalog: Catalog, index_folder: Path) -> None:
    """Write the derived files anew if they are missing, damaged, or not of the catalog's generation."""
    catalog.check_is_there()
    model, generation = catalog.model, catalog.generation
    if model is None:
        return
    for kind in Kind:
        if catalog.count(kind) == 0 and kind is Kind.TEXT:
            continue
        files = FaissCodeIndex(index_folder, kind, model.bits, check_content=True)
        try:
            if files.generation != generation:
                files.replace(*catalog.codes(kind), generation)
            if FilterTable.read(index_folder, kind, generation) is None:
                FilterTable.of(catalog.filter_fields(kind)).write(index_folder, kind, generation)
            if kind is Kind.IMAGE:
                _refresh_word_index(catalog, index_folder, generation)
        except OSError as error:
            raise SearchFilesError(index_folder, error) from error


def _refresh_word_index(catalog: Catalog, index_folder: Path, generation: int) -> None:
    words = WordIndex.open(index_folder, generation)
    if words:
        words.close()
    elif has_fts5():  # without it, searches go through the catalog
        write_word_index(index_folder, generation, catalog.documents())


def _check_holds_nothing_else(index_folder: Path) -> None:
    """An index has its folder to itself: whoever deletes the folder must not lose anything else."""
    if index_folder.is_dir():
        others = [name for name in os.listdir(index_folder) if not _OWN_FILE.fullmatch(name)]
        if others:
            raise NotAnIndexFolderError(index_folder, min(others))


def _choose_model(
    catalog: Catalog, index_folder: Path, options: UpdateOptions
) -> tuple[HashModel, IndexedModel | None]:
    """The model to encode with, and, if the catalog has none or another one, or has it where it is no longer, the model
    that it is to adopt."""
    current = catalog.model
    source = options.model or (current.source if current else DEFAULT_MODEL)
    folder = find_model(source)
    model = HashModel(folder, verify=True, device=options.device or "cpu")
    if current is not None and model.fingerprint == current.fingerprint:
        catalog.check_bits(model.bits)
        if _is_there(current):
            return model, None
    elif current is not None and not options.rehash:
        raise OtherModelError(index_folder, current, source, model)
    is_folder = os.sep in source or os.path.isdir(source)
    return model, IndexedModel(str(folder) if is_folder else source, model.fingerprint, model.bits)


def _is_there(model: IndexedModel) -> bool:
    """Whether the catalog's model is still where the catalog says."""
    try:
        return description.read(find_model(model.source)).fingerprint == model.fingerprint
    except HashcliError:
        return False


def _record_what_was_found(catalog: Catalog, plan: UpdatePlan) -> None:
    roots = catalog.roots().keys()
    is_change = not plan.roots.keys() <= roots or not roots.isdisjoint(plan.deleted_roots)  # of folders in documents
    with catalog.changing_items() if is_change else catalog.transaction():
        catalog.set_ctimes(plan.ctimes)
        for root, device in plan.roots.items():
            catalog.set_root(root, device)
        for root in (*plan.deleted_roots, *plan.inner_roots):
            catalog.remove_root(root)
        if plan.mounts != catalog.mounts():
            catalog.set_mounts(plan.mounts)
        catalog.set_excludes(plan.exclusion.patterns)
        catalog.set_forgotten(plan.exclusion.forgotten)


def _carry_out(
    plan: UpdatePlan, catalog: Catalog, model: HashModel, options: UpdateOptions, callback: UpdateCallback
) -> UpdateSummary:
    summary = UpdateSummary()
    report = UpdateReport(summary, callback)
    texts_before = catalog.count_all_texts()
    for path, reason in plan.problems:
        report.skip(path, reason)
    if plan.left_out:
        callback.left_out(plan.left_out)
    # An older hashcli left orphans when it was stopped after photos had moved and before their descriptions had.
    missing = [*plan.photos.missing, *plan.texts.missing, *catalog.orphans()]
    texts = TextUpdate(catalog, missing, report, rehash=options.rehash)
    photos = PhotoUpdate(catalog, model, plan.photos, texts, report)
    photos.read_and_encode()
    texts.read_files(plan.texts.changed)
    if missing:
        with catalog.changing_items():
            photos.remove_missing()
            texts.remove_missing()
    if summary.updated or summary.removed:
        with catalog.transaction():
            catalog.remove_contents_without_photos()
    if options.texts:
        texts.encode(model)
    if options.texts and catalog.reads_words:
        read_words_in_photos(catalog, texts, report)
        texts.encode(model)
    summary.texts_unchanged = texts_before - summary.texts_updated - summary.texts_moved - summary.texts_removed
    return summary
