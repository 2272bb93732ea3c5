"""Results with their pictures in a terminal: by Kitty, Sixel or iTerm2 graphics, or else in half blocks of colour."""

import logging
import os
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from hashcli.errors import HashcliError, how_to_install
from hashcli.printable import link_to, printable
from hashcli.show.terminal import graphics

if TYPE_CHECKING:
    from PIL import Image
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from hashcli.index.results import SearchResult

_ROWS = 10  # the height of a picture, in cells of the terminal
_COLUMNS = 26  # the least width of a result
_BLOCK_ROWS, _BLOCK_COLUMNS = 14, 38  # the same with half blocks, where a cell holds only two pixels
_GAP = 2
_SIDE = 640  # pixels on the longer side of a picture that is sent to the terminal: a cell has up to about 20 x 40
_LOOK_AHEAD = 16

_DRAW_BY_ITERM2 = frozenset({"iTerm.app", "iTerm2", "WezTerm", "mintty"})


def can_print_pictures() -> bool:
    """Whether stdout is a terminal that can show pictures. With NO_COLOR set, half blocks do not count as pictures.

    May query the terminal. Raises HashcliError when stdout is a terminal and the library for pictures is missing.
    """
    return _is_capable_terminal() and _picture_class() is not None


def print_results(results: Sequence["SearchResult"], location: Callable[["SearchResult"], str] | None = None) -> None:
    """Print results on stdout, best first, as many side by side as fit: the picture, the rank, the distance in bits,
    the text where the result is one, and its location, which is the path unless `location` gives another.

    Without pictures where can_print_pictures is false. Raises HashcliError when the library for them is missing.
    """
    from rich.console import Console
    from rich.table import Table

    from hashcli.hashmodel.prefetch import prefetch

    picture_class = _picture_class() if _is_capable_terminal() else None
    console, rows, columns = Console(highlight=False), _ROWS, _COLUMNS
    if picture_class is None:
        pass
    elif not picture_class.__module__.endswith("halfcell"):
        # Kitty's pictures are identified by their exact colour.
        console = Console(highlight=False, color_system="truecolor", no_color=False)
    else:
        rows, columns = _BLOCK_ROWS, _BLOCK_COLUMNS
        if console.color_system == "standard":  # 16 colours are too few, and every terminal in use can do 256
            console = Console(highlight=False, color_system="256")
    beside = max(1, (console.width + _GAP) // (columns + _GAP))
    width = (console.width + _GAP) // beside - _GAP
    thumbnails = prefetch(load_picture if picture_class else lambda result: None, results, _LOOK_AHEAD)
    with without_queries():
        for first in range(0, len(results), beside):
            row = [next(thumbnails) for _ in results[first : first + beside]]
            table = Table.grid(padding=(0, _GAP, 0, 0))
            for _ in row:
                table.add_column(width=width, overflow="fold")
            if picture_class is not None:
                table.add_row(*(_picture(picture_class, thumbnail, width, rows, console) for _, thumbnail in row))
            table.add_row(*(_caption(result, location(result) if location else result.path) for result, _ in row))
            console.print(table)
            if picture_class is not None:
                console.print()


def _is_capable_terminal() -> bool:
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return False
    size = os.get_terminal_size(sys.stdout.fileno())
    return size.columns > 0 and size.lines > 0


def _picture_class() -> Any:
    """The class that draws for this terminal, the library's or our own; None where half blocks would lose colour."""
    of_library = library_picture_class(ask=not _draws_by_iterm2())
    return _ITerm2Picture if _draws_by_iterm2() else of_library


def library_picture_class(*, ask: bool = True) -> Any:
    """The library's class that draws for this terminal; None where half blocks would lose colour.

    With `ask`, the terminal is asked at the first call, by `graphics`. Raises HashcliError when the library is missing.
    """
    try:
        with without_queries():
            from textual_image.renderable import HalfcellImage, Image, SixelImage, TGPImage
    except ImportError as error:
        raise HashcliError("Pictures in the terminal need an extra.", how_to_install("show")) from error
    if sys.platform == "win32":  # there, the library asks
        drawn = Image
    else:
        drawn = {"sixel": SixelImage, "kitty": TGPImage, None: HalfcellImage}[graphics() if ask else None]
    return None if drawn is HalfcellImage and os.environ.get("NO_COLOR") else drawn


def _draws_by_iterm2() -> bool:
    """Whether the environment names a terminal with iTerm2's protocol, and no tmux is in between, which lacks it."""
    names = {os.environ.get("TERM_PROGRAM"), os.environ.get("LC_TERMINAL")}
    return bool(names & _DRAW_BY_ITERM2) and not os.environ.get("TMUX")


@contextmanager
def without_queries() -> Iterator[None]:
    """Keep the library from asking the terminal, which `graphics` does: it does not ask where there is no stdin."""
    stdin, logger = sys.__stdin__, logging.getLogger("textual_image")
    level = logger.level
    logger.setLevel(logging.ERROR)
    if sys.platform != "win32" or (stdin is not None and not stdin.isatty()):
        sys.__stdin__ = None  # type: ignore[misc]
    try:
        yield
    finally:
        sys.__stdin__ = stdin  # type: ignore[misc]
        logger.setLevel(level)


def load_picture(result: "SearchResult", side: int = _SIDE) -> "Image.Image | None":
    """The picture of a result, its longer side at most `side` pixels; None for a text about no photo. Raises as
    load_thumbnail does."""
    from hashcli.hashmodel.images import load_thumbnail

    return None if result.picture is None else load_thumbnail(result.picture, side)


def _picture(
    picture_class: Any, thumbnail: "Image.Image | Exception | None", width: int, rows: int, console: "Console"
) -> "RenderableType":
    """A thumbnail to print within `width` by `rows` cells, or why there is none."""
    from rich.measure import Measurement
    from rich.text import Text

    if thumbnail is None:
        return ""
    if isinstance(thumbnail, Exception):
        return Text(why_unseen(thumbnail), "dim")
    picture: RenderableType = picture_class(thumbnail, width="auto", height=rows)
    if Measurement.get(console, console.options.update(max_width=10_000), picture).maximum > width:
        picture = picture_class(thumbnail, width=width, height="auto")
    return picture


def why_unseen(error: BaseException) -> str:
    """The words in place of a picture that cannot be loaded."""
    return "(no longer there)" if isinstance(error, FileNotFoundError) else "(cannot be shown)"


def _caption(result: "SearchResult", location: str) -> "RenderableType":
    from rich.text import Text

    distance = "" if result.distance is None else f"  {result.distance} bits"
    copies = f"  +{result.copies} identical" if result.copies else ""
    words = "".join(f"  {word}" for word in result.words)
    caption = Text.assemble((str(result.rank), "bold"), (distance + copies, "dim"), (words, "italic"))
    if result.text is not None:
        caption.append(f"\n{printable(result.text)}")
    return caption.append(f"\n{printable(location)}", style=f"link {link_to(result.path)}")


class _ITerm2Picture:
    """A picture drawn by iTerm2's protocol for inline images, with the interface of the library's own classes."""

    def __init__(self, image: "Image.Image", width: int | str, height: int | str) -> None:
        from textual_image.renderable import HalfcellImage

        self._image = image
        self._cells = HalfcellImage(image, width=width, height=height)  # takes the same number of cells

    def __rich_measure__(self, console: "Console", options: "ConsoleOptions") -> Any:
        return self._cells.__rich_measure__(console, options)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.segment import ControlType, Segment

        columns = self._cells.__rich_measure__(console, options).maximum
        rows = len(console.render_lines(self._cells, options.update(width=columns), pad=False))
        jpeg = BytesIO()
        self._image.save(jpeg, "JPEG", quality=85)
        arguments = f"inline=1;size={jpeg.tell()};width={columns};height={rows};preserveAspectRatio=0"
        draw = f"\x1b]1337;File={arguments}:{b64encode(jpeg.getvalue()).decode()}\a"
        for _ in range(rows):
            yield Segment(" " * columns + "\n")
        # As a control, the text is passed on unchanged by Rich; CURSOR_FORWARD by nothing does not move the cursor.
        yield Segment(f"\x1b7\x1b[{rows}A{draw}\x1b8", control=[(ControlType.CURSOR_FORWARD, 0)])
