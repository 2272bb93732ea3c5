"""hashcli search -i: the searches of the grid, in one thread with the index and its model, and what is printed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from hashcli.cli.console import write_paths
from hashcli.cli.query_input import WrittenQuery
from hashcli.cli.remedies import with_remedies
from hashcli.errors import HashcliError, how_to_install
from hashcli.index.search import Index

if TYPE_CHECKING:
    from hashcli.index.locations import IndexLocation
    from hashcli.index.results import SearchResults
    from hashcli.index.search_arguments import SearchArguments

_NOTHING_CHOSEN = 1  # exit status


def search_interactively(
    location: "IndexLocation", words: str, query: WrittenQuery | None, arguments: "SearchArguments", *, print0: bool
) -> int:
    """Let a person search and choose, and print the paths chosen; the exit status.

    `query` is the one on the command line, if there is one, and `words` are those of its words that can be changed.
    Raises HashcliError when the index or the query cannot be used, and when the terminal or the extra is missing.
    """
    others = replace(query, texts=query.texts[bool(words) :]) if query else WrittenQuery([], [], [], [])
    with with_remedies(location), ThreadPoolExecutor(1) as thread:
        index = Index(location.folder)  # which is for one thread
        try:
            search = thread.submit(_searching, index, others, arguments).result()
            if others.images or others.not_images:  # if one cannot be read, that is said before the screen changes
                thread.submit(search, words, None).result()
            try:
                from hashcli.show.grid import choose_photos
            except ImportError as error:
                raise HashcliError("The interactive grid needs an extra.", how_to_install("show")) from error
            chosen = choose_photos(lambda typed, like: thread.submit(search, typed, like), words, others.name)
        finally:
            thread.submit(index.close).result()
    write_paths(chosen, "\0" if print0 else "\n")
    return 0 if chosen else _NOTHING_CHOSEN


def _searching(
    index: Index, others: WrittenQuery, arguments: "SearchArguments"
) -> "Callable[[str, str | None], SearchResults]":
    """A function that searches for words together with the others, or with a photo in place of the others."""
    from hashcli.index.query import Query

    entries = others.entries(index.load_model())

    def search(typed: str, like: str | None) -> "SearchResults":
        words = [(typed, 1.0)] if typed else []
        query = Query(words, like) if like else Query(**(entries | {"texts": words + entries["texts"]}))
        return index.search(query, **vars(arguments))

    return search
