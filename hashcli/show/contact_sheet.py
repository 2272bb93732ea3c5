"""A contact sheet: the results of searches as one HTML file that needs nothing else."""

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from io import BytesIO
from itertools import groupby
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from hashcli.errors import HashcliError, reason_of
from hashcli.plain_files import create_plain
from hashcli.printable import link_to, local_time, printable

if TYPE_CHECKING:
    from hashcli.index.results import SearchResult

_SIDES = ((50, 640), (200, 448))  # up to 50 results, thumbnails have 640 pixels on their longer side, and so on
_SMALLEST_SIDE = 256  # for more: a page of 1,000 results is still small enough for a phone
_QUERY_SIDE = 160
_QUALITY = 75
_LOOK_AHEAD = 32
_HEADINGS = {"image": "Photos", "text": "Texts"}


@dataclass(frozen=True)
class QueryResults:
    """A query and its results, best first. `query` is its heading, and `photos` are those that were part of it."""

    query: str
    results: Sequence["SearchResult"]
    photos: Sequence[str] = ()


@dataclass(frozen=True)
class _Thumbnail:
    """A picture in the page; sizes in pixels. `is_whole` says that the photo itself has no more of them."""

    uri: str
    width: int
    height: int
    is_whole: bool


def write(path: Path, title: str, searches: Sequence[QueryResults]) -> list[tuple[str, str]]:
    """Write the contact sheet of some searches to `path`, replacing what is there.

    Returns the photos that could not be shown, each with the reason; the sheet has a placeholder for them. Raises
    HashcliError when the file cannot be written.
    """
    if path.exists() and not path.is_file():
        raise HashcliError(f"{path} exists, but is not a file.", "Choose another place.")
    unshown: dict[str, str] = {}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with create_plain(unfinished) as file:
            for part in _page(title, searches, unshown):
                file.write(part.encode())
        unfinished.replace(path)
    except OSError as error:
        raise HashcliError(f"{path} cannot be written: {reason_of(error)}.", "Choose another place.") from error
    finally:
        with suppress(OSError):  # where the disk cannot be written, there is no such file to delete
            unfinished.unlink(missing_ok=True)
    return list(unshown.items())


def open_file(path: Path) -> None:
    """Show a file in the user's browser. Raises HashcliError when there is no browser."""
    import webbrowser

    if not webbrowser.open(path.absolute().as_uri()):
        raise HashcliError(f"No browser was found to show {path}.", "Open it by hand, or name a browser in $BROWSER.")


def _page(title: str, searches: Sequence[QueryResults], unshown: dict[str, str]) -> Iterator[str]:
    from hashcli.hashmodel.prefetch import prefetch

    style, script = _asset("contact_sheet.css"), _asset("contact_sheet.js")
    page = Template(_asset("contact_sheet.html")).substitute(
        title=_shown(title),
        summary=_summary(searches),
        queries=_links_to(searches) if len(searches) > 1 else "",
        sections="\0",
        style=style,
        style_hash=_content_hash(style),
        script=script,
        script_hash=_content_hash(script),
    )
    before, _, after = page.partition("\0")
    yield before
    count = sum(len(search.results) for search in searches)
    side = next((side for most, side in _SIDES if count <= most), _SMALLEST_SIDE)
    wanted = ((photo, size) for search in searches for photo, size in _photos_of(search, side))
    thumbnails = (made for _, made in prefetch(lambda wanted: _thumbnail(*wanted), wanted, _LOOK_AHEAD))
    for number, search in enumerate(searches, start=1):
        named_above = len(searches) == 1 and search.query == title
        yield from _section(number, search, thumbnails, unshown, named_above)
    yield after


def _photos_of(search: QueryResults, side: int) -> Iterator[tuple[str | None, int]]:
    """The photos of a section in their order there, with the size of each; None for a text that is about no photo."""
    yield from ((photo, _QUERY_SIDE) for photo in search.photos)
    yield from ((result.picture, side) for result in search.results)


def _thumbnail(photo: str | None, side: int) -> _Thumbnail | None:
    from hashcli.hashmodel.images import load_thumbnail

    if photo is None:
        return None
    image = load_thumbnail(photo, side)
    encoded = BytesIO()
    image.save(encoded, "WEBP", quality=_QUALITY, method=2)  # 3 % larger than with the best method, in half the time
    uri = f"data:image/webp;base64,{base64.b64encode(encoded.getvalue()).decode()}"
    return _Thumbnail(uri, *image.size, is_whole=max(image.size) < side)


