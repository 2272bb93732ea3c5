"""Results computed in threads before they are needed, for a bounded number of items."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    work: Callable[[Item], Result], items: Iterable[Item], look_ahead: int
) -> Iterator[tuple[Item, Result | Exception]]:
    """Yield (item, work(item)) in the order of `items`, with at most `look_ahead` results begun or waiting.

    An exception from `work` is yielded in place of its result, so that one bad item never stops the rest.
    """
    items = iter(items)
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    begun: deque[tuple[Item, Future[Result]]] = deque()
    try:
        begun.extend((item, pool.submit(work, item)) for item in islice(items, look_ahead))
        while begun:
            item, future = begun.popleft()
            error = future.exception()
            for following in islice(items, 1):
                begun.append((following, pool.submit(work, following)))
            if error is None:
                yield item, future.result()
            elif isinstance(error, Exception):
                yield item, error
            else:  # a panic in a decoder written in Rust, which is no Exception
                yield item, RuntimeError(str(error) or type(error).__name__)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch
