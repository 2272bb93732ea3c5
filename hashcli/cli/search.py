"""hashcli search: find photos and texts by words, by photos, or by both."""

import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Union, cast

import typer

from hashcli.cli.console import SKIPPED, UsageError, detail, say, stop_with
from hashcli.cli.options import IndexName, IndexOrCollection, Json, index_location
from hashcli.errors import HashcliError, did_you_mean_path

if TYPE_CHECKING:
    from hashcli.cli.query_input import WrittenQuery
    from hashcli.cli.results import Answer
    from hashcli.index.filter import Filter
    from hashcli.index.locations import IndexLocation
    from hashcli.index.query import Query
    from hashcli.index.results import SearchResults
    from hashcli.index.search import Index
    from hashcli.index.search_arguments import SearchArguments
    from hashcli.serve.terminal_client import ServedAnswer

EXAMPLES = """Examples:\n
hashcli search dog on a beach\n
hashcli search dog.jpg            a file that is there is a photo to search by\n
hashcli search --image dog.jpg --text snow --not "a person" -k 20\n
hashcli search --image dog.jpg --for texts\n
hashcli search "birthday cake" --after 2023 --in ~/Pictures/family --sort date\n
hashcli search "a boat" --near 48.86,2.35,10km\n
hashcli search -0 "birthday cake" | xargs -0 -I {} cp {} cakes/\n
hashcli search --batch queries.txt --json
hashcli search --index milvus://127.0.0.1:19530/archive dog on a beach"""

_BATCH = 256  # queries read and answered together
_K, _K_INTERACTIVE = 10, 100


class For(StrEnum):
    """What to look for."""

    PHOTOS = "photos"
    TEXTS = "texts"
    BOTH = "both"


def _complete_type(incomplete: str) -> list[str]:
    from hashcli.hashmodel.formats import photo_suffixes

    return sorted(suffix[1:] for suffix in photo_suffixes() if suffix[1:].startswith(incomplete))


# Long because typer reads the options from the signature.
def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="What to look for: words, or photo files to search by.", show_default=False),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="Words, even if a file has their name. This and the next three options can be repeated, with "
            "weights: 2:dog"
        ),
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="A photo to search by: a file, an http(s) address, or - for stdin.")
    ] = None,
    not_: Annotated[list[str] | None, typer.Option("--not", help="Words to steer away from.")] = None,
    not_image: Annotated[list[str] | None, typer.Option(help="A photo to steer away from.")] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Many queries, one per line, as words or JSON, in a file or - for stdin. "
            "Or codes.npy from hashcli encode."
        ),
    ] = None,
    for_: Annotated[For, typer.Option("--for", help="What to look for.")] = For.PHOTOS,
    k: Annotated[
        int | None, typer.Option("-k", min=1, help="How many results to show at most. [default: 10; 100 with -i]")
    ] = None,
    max_distance: Annotated[int | None, typer.Option(min=0, help="Only results at most this many bits away.")] = None,
    within: Annotated[
        int | None, typer.Option(min=0, help="Only results at most this many bits further away than the nearest.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show the nearest results even if they are too far away to match the words.")
    ] = False,
    folders: Annotated[
        list[str] | None, typer.Option("--in", help="Only results in this folder. Can be repeated.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(help="Only photos from this day or later: 2023, 2023-05 or 2023-05-14.")
    ] = None,
    before: Annotated[str | None, typer.Option(help="Only photos from before this day.")] = None,
    near: Annotated[
        str | None,
        typer.Option(
            metavar="LAT,LON[,DISTANCE]",
            help="Only photos taken near a place: 48.86,2.35,10km or 48.86,2.35,500m; 10km if no distance is given.",
        ),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type", autocompletion=_complete_type, help="Only files of this type, such as png. Can be repeated."
        ),
    ] = None,
    words_only: Annotated[
        bool,
        typer.Option("--words-only", help="Only photos whose texts, name or folders hold the words."),
    ] = False,
    no_words: Annotated[
        bool, typer.Option("--no-words", help="Search by meaning alone: photos that hold the words do not come first.")
    ] = False,
    all_copies: Annotated[
        bool, typer.Option("--all-copies", help="Show identical copies as results of their own, not as one.")
    ] = False,
    sort: Annotated[
        Literal["rank", "date"], typer.Option(help="Order of the results found: best first, or newest photos first.")
    ] = "rank",
    rerank: Annotated[
        int,
        typer.Option(
            min=0,
            help="How many of the nearest to rank more finely, by the query's real values. 0: rank by distance alone.",
        ),
    ] = 1000,
    index: IndexOrCollection = None,
    name: IndexName = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the results to this file, as a page of pictures.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open that page in the browser.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show the photos in the terminal.")] = False,
    json: Json = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print only paths.")] = False,
    print0: Annotated[
        bool, typer.Option("-0", "--print0", help="Print only paths, each ended by a zero byte.")
    ] = False,
    no_server: Annotated[
        bool, typer.Option("--no-server", help="Search here, even if hashcli serve runs and could answer at once.")
    ] = False,
    interactive: Annotated[
        bool,
        typer.Option(
            "-i", "--interactive", help="Search while typing, look at pictures, and print the paths of those chosen."
        ),
    ] = False,
) -> None:
    """Find photos, and texts, by words or by photos.

    Photos whose texts, name or folders hold the words come first, then those that fit them by their meaning.

    The distance is the number of bits in which two codes differ: lower is better, and half of the bits is chance level.
    If you give several words and photos, a result should fit all of them. Identical copies are one result.
    """
    from hashcli.cli import results
    from hashcli.cli.remedies import with_remedies
    from hashcli.index.search_arguments import KINDS, SearchArguments, chosen_limit, chosen_words

    style = results.choose_style(json=json, paths=paths, print0=print0, show=show and not interactive)
    if html and html.suffix.lower() not in (".html", ".htm"):
        stop_with(f"--html {html} must end in .html.", f"For example: --html {html.with_suffix('.html')}", status=2)
    if words_only and (no_words or for_ is not For.PHOTOS):
        stop_with("--words-only cannot be combined with --no-words, or with --for texts or both.", status=2)
    if interactive and (json or html or open_ or batch is not None):
        stop_with("-i cannot be combined with --batch, --html, --json or --open.", status=2)
    if batch == "" or "" in (folders or []):
        option = "--batch" if batch == "" else "--in"
        stop_with(f"An empty path was given to {option}.", "Is a variable unset?", status=2)
    if sort == "date" and for_ is For.TEXTS:
        stop_with("--sort date is for photos: texts have no date of their own.", status=2)
    is_codes = batch is not None and batch.endswith(".npy")
    arguments = SearchArguments(
        k or (_K_INTERACTIVE if interactive else _K),
        KINDS[for_],
        _filter(folders or [], types or [], after, before, near),
        chosen_limit(max_distance, within, everything=everything),
        chosen_words(only=words_only, off=no_words),
        0 if is_codes else rerank,  # a code has no finer values than its bits
        all_copies,
        sort,
    )
    words, photos = _words_and_photos(words or [])
    given = words, text or [], [*photos, *(image or [])], not_ or [], not_image or []
    single = None if interactive and not any(given) else _single(*given, batch)
    location = index_location(index, name, or_collection=not interactive)
    if not location.collection:
        _say_what_does_not_exist(folders or [])
    if interactive:
        from hashcli.cli.interactive import search_interactively

        raise typer.Exit(search_interactively(location, " ".join(words), single, arguments, print0=print0))
    page: list[Answer] = []
    missing: set[str] = set()
    named: set[str] = set()
    copies = 0
    skipped = False
    asked = _Asked(single, batch, arguments, by_server=not no_server)
    with with_remedies(location), _answering(location, asked) as (answers, searched):
        for number, found in answers:
            if isinstance(found, HashcliError):
                if number is None:
                    raise found
                say(f"skipped query {number}: {found.problem}")
                skipped = True
                continue
            answer = results.Answer(number, found, by_date=sort == "date")
            results.write(answer, style, with_places=near is not None)
            if not words_only:  # else it does not matter what the model knows
                _say_what_is_unknown(found, number, searched, named)
            missing.update(result.path for result in found if result.is_missing)
            copies += sum(result.copies for result in found)
            if number is None and not found:
                _say_why_none(found, searched, location, arguments)
            if html or open_:
                page.append(answer)
    if copies and style is not results.Style.JSON:
        say(f"Identical copies that are not shown: {copies}. --all-copies shows them.")
    if missing:
        _say_what_is_missing(missing, location)
    if html or open_:
        results.write_page(page, html, open_=open_)
    if skipped:
        raise typer.Exit(SKIPPED)


