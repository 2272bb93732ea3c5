"""The interactive grid: results while typing, as pictures in the terminal, some of which are chosen.

Textual keeps the screen. Searches run in a thread of the caller, and pictures are decoded in threads of their own, so
that typing never waits for either. Imported only for the grid.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar

from rich.color import ColorSystem
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Grid, Horizontal, Vertical
from textual.content import Content
from textual.events import Click, DescendantBlur, DescendantFocus, Key, Resize
from textual.filter import LineFilter, Monochrome, NoColor
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static

from hashcli.errors import HashcliError
from hashcli.printable import local_time, printable
from hashcli.show.contact_sheet import open_file
from hashcli.show.terminal import cell_width, whole_terminal
from hashcli.show.thumbnails import library_picture_class, load_picture, why_unseen, without_queries

if TYPE_CHECKING:
    from PIL import Image

    from hashcli.index.results import SearchResult, SearchResults

# Of some words and a photo, whose likes are looked for; either may be missing. It searches in a thread.
Search = Callable[[str, str | None], "Future[SearchResults]"]

_PAUSE = 0.15  # seconds without a key before a search
_COLUMNS, _ROWS = 25, 10  # the least size of a picture and its caption, in cells of the terminal
_CAPTION_ROWS = 2
_ZOOM = 1.4
_SIDE_STEP, _LARGEST_SIDE = 320, 1920  # pixels of a decoded picture: only larger cells need others
_DECODERS = 2

_KEYS_OF_WORDS = ("↓ to the pictures   esc leave",)
_KEYS_OF_PICTURES = ("space select   y print   enter open", "m alike   / search   + - size   q leave")


def choose_photos(search: Search, words: str = "", others: str = "") -> list[str]:
    """Let a person search and choose in the whole terminal; the paths chosen, in that order, none if there are none.

    `words` are what is searched for first, and `others` names what else `search` looks for, to be shown before them.
    Raises HashcliError where there is no terminal, or the library for pictures is missing, and KeyboardInterrupt when
    the person has pressed Ctrl-C.
    """
    with whole_terminal():
        app = PhotoGrid(search, words, others, _drawing())
        chosen = app.run()
    if error := app._exception:  # Textual has printed it where nobody reads
        raise error
    if app.return_code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if app.return_code:
        raise SystemExit(app.return_code)
    return chosen or []


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn: by a widget of the library, with so many pixels across a cell of the terminal, and
    whether they are lost where colours are not passed on exactly."""

    widget: type[Widget]
    cell_pixels: int
    needs_exact_colours: bool = False


def _drawing() -> Drawing | None:
    """How this terminal draws pictures; None where half blocks would lose colour."""
    of_terminal = library_picture_class()
    with without_queries():
        from textual_image import renderable, widget
    return {
        renderable.SixelImage: Drawing(widget.SixelImage, cell_width()),
        renderable.TGPImage: Drawing(widget.TGPImage, cell_width(), needs_exact_colours=True),
        renderable.HalfcellImage: Drawing(widget.HalfcellImage, 2),
    }.get(of_terminal)


class Cell(Vertical):
    """One result: its picture, and two lines about it."""

    def __init__(self, drawing: Drawing | None, decoders: ThreadPoolExecutor) -> None:
        super().__init__()
        self.result: SearchResult | None = None
        self._picture: Any = drawing.widget() if drawing else None
        self._decoders = decoders
        self._side = 0
        self._note, self._is_chosen = "", False
        self._caption = Static(classes="caption")

    def compose(self) -> ComposeResult:
        if self._picture:
            self._picture.display = False
            yield Container(self._picture)
        yield self._caption

    def show(self, result: "SearchResult | None", side: int = 0) -> None:
        """Give it another result, or none; its picture is to have `side` pixels."""
        if (result, side) == (self.result, self._side):
            return
        self.result, self._side, self._note = result, side, ""
        self.visible = result is not None
        self.workers.cancel_node(self)
        if self._picture:
            self._show_picture(None)
            if result is not None:
                self._load(result)

    def describe(self, *, is_chosen: bool) -> None:
        """Say what it is, and whether it was chosen."""
        self._is_chosen = is_chosen
        if self.result is not None:
            self._caption.update(_caption(self.result, self._note, is_chosen=is_chosen))

    @work
    async def _load(self, result: "SearchResult") -> None:
        picture = await asyncio.get_running_loop().run_in_executor(
            self._decoders, _picture_or_words, result, self._side
        )
        if isinstance(picture, str):
            self._note = picture
            self.describe(is_chosen=self._is_chosen)
        else:
            self._show_picture(picture)

    def _show_picture(self, picture: "Image.Image | None") -> None:
        self._picture.image = picture
        self._picture.display = picture is not None


