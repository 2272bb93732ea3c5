"""The rules of the grid, in process: what keys do, and that typing never waits."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

pytest.importorskip("textual")

from textual.worker import WorkerFailed

from hashcli.errors import HashcliError
from hashcli.index.query import Query
from hashcli.index.results import SearchResult, SearchResults, WhyNone
from hashcli.show.grid import Cell, Drawing, PhotoGrid, Search
from tests.conftest import SKIMAGE

PHOTO = SKIMAGE / "chelsea.png"


def results(paths: list[str], query: str = "a cat") -> SearchResults:
    found = tuple(SearchResult(n, "image", path, 60 + n, 256) for n, path in enumerate(paths, 1))
    return SearchResults(Query(query), found)


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Files of which 6 fit on a page of 80 x 24 with pictures, and more without."""
    names = [tmp_path / f"{number:02}.png" for number in range(1, 41)]
    for name in names:
        name.write_bytes(b"")
    return [str(name) for name in names]


def answering(answer: Callable[[str, str | None], SearchResults]) -> Search:
    """A search that is answered at once."""

    def search(words: str, like: str | None) -> "Future[SearchResults]":
        future: Future[SearchResults] = Future()
        try:
            future.set_result(answer(words, like))
        except HashcliError as error:
            future.set_exception(error)
        return future

    return search


def run(
    search: Search,
    steps: Callable[[PhotoGrid, Any], Coroutine[Any, Any, None]],
    words: str = "a cat",
    size: tuple[int, int] = (80, 24),
) -> PhotoGrid:
    """Take some steps in a grid without pictures, of so many columns and lines."""

    async def all_steps() -> PhotoGrid:
        app = PhotoGrid(search, words, "", None)
        async with app.run_test(size=size) as pilot:
            await settled(pilot)
            await steps(app, pilot)
        return app

    return asyncio.run(all_steps())


async def settled(pilot: Any) -> None:
    """Wait until nothing is searched for, loaded or to be drawn any more."""
    await pilot.pause()
    while not all(worker.is_finished for worker in pilot.app.workers):
        await asyncio.sleep(0.01)
    await pilot.pause()


def shown(app: PhotoGrid) -> list[str]:
    return [Path(cell.result.path).stem for cell in app.query(Cell) if cell.result]


def caption(cell: Cell) -> str:
    return str(cell.children[-1].render())


def status(app: PhotoGrid) -> str:
    return str(app.query_one("#status").render())


def test_a_page_has_as_many_results_as_fit_and_arrows_turn_pages(paths: list[str]) -> None:
    async def steps(app: PhotoGrid, pilot: Any) -> None:
        columns, rows = 3, 21 // 3
        assert shown(app) == [f"{n:02}" for n in range(1, columns * rows + 1)]
        await pilot.press("right", "down")
        assert app.pictures.cursor == 1 + columns
        await pilot.press("left", "left")
        assert app.pictures.cursor == columns - 1
        await pilot.press("pagedown")
        assert shown(app)[0] == f"{columns * rows + 1:02}"
        await pilot.press("end")
        assert app.pictures.cursor == 39
        await pilot.press("right", "down")
        assert app.pictures.cursor == 39
        await pilot.press("home")
        assert app.pictures.cursor == 0
        await pilot.resize_terminal(40, 12)
        await settled(pilot)
        assert shown(app) == ["01", "02"]

    run(answering(lambda *_: results(paths)), steps)


def test_down_from_the_last_but_one_row_ends_on_the_last_one_even_if_it_is_shorter(paths: list[str]) -> None:
    async def steps(app: PhotoGrid, pilot: Any) -> None:
        await pilot.press("right", "right", "down")
        assert app.pictures.cursor == 3
        await pilot.press("down")
        assert app.pictures.cursor == 3

    run(answering(lambda *_: results(paths[:4])), steps)


def test_letters_are_text_in_the_line_and_keys_in_the_grid(paths: list[str]) -> None:
    asked: list[str] = []

    def answer(words: str, like: str | None) -> SearchResults:
        asked.append(words)
        return results(paths)

    async def steps(app: PhotoGrid, pilot: Any) -> None:
        assert app.words.has_focus
        await pilot.press(*"my", "space", "q")
        assert app.words.value == "my q"
        await settled(pilot)
        assert asked[-1] == "my q"
        await pilot.press("down", "space", "slash", "/")
        assert app.words.value == "my q/"
        await pilot.press("tab", "space")  # not chosen any more
        assert not app.pictures.chosen
        await pilot.press("up")
        assert app.words.has_focus
        await pilot.press("enter", "y")

    assert run(answering(answer), steps, words="").return_value == paths[:1]


def test_space_chooses_and_y_gives_what_was_chosen_in_that_order(paths: list[str]) -> None:
    async def steps(app: PhotoGrid, pilot: Any) -> None:
        await pilot.press("right", "space", "left", "space", "right", "right", "space", "space")
        assert status(app).startswith("2 selected   3 of 40")
        marked = [
            cell.result.rank for cell in app.query(Cell) if cell.result and "✓" in str(cell.children[-1].render())
        ]
        assert marked == [1, 2]
        await pilot.press("y")

    assert run(answering(lambda *_: results(paths)), steps).return_value == [paths[1], paths[0]]


def test_what_was_chosen_stays_chosen_when_something_else_is_searched_for(paths: list[str]) -> None:
    async def steps(app: PhotoGrid, pilot: Any) -> None:
        await pilot.press("space", "slash", "s")
        await settled(pilot)
        assert "1 selected" in status(app)
        await pilot.press("down", "space", "y")

    def answer(words: str, like: str | None) -> SearchResults:
        return results(paths[:5] if words == "a cat" else paths[5:])

    assert run(answering(answer), steps).return_value == [paths[0], paths[5]]


