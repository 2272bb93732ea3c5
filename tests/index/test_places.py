"""Places as people write them, and distances on the globe, against another formula."""

from typing import Any

import numpy as np
import pytest

from hashcli import Filter, HashcliError
from hashcli.index.places import UNITS, Circle, Place, circle, distances

PARIS, ROME, SYDNEY = Place(48.8566, 2.3522), Place(41.9028, 12.4964), Place(-33.8688, 151.2093)


def by_vectors(one: Place, other: Place) -> float:
    """The angle between two points as vectors, times the radius."""

    def vector(place: Place) -> np.ndarray:
        latitude, longitude = np.radians(place)
        return np.array([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])

    a, b = vector(one), vector(other)
    return float(6_371_008.8 * np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b))


def test_distances_agree_with_another_formula() -> None:
    rng = np.random.default_rng(3)
    places = [Place(*rng.uniform((-90, -180), (90, 180))) for _ in range(200)]
    places += [Place(90, 0), Place(90, 77), Place(-90, 5), Place(0, 180), Place(0, -180), Place(0, 179.9999), PARIS]
    places += [Place(PARIS.latitude + 1e-6, PARIS.longitude), Place(-PARIS.latitude, PARIS.longitude - 180)]
    for centre in [PARIS, SYDNEY, Place(0, -179.9999), Place(90, 12), Place(-89.9999, 100), Place(0, 0)]:
        expected = [by_vectors(place, centre) for place in places]
        np.testing.assert_allclose(distances(np.array(places), centre), expected, rtol=1e-7, atol=0.01)


def test_known_distances() -> None:
    (found,) = distances(np.array([ROME]), PARIS)
    assert found == pytest.approx(1_106_000, rel=0.005)
    assert distances(np.array([[0, -179.99]]), Place(0, 179.99))[0] == pytest.approx(2224, rel=0.001)  # the date line
    assert distances(np.array([[89.99, 180]]), Place(89.99, 0))[0] == pytest.approx(2224, rel=0.001)  # over the pole
    assert distances(np.array([[90, 120.0]]), Place(90, 0))[0] == pytest.approx(0, abs=1e-3)


def test_a_circle_holds_stored_places() -> None:
    places = np.array([place.stored() for place in (PARIS, ROME, SYDNEY)], np.int32)
    assert circle("48.86,2.35").holds(places).tolist() == [True, False, False]
    assert circle("48.86,2.35,1200km").holds(places).tolist() == [True, True, False]
    assert circle("48.86,2.35,20100km").holds(places).all()
    assert Place.from_stored(*(round(degrees * UNITS) for degrees in ROME)) == ROME


@pytest.mark.parametrize(
    ("near", "radius"),
    [
        ("48.86,2.35", 10_000),
        ("48.86,2.35,10km", 10_000),
        (" 48.86 , 2.35 , 2.5 KM ", 2500),
        ("48.86,2.35,500m", 500),
        ("48.86,2.35,3", 3000),
        ("geo:48.86,2.35", 10_000),
        ("+48.86,2.35,.5km", 500),
        ((48.86, 2.35), 10_000),
        ([48.86, 2.35, 0.5], 500),
    ],
)
def test_ways_to_give_a_place(near: Any, radius: float) -> None:
    assert circle(near) == Circle(Place(48.86, 2.35), radius)
    assert Filter(near=near).compiled().near == Circle(Place(48.86, 2.35), radius)


@pytest.mark.parametrize(
    "near",
    [
        *("", "Paris", "91,2", "48,181", "48", "48,2,3,4", "48,2,5miles", "nan,2", "1e1,2", "48;2", "\u0664\u0668,2"),
        *(
            "48,2,0km",
            "48,2,-5km",
            (48,),
            (float("nan"), 2),
            ("a", "b"),
            (48, None),
            5,
            (48, 2, 0),
            (48, 2, float("inf")),
        ),
    ],
)
def test_what_is_no_place_is_an_error(near: Any) -> None:
    with pytest.raises(HashcliError, match=r"is not a place|must be above 0") as raised:
        Filter(near=near)
    assert "48.86,2.35,10km" in raised.value.remedy


def test_numbers_that_are_no_place() -> None:
    nan = float("nan")
    for latitude, longitude in [(91, 2), (2, 181), (nan, 2), (2, nan), (float("inf"), 2), (0, 0), (0.0, -0.0)]:
        assert Place.of(latitude, longitude) is None
    assert Place.of(0, 5) == (0, 5)
    assert Place.of(-90, 180) == (-90, 180)