def _words_and_photos(given: list[str]) -> tuple[list[str], list[str]]:
    """The words and the photo files among what was given without an option, with a message on how it is understood."""
    from hashcli.cli.query_input import begins_with_weight, looks_like_photo

    photos = [word for word in given if os.path.isfile(word) and looks_like_photo(word)]
    words = [word for word in given if word not in photos]
    if photos:
        others = f" and {len(photos) - 1} more" if len(photos) > 1 else ""
        say(f"Searching by the photo {photos[0]}{others}. For these words instead: --text {shlex.quote(photos[0])}")
    for word in words:
        if looks_like_photo(word):
            say(f"{word} is searched for as words, as there is no such file.{did_you_mean_path(word)}")
    if words and begins_with_weight(words[0]):
        say(f"{words[0]} is searched for as it stands. To give it a weight: --text {shlex.quote(words[0])}")
    return words, photos


def _single(
    words: list[str], texts: list[str], images: list[str], nots: list[str], not_images: list[str], batch: str | None
) -> "WrittenQuery | None":
    """The query on the command line; None if there is a batch of queries instead."""
    from hashcli.cli.query_input import written_query

    if batch is not None:
        if words or texts or images or nots or not_images:
            stop_with("--batch cannot be combined with another query.", "Put all queries into the batch.", status=2)
        return None
    try:
        return written_query(" ".join(words), texts, images, nots, not_images)
    except ValueError as error:
        stop_with(f"This cannot be searched for: {error}.", 'For example: hashcli search "dog on a beach"', status=2)


@dataclass(frozen=True)
class _Asked:
    """A query, or else a batch of queries; and whether a server may answer."""

    single: "WrittenQuery | None"
    batch: str | None
    arguments: "SearchArguments"
    by_server: bool


@dataclass(frozen=True)
class _OwnIndex:
    """What messages say of an index that was searched here, as `ServedAnswer` says of one that a server searched."""

    index: "Index"

    @property
    def called(self) -> str:
        return self.index.called

    @property
    def model_name(self) -> str:
        return self.index.load_model().name

    @property
    def bits(self) -> int:
        return self.index.indexed_model.bits


_Searched = Union[_OwnIndex, "ServedAnswer"]
_Answers = Iterator[tuple[int | None, Union["SearchResults", HashcliError]]]


@contextmanager
def _answering(location: "IndexLocation", asked: _Asked) -> Iterator[tuple[_Answers, _Searched]]:
    """The results of each query, or why it has none, with the query's line in a batch; and what was searched: by a
    server of this index if one runs and can answer, else here."""
    served = _served(location, asked.single, asked.arguments) if asked.single and asked.by_server else None
    if served:
        yield iter([(None, served.results)]), served
        return
    from hashcli.index.search import index_at

    with index_at(location) as opened:
        yield _answers(opened, asked.single, asked.batch, asked.arguments), _OwnIndex(opened)


def _served(location: "IndexLocation", query: "WrittenQuery", arguments: "SearchArguments") -> "ServedAnswer | None":
    """What the server of an index answers; None if there is none, and for what only a search of our own can answer."""
    from hashcli.cli.photo_source import is_file
    from hashcli.index.query import Query
    from hashcli.serve.terminal_client import MOST_RESULTS, ask

    photos = [*query.images, *query.not_images]
    if location.collection or arguments.k > MOST_RESULTS or not all(is_file(photo) for photo, _ in photos):
        return None
    folders = cast("tuple[str, ...]", arguments.where.folders)
    where = {"folders": [folder if "://" in folder else _absolute(folder) for folder in folders]}
    question = vars(arguments) | {"where": vars(arguments.where) | where} | vars(query)
    question["limit"] = arguments.limit and arguments.limit._asdict()
    for name in ("images", "not_images"):
        question[name] = [(_absolute(photo), weight) for photo, weight in question[name]]
    asked = Query(query.texts, query.images, query.nots, query.not_images, name=query.name)
    answer = ask(location.folder, question, asked)
    if answer:
        detail("answered by hashcli serve")
    return answer


