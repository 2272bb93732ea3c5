"""Pixels of every mode and colour profile as RGB in sRGB, 8 bits each, on a background that shows them."""

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageStat

from hashcli.hashmodel import icc

CODE_POINTS = "hashcli_cicp"  # the content of a PNG's cICP, in the `info` of an image

_MOST_PROFILE = 4 << 20  # bytes: those of printers have up to 3 MB
_SAME = 4  # grey levels: the many profiles of sRGB itself differ by less from each other
SENSOR_BITS = (10, 12, 14)  # of cameras, scanners and microscopes, which store them in 16
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of Pillow, by the colour space of a profile
_LIGHT = 192  # grey levels: what is lighter on average is hard to see on white
_MOSTLY = 0.9

_INTEROPERABILITY_INDEX = 1  # of EXIF; "R03" is Adobe RGB


def plain(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB or, with transparent parts, RGBA; as CMYK if it carries a profile for it."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode == mode or (image.mode == "CMYK" and profile_transform(image.info.get("icc_profile"), "CMYK")):
        return image
    return image.convert(mode)


def in_srgb(image: Image.Image, source: Image.Image) -> Image.Image:
    """What `plain` gave for `source`, at any size, in sRGB. A profile that is damaged or does not fit is ignored."""
    profile = _profile_of(source)
    is_grey = source.mode in ("1", "L", "LA") or source.mode.startswith("I")
    for mode in {"CMYK": ("CMYK",), "LAB": ()}.get(source.mode, ("RGB", "L") if is_grey else ("RGB",)):
        transform = profile_transform(profile, mode)
        if transform is not None:
            colours = ImageCms.applyTransform(image.convert(mode), transform)
            assert colours is not None
            if image.mode == "RGBA":
                colours.putalpha(image.getchannel("A"))
            return colours
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")


def profile_transform(profile: object, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a colour profile to sRGB for images of `mode`; None if that changes nothing or the profile is unusable."""
    if not isinstance(profile, bytes) or not 128 < len(profile) <= _MOST_PROFILE:
        return None
    return _transform(profile, mode)


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        if _MODES.get(opened.profile.xcolor_space.strip()) != mode:
            return None
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(opened, srgb, mode, "RGB", _INTENT)
        if mode == "CMYK":
            return transform
        ramp = np.arange(0, 256, 15).astype(np.uint8)
        axes = np.meshgrid(*[ramp] * (3 if mode == "RGB" else 1))
        colours = Image.fromarray(np.stack(axes, -1).reshape(1, -1, 3) if mode == "RGB" else ramp[None])
        shown = ImageCms.applyTransform(colours, transform)
        differences = np.asarray(shown, int) - np.asarray(colours.convert("RGB"), int)
    except Exception:  # the library raises nearly anything for a damaged profile, and the picture may be fine
        return None
    return None if np.abs(differences).max() <= _SAME else transform


def on_background(image: Image.Image) -> Image.Image:
    """RGBA on white, or on black if it is mostly transparent and what can be seen would not stand out from white."""
    if image.mode != "RGBA":
        return image
    alpha = image.getchannel("A")
    background = "white"
    if ImageStat.Stat(alpha).mean[0] < 255 * _MOSTLY:
        weights = np.asarray(alpha, np.float64)
        seen = np.asarray(image.convert("RGB").convert("L"))
        if (seen * weights).sum() > _LIGHT * weights.sum():
            background = "black"
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")


def _profile_of(image: Image.Image) -> object:
    """The profile in an image or, for a PNG that says in other ways what its colours mean, one that is made of these.

    Which of them counts is as in the PNG specification (third edition, table 1).
    """
    info = image.info
    profile = icc.of_code_points(info[CODE_POINTS]) if CODE_POINTS in info else None
    profile = profile or info.get("icc_profile") or (icc.adobe_rgb() if _is_adobe_rgb(image) else None)
    if profile is None and image.format == "PNG" and "srgb" not in info and info.keys() & {"gamma", "chromaticity"}:
        profile = icc.of_gamma(info.get("gamma"), info.get("chromaticity"))
    return profile


def _is_adobe_rgb(image: Image.Image) -> bool:
    if "exif" not in image.info:
        return False
    try:
        return str(image.getexif().get_ifd(ExifTags.IFD.Interop).get(_INTEROPERABILITY_INDEX, "")).startswith("R03")
    except Exception:  # the picture may be fine even where its EXIF is damaged
        return False


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    """Grey values of 16 or 32 bits as uint8: Pillow's own conversion cuts everything above 255 to white.

    Integers of 16 bits are scaled by the range in use if it is that of a sensor of fewer bits, floats to 1 by 255.
    """
    finite = values if values.dtype.kind in "iu" else values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    is_whole = values.dtype.kind in "iu"
    if low >= 0 and high <= 255 and (is_whole or high > 1):
        return np.asarray(np.nan_to_num(values).clip(0, 255), np.uint8)
    if low >= 0 and is_whole and high <= 65535:
        most = next((2**bits - 1 for bits in SENSOR_BITS if high < 2**bits), 0)
        scaled = values.astype(np.uint32) * 255 // most if most else values // 257
        return np.asarray(scaled, np.uint8)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    stretched = (values.astype(np.float64) - low) * (255 / max(high - low, 1e-12))
    return np.asarray(np.nan_to_num(stretched).clip(0, 255), np.uint8)
