import time
from collections.abc import Iterator
from threading import Lock

import pytest

from hashcli.hashmodel.prefetch import batched, prefetch


def test_order_is_kept_and_a_failure_takes_its_place() -> None:
    def halve(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        if number == 5:
            raise ValueError("five")
        return number // 2

    done = list(prefetch(halve, range(20), look_ahead=6))
    assert [item for item, _ in done] == list(range(20))
    assert [result for item, result in done if item != 5] == [i // 2 for i in range(20) if i != 5]
    assert str(done[5][1]) == "five"


def test_a_panic_of_a_decoder_costs_its_item_only() -> None:
    class PanicError(BaseException):  # as decoders written in Rust raise it
        pass

    def work(number: int) -> int:
        if number == 1:
            raise PanicError("index out of bounds")
        return number

    results = [result for _, result in prefetch(work, range(3), look_ahead=2)]
    assert results[::2] == [0, 2]
    assert isinstance(results[1], Exception)
    assert str(results[1]) == "index out of bounds"


def test_no_more_is_begun_than_the_look_ahead_allows() -> None:
    taken = 0
    lock = Lock()

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(100):
            with lock:
                taken += 1
            yield item

    for used, _ in enumerate(prefetch(lambda item: item, items(), look_ahead=8)):
        assert taken <= used + 1 + 8


def test_stopping_early_stops_the_work() -> None:
    begun = 0

    def work(item: int) -> int:
        nonlocal begun
        begun += 1
        time.sleep(0.005)
        return item

    results = prefetch(work, range(1000), look_ahead=4)
    next(results)
    results.close()  # type: ignore[attr-defined]
    time.sleep(0.05)
    assert begun <= 8


@pytest.mark.parametrize(("size", "sizes"), [(4, [4, 4, 2]), (5, [5, 5]), (20, [10])])
def test_in_batches(size: int, sizes: list[int]) -> None:
    batches = list(batched(range(10), size))
    assert [len(batch) for batch in batches] == sizes
    assert [item for batch in batches for item in batch] == list(range(10))