def _absolute(path: str) -> str:
    """A path as the server understands it, which may be in another working directory and have another home."""
    return os.path.join(os.getcwd(), os.path.expanduser(path))


def _answers(
    index: "Index", single: "WrittenQuery | None", batch: str | None, arguments: "SearchArguments"
) -> _Answers:
    """The results of queries by an index."""
    from hashcli.cli.query_input import read_codes, read_queries
    from hashcli.hashmodel.prefetch import batched

    queries: Iterable[tuple[int | None, Query | HashcliError]]
    if batch is not None and batch.endswith(".npy"):
        queries = enumerate(read_codes(batch, index.indexed_model.bits), start=1)
    else:
        queries = _opened(index, [(None, single)] if single else read_queries(batch or "-"))
    for block in batched(queries, _BATCH):
        searched = [query for _, query in block if not isinstance(query, HashcliError)]
        found = index.search_many(searched, **vars(arguments))
        for number, query in block:
            answer = query if isinstance(query, HashcliError) else next(found)
            yield number, answer if isinstance(answer, HashcliError) else answer.error or answer


def _opened(
    index: "Index", written: "Iterable[tuple[int | None, WrittenQuery]]"
) -> "Iterator[tuple[int | None, Query | HashcliError]]":
    """Each query with its photos, or the error that says why they cannot be read."""
    model = index.load_model()
    for number, query in written:
        try:
            yield number, query.open(model)
        except HashcliError as error:
            yield number, error


def _say_what_is_unknown(found: "SearchResults", number: int | None, index: _Searched, named: set[str]) -> None:
    """Warn of words that the hash model does not know. Those already `named`, for an earlier query, are left out."""
    from hashcli.index.results import WhyNone

    words = ", ".join(word for word in found.words_not_found if word not in named)
    named.update(found.unknown_words)
    of_query = "" if number is None else f"query {number}: "
    if found.why_none is WhyNone.NO_KNOWN_WORDS or any(result.distance is None for result in found):
        words = ", ".join(found.unknown_words) or found.query.name
        say(f"{of_query}None of the words is known to {index.model_name}: {words}")
    elif words:
        say(f"{of_query}These words are not known to {index.model_name}: {words}")


def _say_why_none(
    found: "SearchResults", index: _Searched, location: "IndexLocation", arguments: "SearchArguments"
) -> None:
    from hashcli.cli.remedies import index_command
    from hashcli.index.results import WhyNone

    name = " or ".join({"image": "photos", "text": "texts"}[kind] for kind in arguments.kinds)
    if found.why_none is WhyNone.TOO_FAR:
        say(f"No {name} are near enough: the nearest differs in {found.nearest_distance} of {index.bits} bits.")
        if arguments.limit is None:
            say("--all shows the nearest ones regardless.")
    elif found.why_none is WhyNone.FILTERED:
        say(f"No {name} in the index match --in, --after, --before, --near or --type.")
    elif found.why_none is WhyNone.NO_WORDS:
        is_bounded = arguments.limit is not None or arguments.where.compiled()
        those = " that the filters and the limit leave" if is_bounded else ""
        say(f"No photos{those} hold these words in their texts, name or folders.")
    elif found.why_none is WhyNone.NO_ITEMS:
        remedy = "" if location.collection else f" Add some: {index_command(location)} PATH-OF-PHOTOS"
        say(f"The {index.called} holds no {name}.{remedy}")


def _say_what_is_missing(missing: set[str], location: "IndexLocation") -> None:
    from hashcli.cli.remedies import index_command

    say(f"Files no longer there: {len(missing)}, including {min(missing)}")
    say(f"To update the index: {index_command(location)}")


def _say_what_does_not_exist(folders: list[str]) -> None:
    for folder in map(os.path.expanduser, folders):
        if not os.path.exists(folder):
            say(f"{folder} does not exist.{did_you_mean_path(folder)}")


def _filter(folders: list[str], types: list[str], after: str | None, before: str | None, near: str | None) -> "Filter":
    from hashcli.index.filter import Filter

    try:
        return Filter(folders, types, after, before, near)
    except HashcliError as error:
        example = "--near 48.86,2.35,10km" if error.problem.startswith("near") else "--after 2023, --before 2023-05-14"
        raise UsageError(f"--{error.problem}", f"For example: {example}") from error
