"""What EXIF proves about two photos: that they were taken one after the other, or with other settings.

A copy keeps the EXIF of its original or has none, so what only one of the two has proves nothing.
"""

import math
from contextlib import suppress
from fractions import Fraction

from PIL import ExifTags, Image

_Value = str | float

_TEXTS = (ExifTags.Base.DateTimeOriginal, ExifTags.Base.SubsecTimeOriginal, ExifTags.Base.ImageUniqueID)
_NUMBERS = (
    ExifTags.Base.ExposureTime,
    ExifTags.Base.ExposureBiasValue,
    ExifTags.Base.ISOSpeedRatings,
    ExifTags.Base.FNumber,
    ExifTags.Base.FocalLength,
)
_SAME = 0.02  # of a number: programs write the same fraction with other digits


def shot_of(image: Image.Image) -> dict[int, _Value]:
    """What the EXIF of an open image says about the shot, by tag. Damaged EXIF says nothing."""
    shot: dict[int, _Value] = {}
    with suppress(Exception):  # readers of damaged metadata raise nearly anything
        exif = image.getexif().get_ifd(ExifTags.IFD.Exif)
        for tag in _TEXTS:
            text = str(exif.get(tag, "")).strip("\0 ")
            if text.strip("0: "):  # a clock that was never set
                shot[tag] = text.rstrip("0") if tag == ExifTags.Base.SubsecTimeOriginal else text
        for tag in _NUMBERS:
            with suppress(Exception):
                value = exif[tag]
                number = float(Fraction(*value) if isinstance(value, tuple) and len(value) > 1 else value)
                if math.isfinite(number):
                    shot[tag] = number
    return shot


def are_different_shots(first: dict[int, _Value], second: dict[int, _Value]) -> bool:
    """Whether both say something and differ in it: time, number of the picture, exposure, aperture or focal length."""
    for tag in first.keys() & second.keys():
        ours, theirs = first[tag], second[tag]
        if isinstance(ours, str) or isinstance(theirs, str):
            if ours != theirs:
                return True
        elif not math.isclose(ours, theirs, rel_tol=_SAME, abs_tol=1e-9):
            return True
    return False
