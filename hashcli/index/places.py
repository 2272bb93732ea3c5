"""Where photos were taken: places as they are stored and asked for, and distances between them."""

import re
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from hashcli.errors import HashcliError

if TYPE_CHECKING:
    import numpy as np

UNITS = 10_000_000  # a stored degree: one unit is a centimetre
EARTH_RADIUS = 6_371_008.8  # metres, the mean of the ellipsoid (IUGG)
_DEFAULT_RADIUS = 10_000.0  # metres
_METRES = {"": 1000.0, "km": 1000.0, "m": 1.0}
_NUMBER = r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*"
_NEAR = re.compile(rf"(?:geo:)?{_NUMBER},{_NUMBER}(?:,{_NUMBER}(km|m|)\s*)?", re.ASCII | re.IGNORECASE)


class Place(NamedTuple):
    """A place in degrees; north and east are positive."""

    latitude: float
    longitude: float

    @classmethod
    def of(cls, latitude: float, longitude: float) -> "Place | None":
        """The place that metadata gives; None for numbers that are none, and for 0, 0, which programs and cameras write
        that do not know it."""
        is_place = _is_on_earth(latitude, longitude) and (latitude, longitude) != (0, 0)
        return cls(float(latitude), float(longitude)) if is_place else None

    @classmethod
    def from_stored(cls, latitude: int | None, longitude: int | None) -> "Place | None":
        return None if latitude is None or longitude is None else cls(latitude / UNITS, longitude / UNITS)

    def stored(self) -> tuple[int, int]:
        """In ten-millionths of a degree."""
        return round(self.latitude * UNITS), round(self.longitude * UNITS)


class Circle(NamedTuple):
    """All places at most so many metres from a centre."""

    centre: Place
    radius: float

    def holds(self, places: "np.ndarray") -> "np.ndarray":
        """Which of places, int32 [n, 2] as they are stored, lie in it, bool [n]."""
        return distances(places / UNITS, self.centre) <= self.radius


def distances(places: "np.ndarray", centre: Place) -> "np.ndarray":
    """Great-circle distances in metres, float64 [n], of places in degrees, float64 [n, 2], from a centre.

    On a sphere, by the haversine formula, which is exact for near places too; the Earth's flattening makes for at most
    half a per cent.
    """
    import numpy as np

    latitudes, longitudes = np.radians(places).T
    latitude, longitude = np.radians(centre)
    across = np.cos(latitudes) * np.cos(latitude) * np.sin((longitudes - longitude) / 2) ** 2
    haversines = np.sin((latitudes - latitude) / 2) ** 2 + across
    return np.asarray(2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(haversines, 0, 1))))


def circle(near: str | Sequence[float]) -> Circle:
    """What is near a place: latitude and longitude in degrees, and how far around it, in kilometres; 10 by default.

    As numbers, or as a text such as "48.86,2.35", "48.86,2.35,2.5km" or "48.86,2.35,500m". Raises HashcliError for what
    is no place.
    """
    if isinstance(near, str):
        found = _NEAR.fullmatch(near.strip())
        given = [float(number) for number in found.groups()[:3] if number] if found else []
        unit = _METRES[(found[4] or "").lower()] if found else 1.0
    else:
        given, unit = _numbers(near), 1000.0
    shown = near if isinstance(near, str) else ",".join(map(str, given)) or repr(near)
    if len(given) not in (2, 3) or not _is_on_earth(given[0], given[1]):
        raise HashcliError(
            f"near {shown} is not a place.",
            "Give its latitude and longitude in degrees, and how far around it: 48.86,2.35,10km",
        )
    radius = given[2] * unit if len(given) == 3 else _DEFAULT_RADIUS
    if not (isfinite(radius) and radius > 0):
        raise HashcliError(f"near {shown}: the distance must be above 0.", "For example: 48.86,2.35,10km")
    return Circle(Place(given[0], given[1]), radius)


def _numbers(given: Sequence[float]) -> list[float]:
    """The numbers; none if one of them is something else."""
    try:
        return [float(number) for number in given]
    except (TypeError, ValueError):
        return []


def _is_on_earth(latitude: float, longitude: float) -> bool:
    return abs(latitude) <= 90 and abs(longitude) <= 180  # false for what is not a number
