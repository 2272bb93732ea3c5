"""How far away an answer may be."""

from typing import NamedTuple


class DistanceLimit(NamedTuple):
    """How far away an answer may be, in bits. Without either bound, it may be at any distance.

    `max_distance` bounds the Hamming distance itself, `within` how much larger it may be than that of the nearest item.

        index.search("a cat", limit=DistanceLimit(max_distance=100))
        index.search("a cat", limit=DistanceLimit())  # however far away
    """

    max_distance: int | None = None
    within: int | None = None

    def largest(self, nearest: int) -> int | None:
        """The largest distance an answer may have, given that of the nearest item; None if there is no bound."""
        bounds = [self.max_distance, None if self.within is None else nearest + self.within]
        return min((bound for bound in bounds if bound is not None), default=None)