@pytest.mark.parametrize("keys", [["escape"], ["slash", "escape"], ["q"], ["space", "q"], ["ctrl+q"]])
def test_leaving_gives_nothing(paths: list[str], keys: list[str]) -> None:
    async def steps(app: PhotoGrid, pilot: Any) -> None:
        await pilot.press(*keys)

    app = run(answering(lambda *_: results(paths)), steps)
    assert (app.return_value, app.return_code) == ([], 0)


def test_what_is_gone_is_not_given(paths: list[str]) -> None:
    async def steps(app: PhotoGrid, pilot: Any) -> None:
        await pilot.press("space", "right", "space")
        Path(paths[0]).unlink()
        await pilot.press("end")
        Path(paths[-1]).unlink()
        await pilot.press("space")
        assert "2 selected" in status(app)
        await pilot.press("y")

    assert run(answering(lambda *_: results(paths)), steps).return_value == [paths[1]]


def test_y_without_a_result_does_not_leave() -> None:
    async def steps(app: PhotoGrid, pilot: Any) -> None:
        await pilot.press("y", "space", "enter", "m", "right", "down", "end", "pageup")
        assert "Nothing found: the filter leaves none." in status(app)
        await pilot.press("q")

    run(answering(lambda words, _: SearchResults(Query(words), why_none=WhyNone.FILTERED)), steps)


def test_more_like_this_until_backspace_in_the_empty_line(paths: list[str]) -> None:
    asked: list[tuple[str, str | None]] = []

    def answer(words: str, like: str | None) -> SearchResults:
        asked.append((words, like))
        return results(paths)

    async def steps(app: PhotoGrid, pilot: Any) -> None:
        await pilot.press("right", "m")
        await settled(pilot)
        assert "like 02.png + " in str(app.query_one("#others").render())
        assert not app.words.value
        await pilot.press("slash", "s")
        await settled(pilot)
        await pilot.press("backspace")
        await settled(pilot)
        await pilot.press("backspace")
        await settled(pilot)
        assert not shown(app)

    run(answering(answer), steps)
    assert asked == [("a cat", None), ("", paths[1]), ("s", paths[1]), ("", paths[1])]


def test_an_error_of_a_query_is_said_and_the_grid_stays(paths: list[str]) -> None:
    def answer(words: str, like: str | None) -> SearchResults:
        if words.endswith("s"):
            raise HashcliError("This cannot be searched for.")
        return results(paths)

    async def steps(app: PhotoGrid, pilot: Any) -> None:
        await pilot.press("slash", "s")
        await settled(pilot)
        assert "This cannot be searched for." in status(app)
        assert not shown(app)
        await pilot.press("backspace")
        await settled(pilot)
        assert shown(app)
        assert "cannot" not in status(app)

    run(answering(answer), steps)


def test_typing_goes_on_while_a_search_takes_its_time_and_its_late_answer_is_dropped(paths: list[str]) -> None:
    asked: list[str] = []
    may_answer, has_begun = Event(), Event()

    def answer(words: str) -> SearchResults:
        asked.append(words)
        if words == "a cat":
            has_begun.set()
            assert may_answer.wait(60)
            return results(paths[:1])
        return results(paths[1:2])

    async def steps() -> None:
        with ThreadPoolExecutor(1) as thread:
            app = PhotoGrid(lambda words, _: thread.submit(answer, words), "a cat", "", None)
            async with app.run_test() as pilot:
                await asyncio.to_thread(has_begun.wait, 60)
                await pilot.press("slash", *" on a mat")
                assert app.words.value == "a cat on a mat"
                await asyncio.sleep(0.3)  # so that the next search waits for the thread
                may_answer.set()
                await settled(pilot)
                assert shown(app) == ["02"]
                await pilot.press("escape")

    asyncio.run(steps())
    assert asked == ["a cat", "a cat on a mat"]  # and none in between


def test_only_pictures_on_the_page_are_decoded(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("textual_image")
    from textual_image.widget import HalfcellImage

    import hashcli.show.grid as module
    from hashcli.hashmodel.images import load_thumbnail

    decoded: list[str] = []

    def load(result: SearchResult, side: int) -> Any:
        assert side == 640  # for 26 columns on a fine screen
        decoded.append(Path(result.path).stem)
        if result.rank == 2:
            raise OSError("broken")
        return load_thumbnail(PHOTO, 64)

    async def steps() -> None:
        app = PhotoGrid(answering(lambda *_: results(paths)), "a cat", "", Drawing(HalfcellImage, 20))
        async with app.run_test(size=(80, 24)) as pilot:
            await settled(pilot)
            await settled(pilot)
            assert sorted(decoded) == shown(app) == ["01", "02", "03", "04", "05", "06"]
            second = list(app.query(Cell))[1]
            assert "(cannot be shown)" in caption(second)
            await pilot.press("right", "space", "down")
            await settled(pilot)
            assert len(decoded) == 6
            await pilot.press("down")
            await settled(pilot)
            assert sorted(decoded[6:]) == ["07", "08", "09", "10", "11", "12"]

    monkeypatch.setattr(module, "load_picture", load)
    asyncio.run(steps())


def test_what_should_not_happen_ends_the_grid_with_its_error() -> None:
    def search(words: str, like: str | None) -> "Future[SearchResults]":
        future: Future[SearchResults] = Future()
        future.set_exception(ZeroDivisionError("of all things"))
        return future

    async def nothing(app: PhotoGrid, pilot: Any) -> None:
        pass

    with pytest.raises(WorkerFailed, match="of all things"):
        run(search, nothing)
