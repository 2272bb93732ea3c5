"""Colour profiles for images that say in other ways than by a profile what their colours mean."""

import struct
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

_D50 = np.array((0.9642, 1.0, 0.8249))  # the white of profiles
_BRADFORD = np.array(((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)))
_STEPS = 4096  # of a curve
_D65 = 0.3127, 0.329
_REFERENCE_WHITE = 203  # cd/m²: what is white on paper, in pictures of high dynamic range (ITU-R BT.2408)
_HLG_WHITE = 0.265  # the same in Hybrid Log-Gamma, as a share of the brightest
_USUAL_GAMMA, _ABOUT = 1 / 2.2, 0.02  # of PNGs, which mean sRGB by it


class Primaries(NamedTuple):
    """The chromaticities x and y of white, red, green and blue."""

    white: tuple[float, float]
    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]


_SRGB = Primaries(_D65, (0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
_ADOBE_RGB = Primaries(_D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))


def _from_srgb(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _from_pq(values: np.ndarray) -> np.ndarray:
    """Perceptual Quantizer, after ITU-R BT.2100, table 4."""
    root = values ** (1 / 78.84375)
    return (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125) * (
        10_000 / _REFERENCE_WHITE
    )


def _from_hlg(values: np.ndarray) -> np.ndarray:
    """Hybrid Log-Gamma, after ITU-R BT.2100, table 5, without its adaptation to a display."""
    bright = (np.exp((values - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(values <= 0.5, values**2 / 3, bright) / _HLG_WHITE


# By the code points of ITU-T H.273. Screens show what is coded for television (1, 6, 14 and 15) as they show sRGB.
_CODED_PRIMARIES = {
    1: _SRGB,
    5: Primaries(_D65, (0.64, 0.33), (0.29, 0.6), (0.15, 0.06)),
    6: Primaries(_D65, (0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    9: Primaries(_D65, (0.708, 0.292), (0.17, 0.797), (0.131, 0.046)),
    11: Primaries((0.314, 0.351), (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    12: Primaries(_D65, (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
}
_CODED_CURVES: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys((1, 6, 13, 14, 15), _from_srgb),
    4: lambda values: values**2.2,
    5: lambda values: values**2.8,
    8: lambda values: values,
    16: _from_pq,
    18: _from_hlg,
}


@cache
def adobe_rgb() -> bytes:
    """Adobe RGB (1998), which cameras name in EXIF only."""
    return _profile(_ADOBE_RGB, lambda values: values ** (563 / 256))


@cache
def of_code_points(code_points: bytes) -> bytes | None:
    """From the content of a PNG's cICP; None for what is unknown or not RGB in full range."""
    if len(code_points) != 4 or code_points[2:] != b"\0\1":
        return None
    primaries, curve = _CODED_PRIMARIES.get(code_points[0]), _CODED_CURVES.get(code_points[1])
    return _profile(primaries, curve) if primaries and curve else None


@cache
def of_gamma(gamma: float | None, chromaticities: tuple[float, ...] | None) -> bytes | None:
    """From a PNG's gAMA and cHRM, either of which may be missing; None for what no colours have."""
    exponent = gamma or _USUAL_GAMMA
    if not 0.1 <= exponent <= 5:
        return None
    is_usual = abs(exponent - _USUAL_GAMMA) < _ABOUT
    x_and_y = chromaticities or tuple(number for point in _SRGB for number in point)
    primaries = Primaries(*zip(x_and_y[::2], x_and_y[1::2], strict=True))
    try:
        return _profile(primaries, _from_srgb if is_usual else lambda values: values ** (1 / exponent))
    except (ArithmeticError, ValueError, struct.error):  # LinAlgError is a ValueError
        return None


def _profile(primaries: Primaries, to_linear: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """A profile after ICC.1:2001-04, sections 6.1 (header), 6.2 (table) and 6.5 (types of tags)."""

    def fixed(numbers: np.ndarray) -> bytes:
        return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers.tolist()))

    linear = to_linear(np.linspace(0, 1, _STEPS)).clip(0, 1)
    curve = b"curv\0\0\0\0" + struct.pack(">I", _STEPS) + (linear * 65535).round().astype(">u2").tobytes()
    points = zip((b"rXYZ", b"gXYZ", b"bXYZ"), _under_d50(primaries).T, strict=True)
    tags = {name: b"XYZ \0\0\0\0" + fixed(point) for name, point in (*points, (b"wtpt", _D50))}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    tags |= {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 4) + b"RGB\0" + bytes(78),
        b"cprt": b"text\0\0\0\0-\0\0\0",
    }
    place, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4xI", 128 + len(table + body), 0x02400000) + b"mntrRGB XYZ "
    header += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(_D50)
    return header.ljust(128, b"\0") + table + body


def _under_d50(primaries: Primaries) -> np.ndarray:
    """The primaries as columns of XYZ, by Bradford's adaptation of their white to D50."""
    white, *colours = (np.array((x / y, 1, (1 - x - y) / y)) for x, y in primaries)
    columns = np.stack(colours, axis=1)
    columns = columns * np.linalg.solve(columns, white)
    adapt = np.linalg.solve(_BRADFORD, np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD)
    under_d50: np.ndarray = adapt @ columns
    return under_d50