def _section(
    number: int,
    search: QueryResults,
    thumbnails: Iterator[_Thumbnail | Exception | None],
    unshown: dict[str, str],
    named_above: bool,
) -> Iterator[str]:
    query = _shown(search.query)
    yield f'<section id="q{number}" aria-label="{query}">\n<header class="query">\n'
    for photo in search.photos:
        thumbnail = next(thumbnails)
        if isinstance(thumbnail, _Thumbnail):
            yield _image(thumbnail, _name(photo)) + "\n"
    if not named_above:
        yield f"<h2>{query}</h2>\n"
    yield f'<p class="count">{_count(len(search.results))}</p>\n</header>\n'
    counts = Counter(result.kind for result in search.results)
    for kind, results in groupby(enumerate(search.results, start=1), lambda numbered: numbered[1].kind):
        if len(counts) > 1:
            yield f"<h3>{_HEADINGS[kind]}</h3>\n"
        yield f'<ol class="cards{" texts" if kind == "text" else ""}">\n'
        for position, result in results:  # not the rank: a photo and a text may share one
            thumbnail = next(thumbnails)
            if isinstance(thumbnail, Exception):
                unshown[result.picture or result.path] = reason_of(thumbnail)
            yield _card(f"a{number}-{position}", result, thumbnail, counts[kind])
        yield "</ol>\n"
    yield "</section>\n"


def _card(id_: str, result: "SearchResult", thumbnail: _Thumbnail | Exception | None, of: int) -> str:
    path, link = _shown(result.path), _file_link(result.path)
    name = _name(result.path) + (f":{result.line}" if result.line is not None else "")
    taken = "" if result.taken is None else local_time(result.taken).partition("T")[0]
    facts = [f"Result {result.rank} of {of}"]
    facts += [] if result.distance is None else [f"{result.distance} of {result.bits} bits differ"]
    facts += [f"taken {taken}"] if taken else []
    facts += [f"holds {', '.join(result.words)}"] if result.words else []
    facts += [f"{result.copies} identical cop{'y' if result.copies == 1 else 'ies'}"] if result.copies else []
    shown = [] if result.distance is None else [f"{result.distance} bits"]
    shown += [taken] if taken else []
    shown += [f"+{result.copies}"] if result.copies else []
    content = ""
    if isinstance(thumbnail, _Thumbnail):
        content += _image(thumbnail, _name(result.picture or result.path))
    elif isinstance(thumbnail, Exception):
        is_gone = isinstance(thumbnail, FileNotFoundError)
        content += f'<span class="none">{"No longer there" if is_gone else "Cannot be shown"}</span>'
    if result.text is not None:
        content += f"<q>{_shown(result.text)}</q>"
    return (
        f'<li><button type="button" class="open" aria-describedby="{id_}" data-facts="{" · ".join(facts)}"'
        f' data-path="{_copied(result.path)}" data-shown="{path}">{content}</button>'
        f'<p class="name"><a href="{link}" target="_blank" rel="noopener" title="{path}">{name}</a></p>'
        f'<p class="facts folder" title="{path}">{_folder(result.path)}</p>'
        f'<p class="facts" id="{id_}"><span class="rank">{result.rank}</span> {" · ".join([*shown, *result.words])}'
        "</p></li>\n"
    )


def _image(thumbnail: _Thumbnail, name: str) -> str:
    return (
        f'<img src="{thumbnail.uri}" width="{thumbnail.width}" height="{thumbnail.height}" alt="{name}"'
        f' loading="lazy" decoding="async"{" data-whole" if thumbnail.is_whole else ""}>'
    )


def _links_to(searches: Sequence[QueryResults]) -> str:
    links = (f'<li><a href="#q{n}">{_shown(search.query)}</a></li>' for n, search in enumerate(searches, start=1))
    return f'<nav aria-label="Queries"><ol>{"".join(links)}</ol></nav>'


def _summary(searches: Sequence[QueryResults]) -> str:
    bits = {result.bits for search in searches for result in search.results}
    if not bits:
        return ""
    most = max(bits)
    return (
        f"The distance is how many of {most} bits differ between query and result: "
        f"fewer is nearer, {most // 2} is chance. The order follows a finer score, so that distances need not rise."
    )


def _count(results: int) -> str:
    return f"{results:,} result{'' if results == 1 else 's'}" if results else "Nothing was found."


def _name(path: str) -> str:
    return _shown(os.path.basename(path) or path)


def _folder(path: str) -> str:
    """The last two folders of a path, which tell photos of one name apart."""
    return _shown("/".join(Path(path).parent.parts[-2:]))


def _shown(text: str) -> str:
    return escape(printable(text))


def _copied(path: str) -> str:
    """A path to paste elsewhere; as a file:// link where its bytes are not text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _file_link(path)
    return escape(path)


def _file_link(path: str) -> str:
    return escape(link_to(path))


def _asset(name: str) -> str:
    return files("hashcli.show").joinpath(name).read_text(encoding="utf-8")


def _content_hash(content: str) -> str:
    """The hash by which a Content-Security-Policy allows an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