def _picture_or_words(result: "SearchResult", side: int) -> "Image.Image | str | None":
    """The picture of a result, None for a text about no photo, or words in its place."""
    try:
        return load_picture(result, side)
    except BaseException as error:  # a panic in a decoder written in Rust is no Exception
        return why_unseen(error)


def _caption(result: "SearchResult", note: str, *, is_chosen: bool) -> Content:
    """Its name and facts about it; of a text, its words come first. `note` takes the place of the distance."""
    name = printable(os.path.basename(result.path)) + ("" if result.line is None else f":{result.line}")
    facts = [str(result.rank), note or ("" if result.distance is None else f"{result.distance} bits")]
    facts += [local_time(result.taken).partition("T")[0]] if result.taken is not None else []
    facts += [f"+{result.copies} identical"] if result.copies else []
    facts += map(printable, result.words)
    first, second = name, "  ".join(facts)
    if result.text is not None:
        first, second = printable(result.text), f"{name}  {second}"
    mark, style = ("✓ ", "bold") if is_chosen else ("", "")
    return Content.assemble((f"{mark}{first}", style), "\n", (second, "dim"))


class Pictures(Grid, can_focus=True):
    """A page of results, as many as fit. One is under the cursor, and some are chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(keys, action, priority=True)  # as those of the app
        for keys, action in (
            ("left,h", "move(-1)"),
            ("right,l", "move(1)"),
            ("up,k", "move_row(-1)"),
            ("down,j", "move_row(1)"),
            ("pageup", "move_page(-1)"),
            ("pagedown", "move_page(1)"),
            ("home", "move(-1_000_000)"),
            ("end", "move(1_000_000)"),
            ("space", "choose"),
            ("plus", "zoom(1)"),
            ("minus", "zoom(-1)"),
        )
    ]

    class Changed(Message):
        """Another result is under the cursor, or is chosen."""

    def __init__(self, drawing: Drawing | None) -> None:
        super().__init__()
        self.results: Sequence[SearchResult] = ()
        self.chosen: dict[str, None] = {}  # paths in the order in which they were chosen
        self.cursor = 0
        self._drawing = drawing
        self._columns, self._rows = 1, 1
        self._zoom = 0
        self._decoders = ThreadPoolExecutor(_DECODERS, "pictures")

    @property
    def current(self) -> "SearchResult | None":
        """The result under the cursor."""
        return self.results[self.cursor] if self.results else None

    def show(self, results: "Sequence[SearchResult]") -> None:
        self.results, self.cursor = results, 0
        self._fill()

    def on_unmount(self) -> None:
        self._decoders.shutdown(wait=False, cancel_futures=True)

    # --- keys ---

    def action_move(self, by: int) -> None:
        self.move_to(self.cursor + by)

    def action_move_row(self, by: int) -> None:
        to = self.cursor + by * self._columns
        if to < 0:
            self.screen.focus_previous()
        elif to < len(self.results) or self.cursor // self._columns < (len(self.results) - 1) // self._columns:
            self.move_to(to)

    def action_move_page(self, by: int) -> None:
        self.move_to(self.cursor + by * self._columns * self._rows)

    def action_choose(self) -> None:
        if self.current is None:
            return
        path = self.current.path
        if path in self.chosen:
            del self.chosen[path]
        elif os.path.lexists(path):
            self.chosen[path] = None
        self._describe()

    def action_zoom(self, by: int) -> None:
        self._zoom = max(-2, min(4, self._zoom + by))
        self._arrange()

    def on_click(self, event: Click) -> None:
        for number, cell in enumerate(self.query(Cell)):
            if cell.region.contains(*event.screen_offset):
                self.move_to(self._first + number)

    def move_to(self, number: int) -> None:
        """Move the cursor to a result, or to the nearest that there is."""
        first = self._first
        self.cursor = max(0, min(number, len(self.results) - 1))
        if self._first == first:
            self._describe()
        else:
            self._fill()

    # --- cells ---

    @property
    def _first(self) -> int:
        """The number of the first result on the page."""
        return self.cursor - self.cursor % (self._columns * self._rows)

    @property
    def _side(self) -> int:
        """The pixels of a picture's longer side, so that memory depends on the screen and not on the photos."""
        cells = max(self.size.width / self._columns, 2 * self.size.height / self._rows)
        needed = cells * self._drawing.cell_pixels if self._drawing else 0
        return min(_LARGEST_SIDE, _SIDE_STEP * ceil(needed / _SIDE_STEP))

    def on_resize(self, _: Resize) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Have as many cells as fit."""
        least_rows = _ROWS if self._drawing else _CAPTION_ROWS + 1
        self._columns = max(1, int(self.size.width / (_COLUMNS * _ZOOM**self._zoom)))
        self._rows = max(1, int(self.size.height / (least_rows * _ZOOM**self._zoom)))
        self.styles.grid_size_columns, self.styles.grid_size_rows = self._columns, self._rows
        cells, count = list(self.query(Cell)), self._columns * self._rows
        for cell in cells[count:]:
            cell.remove()
        self.mount(*(Cell(self._drawing, self._decoders) for _ in range(count - len(cells))))
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        """Give the results of the page to the cells, and load their pictures."""
        page = self.results[self._first : self._first + self._columns * self._rows]
        for number, cell in enumerate(self.query(Cell)):
            cell.show(page[number] if number < len(page) else None, self._side)
        self._describe()

    def _describe(self) -> None:
        for number, cell in enumerate(self.query(Cell), self._first):
            cell.set_class(number == self.cursor, "cursor")
            cell.describe(is_chosen=cell.result is not None and cell.result.path in self.chosen)
        self.post_message(self.Changed())


_ACTIONS = {
    key: binding.action for binding in Input.BINDINGS if isinstance(binding, Binding) for key in binding.key.split(",")
}


class WordsInput(Input):
    """The line to type in."""

    cursor_blink = reactive(False)  # nothing is to be drawn while nothing happens, as over SSH

    class Emptied(Message):
        """Backspace was pressed where there is nothing more to delete."""

    async def on_key(self, event: Key) -> None:
        """Do what a key means at once. Textual does it later, after letters that were typed behind it, where several
        arrive together, as over SSH."""
        if action := _ACTIONS.get(event.key):
            event.stop()
            event.prevent_default()
            await self.run_action(action)

    def action_delete_left(self) -> None:
        if not self.value:
            self.post_message(self.Emptied())
        super().action_delete_left()


class PhotoGrid(App[list[str]]):
    """The whole screen."""

    CSS = """
    #query { height: 1; }
    #others { width: auto; max-width: 50%; height: 1; text-style: bold; text-wrap: nowrap; text-overflow: ellipsis; }
    WordsInput { width: 1fr; }
    Pictures { height: 1fr; grid-gutter: 0 1; }
    Cell { height: 1fr; }
    Cell Container { height: 1fr; align: center middle; }
    Cell Container > * { width: auto; height: auto; }
    .caption { height: 2; text-wrap: nowrap; text-overflow: ellipsis; }
    Cell.cursor .caption { text-style: underline; }
    Pictures:focus Cell.cursor .caption { text-style: reverse; }
    #status { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #keys { text-style: dim; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        # Priority, so that a key pressed right after another finds what that has done.
        Binding(keys, action, priority=True)
        for keys, action in (
            ("down,enter", "focus_pictures"),
            ("slash", "focus_words"),
            ("enter", "open"),
            ("m", "more_like_this"),
            ("y", "print"),
            ("q", "leave"),
            ("escape,ctrl+q", "leave_anyway"),
            ("ctrl+c", "interrupt"),
        )
    ]
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False

    def __init__(self, search: Search, words: str, others: str, drawing: Drawing | None) -> None:
        super().__init__(ansi_color=True)  # the terminal's own colours, as there are no others but those of pictures
        if drawing and drawing.needs_exact_colours:
            self.console._color_system = ColorSystem.TRUECOLOR
        elif self.console._color_system == ColorSystem.STANDARD:  # too few, and every terminal in use can do 256
            self.console._color_system = ColorSystem.EIGHT_BIT
        self._search_for = search
        self._others = others
        self._asked_for = ""  # words
        self._like: str | None = None  # the photo whose likes are looked for
        self._message = ""
        self._first_words, self._drawing = words, drawing

    @property
    def words(self) -> WordsInput:
        return self.query_one(WordsInput)

    @property
    def pictures(self) -> Pictures:
        return self.query_one(Pictures)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """With NO_COLOR, colours are taken away, but not those of Kitty's pictures, which are identified by them."""
        keeps_colours = self._drawing is not None and self._drawing.needs_exact_colours
        return [
            one for one in super().get_line_filters() if not (keeps_colours and isinstance(one, NoColor | Monochrome))
        ]

    def compose(self) -> ComposeResult:
        with Horizontal(id="query"):
            yield Static(id="others")
            words = self._first_words
            yield WordsInput(words, placeholder="What are you looking for?", compact=True, select_on_focus=False)
        yield Pictures(self._drawing)
        yield Static(id="status")
        yield Static(id="keys")

    def on_mount(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, partial(self.exit, return_code=128 + number))
        (self.pictures if self.words.value or self._others else self.words).focus()
        self._search(0)

    # --- searching ---

    def on_input_changed(self) -> None:
        if self.words.value.strip() != self._asked_for:
            self._search(_PAUSE)

    @work(exclusive=True)
    async def _search(self, pause: float) -> None:
        """Search for what is asked for now. The next call ends this one, so that no late answer is shown."""
        self.query_one("#others", Static).update(Content(self._others_shown()))
        self._asked_for = words = self.words.value.strip()
        await asyncio.sleep(pause)
        if not (words or self._others or self._like):
            self._message = ""
            self.pictures.show(())
            return
        try:
            results = await asyncio.wrap_future(self._search_for(words, self._like))
        except HashcliError as error:
            self._message = error.problem
            self.pictures.show(())
        else:
            self._message = _remarks(results)
            self.pictures.show(results)

    def _others_shown(self) -> str:
        """What else is looked for, in front of the words."""
        others = f"like {os.path.basename(self._like)}" if self._like else self._others
        return f"> {printable(others)} + " if others else "> "

    def action_more_like_this(self) -> None:
        current = self.pictures.current
        if current and current.picture:
            self._like = current.picture
            with self.prevent(Input.Changed):
                self.words.clear()
            self._search(0)

    def on_words_input_emptied(self) -> None:
        if self._like:
            self._like = None
            self._search(0)

    # --- moving about, and leaving ---

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether a key means this now: most mean something else, or a letter, in the line to type in."""
        is_in_pictures = self.screen.focused is self.pictures  # has_focus changes a little later
        if action in ("focus_words", "open", "more_like_this", "print", "leave"):
            return is_in_pictures
        return action != "focus_pictures" or not is_in_pictures

    def action_focus_pictures(self) -> None:
        self.screen.set_focus(self.pictures)

    def action_focus_words(self) -> None:
        self.screen.set_focus(self.words)

    def action_print(self) -> None:
        current = self.pictures.current
        chosen = list(self.pictures.chosen) or ([current.path] if current else [])
        there = [path for path in chosen if os.path.lexists(path)]
        if there:
            self.exit(there)

    def action_leave(self) -> None:
        self.exit([])

    def action_leave_anyway(self) -> None:
        self.exit([])

    def action_interrupt(self) -> None:
        self.exit(return_code=128 + signal.SIGINT)

    def action_open(self) -> None:
        if current := self.pictures.current:  # in a thread that is not waited for, as some viewers are until they close
            Thread(target=self._open, args=[Path(current.picture or current.path)], daemon=True).start()

    def _open(self, photo: Path) -> None:
        try:
            open_file(photo)
        except (HashcliError, OSError) as error:
            self._message = str(error)
            self.call_from_thread(self._say)

    # --- the lines at the bottom ---

    def on_pictures_changed(self) -> None:
        self._say()

    def on_descendant_focus(self, _: DescendantFocus) -> None:
        self._say()

    def on_descendant_blur(self, _: DescendantBlur) -> None:
        self._say()

    def _say(self) -> None:
        """Say what is selected, which result is under the cursor, and what the keys do."""
        pictures, parts = self.pictures, []
        if pictures.chosen:
            parts.append(f"{len(pictures.chosen)} selected")
        if pictures.current:
            parts.append(f"{pictures.cursor + 1} of {len(pictures.results)}")
        parts += [self._message] if self._message else []
        said = printable("   ".join(parts))
        if pictures.current:
            path, room = printable(pictures.current.path), self.size.width - len(said) - 3
            said += "   " + (path if len(path) <= room else "…" + path[-max(room - 1, 1) :])
        self.query_one("#status", Static).update(Content(said))
        keys = self.query_one("#keys", Static)
        is_wide = self.size.width >= len("   ".join(_KEYS_OF_PICTURES))
        keys.styles.height = 1 if is_wide else len(_KEYS_OF_PICTURES)  # the same for both, so that nothing moves
        of_focused = _KEYS_OF_PICTURES if pictures.has_focus else _KEYS_OF_WORDS
        keys.update(Content(("   " if is_wide else "\n").join(of_focused)))


def _remarks(results: "SearchResults") -> str:
    """What is to be said of an answer besides its results."""
    remarks = [f"Nothing found: {results.why_none.value}."] if results.why_none else []
    remarks += [f"Unknown words: {', '.join(results.words_not_found)}."] if results.words_not_found else []
    return " ".join(remarks)
