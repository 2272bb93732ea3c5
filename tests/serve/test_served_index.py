"""An index as the server uses it: what its threads share."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from starlette.datastructures import QueryParams

from hashcli.serve.parameters import read_parameters
from hashcli.serve.served_index import ServedIndex


class Interrupted(OrderedDict[Any, Any]):
    """Lets another thread at it after its first change, as far as that may."""

    another: Callable[[], Any] | None = None

    def __setitem__(self, key: object, value: object) -> None:
        super().__setitem__(key, value)
        if another := self.another:
            self.another = None
            another()


def test_answers_are_kept_by_several_threads_at_once(tmp_path: Path) -> None:
    asked = [read_parameters(QueryParams({"text": f"a dog {number}"}))[0] for number in range(17)]
    searched: Any = SimpleNamespace(catalog=SimpleNamespace(generation=1), search=lambda query, **_: query.name)

    def answer(number: int) -> object:
        searched.catalog.generation += 1  # so that each is searched again
        return served._found(searched, asked[number], [], [])

    with ThreadPoolExecutor(1) as decoders, ThreadPoolExecutor(1) as thread:
        served = ServedIndex(tmp_path, "album", 0, decoders)
        served._answers = kept = Interrupted()
        for number in range(16):
            answer(number)
        kept.another = lambda: wait([thread.submit(answer, 16)], timeout=0.5)  # which takes the place of the first
        assert answer(0) == "a dog 0"
        served.close()
    assert len(kept) == 16
