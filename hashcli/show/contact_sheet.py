"""A contact sheet: the answers of searches as one HTML file that needs nothing else."""

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from hashcli.errors import HashcliError, reason_of
from hashcli.printable import printable

if TYPE_CHECKING:
    from hashcli.index.search import SearchResult

_SIDES = ((50, 640), (200, 448))  # for up to so many answers, thumbnails of so many pixels on the longer side
_SMALLEST_SIDE = 256  # for more: 1,000 answers stay a file that a phone can open
_QUERY_SIDE = 160
_QUALITY = 75
_LOOK_AHEAD = 32


@dataclass(frozen=True)
class Group:
    """One query and its answers, best first: the words that head them, and the photos that were part of the query."""

    query: str
    matches: Sequence["SearchResult"]
    photos: Sequence[str] = ()


@dataclass(frozen=True)
class _Thumbnail:
    """A picture as it stands in the page; sizes in pixels."""

    uri: str
    width: int
    height: int


def write(path: Path, title: str, groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Write the contact sheet of some queries to `path`, in place of what is there.

    Gives the photos that could not be shown, each with the reason; in the sheet a placeholder stands for them.
    Raises HashcliError when the file cannot be written.
    """
    if path.exists() and not path.is_file():
        raise HashcliError(f"{path} is there and is no file.", "Choose another place.")
    unshown: dict[str, str] = {}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            for part in _page(title, groups, unshown):
                file.write(part.encode())
        unfinished.replace(path)
    except OSError as error:
        raise HashcliError(f"{path} cannot be written: {reason_of(error)}.", "Choose another place.") from error
    finally:
        with suppress(OSError):  # a disk that cannot be written has no such file either
            unfinished.unlink(missing_ok=True)
    return list(unshown.items())


def open_file(path: Path) -> None:
    """Show a file in the user's browser. Raises HashcliError when there is none."""
    import webbrowser

    if not webbrowser.open(path.absolute().as_uri()):
        raise HashcliError(f"No browser was found to show {path}.", "Open it by hand, or name a browser in $BROWSER.")


def _page(title: str, groups: Sequence[Group], unshown: dict[str, str]) -> Iterator[str]:
    from hashcli.hashmodel.prefetch import prefetch

    style, script = _asset("contact_sheet.css"), _asset("contact_sheet.js")
    page = Template(_asset("contact_sheet.html")).substitute(
        title=_shown(title),
        summary=_summary(groups),
        queries=_links_to(groups) if len(groups) > 1 else "",
        groups="\0",
        style=style,
        style_hash=_content_hash(style),
        script=script,
        script_hash=_content_hash(script),
    )
    before, _, after = page.partition("\0")
    yield before
    answers = sum(len(group.matches) for group in groups)
    side = next((side for most, side in _SIDES if answers <= most), _SMALLEST_SIDE)
    wanted = ((photo, size) for group in groups for photo, size in _photos_of(group, side))
    thumbnails = (made for _, made in prefetch(lambda wanted: _thumbnail(*wanted), wanted, _LOOK_AHEAD))
    for number, group in enumerate(groups, start=1):
        yield from _section(number, group, thumbnails, unshown, named_above=len(groups) == 1 and group.query == title)
    yield after


def _photos_of(group: Group, side: int) -> Iterator[tuple[str | None, int]]:
    """The photos of a section in the order they stand there, and how large; None for a text about no photo."""
    yield from ((photo, _QUERY_SIDE) for photo in group.photos)
    yield from ((match.picture, side) for match in group.matches)


def _thumbnail(photo: str | None, side: int) -> _Thumbnail | None:
    from hashcli.hashmodel.images import load_thumbnail

    if photo is None:
        return None
    image = load_thumbnail(photo, side)
    encoded = BytesIO()
    image.save(encoded, "WEBP", quality=_QUALITY, method=2)  # 3 % larger than the best, in half the time
    return _Thumbnail(f"data:image/webp;base64,{base64.b64encode(encoded.getvalue()).decode()}", *image.size)


def _section(
    number: int,
    group: Group,
    thumbnails: Iterator[_Thumbnail | Exception | None],
    unshown: dict[str, str],
    named_above: bool,
) -> Iterator[str]:
    query = _shown(group.query)
    yield f'<section id="q{number}" aria-label="{query}">\n<header class="query">\n'
    for photo in group.photos:
        thumbnail = next(thumbnails)
        if isinstance(thumbnail, _Thumbnail):
            yield _image(thumbnail, _name(photo)) + "\n"
    if not named_above:
        yield f"<h2>{query}</h2>\n"
    yield f'<p class="count">{_count(len(group.matches))}</p>\n</header>\n'
    if group.matches:
        texts = all(match.text is not None for match in group.matches)
        yield f'<ol class="cards{" texts" if texts else ""}">\n'
        for position, match in enumerate(group.matches, start=1):  # ranks come twice, of photos and of texts
            thumbnail = next(thumbnails)
            if isinstance(thumbnail, Exception):
                unshown[match.picture or match.path] = reason_of(thumbnail)
            yield _card(f"a{number}-{position}", match, thumbnail, len(group.matches))
        yield "</ol>\n"
    yield "</section>\n"


def _card(id_: str, match: "SearchResult", thumbnail: _Thumbnail | Exception | None, of: int) -> str:
    path, link = _shown(match.path), _file_link(match.path)
    name = _name(match.path) + (f":{match.line}" if match.line is not None else "")
    taken = "" if match.taken is None else f"{datetime.fromtimestamp(match.taken, UTC):%Y-%m-%d}"
    facts = [f"Answer {match.rank} of {of}", f"{match.distance} of {match.bits} bits differ"]
    facts += [f"taken {taken}"] if taken else []
    content = ""
    if isinstance(thumbnail, _Thumbnail):
        content += _image(thumbnail, _name(match.picture or match.path))
    elif isinstance(thumbnail, Exception):
        is_gone = isinstance(thumbnail, FileNotFoundError)
        content += f'<span class="none">{"No longer there" if is_gone else "Cannot be shown"}</span>'
    if match.text is not None:
        content += f"<q>{_shown(match.text)}</q>"
    return (
        f'<li><button type="button" class="open" aria-describedby="{id_}" data-facts="{" · ".join(facts)}"'
        f' data-path="{_copied(match.path)}" data-shown="{path}">{content}</button>'
        f'<p class="name"><a href="{link}" target="_blank" rel="noopener" title="{path}">{name}</a></p>'
        f'<p class="facts" id="{id_}"><span class="rank">{match.rank}</span> {match.distance} bits'
        f"{f' · {taken}' if taken else ''}</p></li>\n"
    )


def _image(thumbnail: _Thumbnail, name: str) -> str:
    return (
        f'<img src="{thumbnail.uri}" width="{thumbnail.width}" height="{thumbnail.height}" alt="{name}"'
        ' loading="lazy" decoding="async">'
    )


def _links_to(groups: Sequence[Group]) -> str:
    links = (f'<li><a href="#q{n}">{_shown(group.query)}</a></li>' for n, group in enumerate(groups, start=1))
    return f'<nav aria-label="Queries"><ol>{"".join(links)}</ol></nav>'


def _summary(groups: Sequence[Group]) -> str:
    bits = {match.bits for group in groups for match in group.matches}
    if not bits:
        return ""
    most = max(bits)
    return (
        f"The distance is how many of {most} bits differ between query and answer: "
        f"fewer is nearer, {most // 2} is chance."
    )


def _count(answers: int) -> str:
    return f"{answers:,} answer{'' if answers == 1 else 's'}" if answers else "Nothing was found."


def _name(path: str) -> str:
    return _shown(os.path.basename(path) or path)


def _shown(text: str) -> str:
    return escape(printable(text))


def _copied(path: str) -> str:
    """A path to be pasted elsewhere; as a file:// link when its bytes are no text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _file_link(path)
    return escape(path)


def _file_link(path: str) -> str:
    return escape(Path(path).as_uri())


def _asset(name: str) -> str:
    return files("hashcli.show").joinpath(name).read_text(encoding="utf-8")


def _content_hash(content: str) -> str:
    """What a Content-Security-Policy allows an inline style or script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
