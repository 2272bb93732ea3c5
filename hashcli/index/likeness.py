"""Whether two pictures are the same, whatever was done to one of them: made smaller, compressed, brightened, cropped by
a little, turned by a degree, made grey, or captioned.

1. The key of a picture, 128 signs of its lowest frequencies, finds pairs that may be the same.
2. Such a pair is aligned, and compared block by block. Different shots of one scene disagree in some blocks.

A picture with little structure has no key: there are too many that look like it.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from hashcli.index.near_codes import near_pairs

SIDE = 96  # pixels of a look, in each direction
_KEY_BYTES = 16
_KEY_RADIUS = 24  # bits of 128
_KEY_SIDE = 32
_FREQUENCIES = 16  # those whose two numbers add up to less
_CROPS = (  # left, top, right and bottom edges, as shares of the whole, of what a copy may have been cropped to
    (0.0, 0.0, 1.0, 1.0),
    (0.025, 0.025, 0.975, 0.975),
    (0.05, 0.05, 0.95, 0.95),
    (0.05, 0.0, 1.0, 1.0),
    (0.0, 0.05, 1.0, 1.0),
    (0.0, 0.0, 0.95, 1.0),
    (0.0, 0.0, 1.0, 0.95),
)
_PARTS = ((0.0, 0.0, 1.0, 0.75), (0.0, 0.25, 1.0, 1.0))  # what no caption at the bottom, or at the top, hides
KEYS_SHAPE = (len(_CROPS) + len(_PARTS), _KEY_BYTES)

_BLOCK = 12  # pixels of a look
_STRUCTURE = 4.0  # grey levels that a block must deviate from its mean, to show anything
_DETAIL = 3.0  # the same for what is left without the means of its rows and columns: lines of text are the same lines
_MIN_BLOCKS = 6  # of structure, and of detail
_SAME_STRUCTURE = 0.8  # correlation of two blocks
_SAME_DETAIL = 0.7
_AGREEING = 0.85  # of the blocks: those at the edges may differ, where a turned or cropped copy lacks something
_CAPTION_ROWS = 2  # of blocks, at the top or the bottom
_MAX_MOVED = 0.2  # half widths of the picture
_MAX_CONTRAST = 3.0  # times that of the other
_SAME_COLOUR = 12.0  # levels of Cb and Cr
_GREY = 3.0
_LEVELS = ((4, 5), (2, 4))  # how many times smaller, and how many steps, of the alignment
_CORNERS = ((0.05, 0.05, 1.0, 1.0), (0.0, 0.05, 0.95, 1.0), (0.05, 0.0, 1.0, 0.95), (0.0, 0.0, 0.95, 0.95))


@dataclass(frozen=True, eq=False)
class Look:
    """A picture at a small size: grey float32 [96, 96], and the colours Cb and Cr of its blocks, float32 [8, 8, 2]."""

    grey: np.ndarray
    colours: np.ndarray


def look_of(pixels: np.ndarray) -> Look:
    """From RGB uint8 [96, 96, 3]."""
    values = pixels.astype(np.float32)
    grey = values @ np.array([0.299, 0.587, 0.114], np.float32)
    means = _blocks(values).mean((2, 3))
    luma = means @ np.array([0.299, 0.587, 0.114], np.float32)
    return Look(grey, np.stack([0.564 * (means[..., 2] - luma), 0.713 * (means[..., 0] - luma)], -1))


def keys_of(look: Look) -> np.ndarray | None:
    """The keys of a picture, of its crops and of its parts, uint8 [9, 16]; None if it shows too little."""
    structure, detail = _deviations(_smooth(look.grey))
    if (structure[1] > _STRUCTURE).sum() < _MIN_BLOCKS or (detail[1] > _DETAIL).sum() < _MIN_BLOCKS:
        return None
    coefficients = np.stack([rows @ look.grey @ columns.T for rows, columns in _transforms()])
    low = np.add.outer(np.arange(_FREQUENCIES), np.arange(_FREQUENCIES))
    signs = coefficients[:, (low > 0) & (low < _FREQUENCIES)][:, : 8 * _KEY_BYTES] > 0
    return np.packbits(signs, axis=1)


@cache
def _transforms() -> list[tuple[np.ndarray, np.ndarray]]:
    """For each crop the matrices that resize 96 rows and columns to 32 and take their cosine transform (DCT-II)."""
    places = np.pi * (2 * np.arange(_KEY_SIDE) + 1) / (2 * _KEY_SIDE)
    cosines = np.cos(np.arange(_FREQUENCIES)[:, None] * places).astype(np.float32)

    def means(begin: float, end: float) -> np.ndarray:
        """Each row takes the mean of its share of the pixels from `begin` to `end`."""
        edges = np.linspace(begin, end, _KEY_SIDE + 1)[:, None] * SIDE
        shares = np.clip(edges[1:] - np.arange(SIDE), 0, 1) - np.clip(edges[:-1] - np.arange(SIDE), 0, 1)
        return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)

    return [
        (cosines @ means(top, bottom), cosines @ means(left, right)) for left, top, right, bottom in _CROPS + _PARTS
    ]


def alike_by_keys(keys: np.ndarray) -> np.ndarray:
    """Pairs int64 [p, 2] of pictures whose keys [n, 9, 16] are near: of the wholes, of one and a crop, or of a part."""
    crops = len(_CROPS)
    found = [near_pairs(np.ascontiguousarray(keys[:, 0]), _KEY_RADIUS, keys[:, :crops])]
    for part in range(crops, crops + len(_PARTS)):
        found.append(near_pairs(np.ascontiguousarray(keys[:, part]), _KEY_RADIUS, keys[:, part : part + 1]))
    return np.unique(np.concatenate(found), axis=0)


def same_picture(first: Look, second: Look) -> bool:
    """Whether two looks show the same picture: as they lie, but for a caption, or after one is aligned to the other."""
    unmoved = np.zeros(6)
    if _agree(first, second, unmoved, may_have_caption=True):
        return True
    moved = _alignment(first.grey, second.grey)
    return moved is not None and _agree(first, second, moved, may_have_caption=False)


def _agree(first: Look, second: Look, moved: np.ndarray, *, may_have_caption: bool) -> bool:
    """Whether nearly all blocks that show anything agree, and there are enough of them.

    A caption may hide the upper or lower rows of blocks, but the others must then agree but for one.
    """
    x, y, inside = _places(moved, SIDE)
    ours, theirs = _smooth(first.grey), _smooth(_sampled(second.grey, x, y))
    is_whole = _blocks(inside).mean((2, 3)) > 0.95
    if is_whole.mean() < 0.5 or not _same_colours(first, second, is_whole):
        return False
    contrast = ours[inside].std() / max(theirs[inside].std(), 1e-3)
    if not 1 / _MAX_CONTRAST < contrast < _MAX_CONTRAST:
        return False
    (ours_structure, ours_detail), (theirs_structure, theirs_detail) = _deviations(ours), _deviations(theirs)
    structure, is_structure = _correlation(ours_structure, theirs_structure, _STRUCTURE)
    detail, is_detail = _correlation(ours_detail, theirs_detail, _DETAIL)
    tests = [
        (structure > _SAME_STRUCTURE, is_structure & is_whole),
        (detail > _SAME_DETAIL, is_detail & is_whole),
    ]
    if all(_nearly_all_agree(agrees, counts) for agrees, counts in tests):
        return True
    return may_have_caption and any(
        all(_all_agree_but_one(agrees[rows], counts[rows]) for agrees, counts in tests)
        for rows in (slice(_CAPTION_ROWS, None), slice(None, -_CAPTION_ROWS))
    )


def _nearly_all_agree(agrees: np.ndarray, counts: np.ndarray) -> bool:
    """Whether of the blocks that count most agree, and all but one of those that are not at the edges."""
    differ = counts & ~agrees
    return bool(
        counts.sum() >= _MIN_BLOCKS and differ.sum() <= (1 - _AGREEING) * counts.sum() and differ[1:-1, 1:-1].sum() <= 1
    )


def _all_agree_but_one(agrees: np.ndarray, counts: np.ndarray) -> bool:
    return bool(counts.sum() >= _MIN_BLOCKS and (counts & ~agrees).sum() <= 1)


def _same_colours(first: Look, second: Look, is_whole: np.ndarray) -> bool:
    """Whether most blocks have the same colour, or one of the two pictures has no colours at all."""
    ours, theirs = (look.colours[is_whole] for look in (first, second))
    if min(np.abs(ours).mean(), np.abs(theirs).mean()) < _GREY:
        return True
    return bool(np.quantile(np.abs(ours - theirs).max(1), 0.75) < _SAME_COLOUR)


def _deviations(grey: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Blocks [8, 8, 12, 12] less their means, and less those of their rows and columns, each with deviations [8, 8]."""
    blocks = _blocks(grey)
    structure = blocks - blocks.mean((2, 3), keepdims=True)
    detail = structure - structure.mean(2, keepdims=True) - structure.mean(3, keepdims=True)
    return (structure, structure.std((2, 3))), (detail, np.sqrt((detail**2).mean((2, 3))))


def _correlation(
    ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray], least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Correlations [8, 8] of the blocks, and whether one of the two deviates by more than `least`."""
    (our_blocks, our_deviations), (their_blocks, their_deviations) = ours, theirs
    product = np.maximum(our_deviations * their_deviations, 1e-6)
    return (our_blocks * their_blocks).mean((2, 3)) / product, np.maximum(our_deviations, their_deviations) > least


def _blocks(values: np.ndarray) -> np.ndarray:
    """A view of [96, 96, ...] as [8, 8, 12, 12, ...]."""
    count = SIDE // _BLOCK
    return values.reshape(count, _BLOCK, count, _BLOCK, *values.shape[2:]).swapaxes(1, 2)


def _smooth(grey: np.ndarray) -> np.ndarray:
    """Weights 1, 2, 1 in both directions, so that a fraction of a pixel and the noise of JPEG matter less."""
    for _ in range(2):
        padded = np.pad(grey, ((1, 1), (0, 0)), mode="edge")
        grey = ((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4).T
    return grey


def _places(moved: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the pixels of one picture lie in another, x and y [side, side], and whether they are inside.

    `moved` are the six numbers of an affine map of places from -1 to 1, less the identity.
    """
    x, y = _grid(side)
    right = (x + moved[0] + moved[1] * x + moved[2] * y + 1) / 2 * side - 0.5
    down = (y + moved[3] + moved[4] * x + moved[5] * y + 1) / 2 * side - 0.5
    inside = (np.minimum(right, down) >= -0.5) & (np.maximum(right, down) <= side - 0.5)
    return right.clip(0, side - 1), down.clip(0, side - 1), inside


@cache
def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    centres = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(centres, centres)
    return x, y


def _sampled(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values [side, side] between pixels, by bilinear interpolation."""
    left, top = (np.minimum(place.astype(int), len(values) - 2) for place in (x, y))
    right, down = x - left, y - top
    upper = values[top, left] * (1 - right) + values[top, left + 1] * right
    lower = values[top + 1, left] * (1 - right) + values[top + 1, left + 1] * right
    return np.asarray(upper * (1 - down) + lower * down)


@cache
def _starts() -> list[np.ndarray]:
    """Where an alignment may start, as maps in `_places`: the pictures lie alike, or one is a crop of the other."""
    starts = []
    for left, top, right, bottom in _CROPS + _CORNERS:
        width, height = right - left, bottom - top
        starts.append(np.array([left + right - 1, width - 1, 0, top + bottom - 1, 0, height - 1]))
        starts.append(
            np.array([(1 - left - right) / width, 1 / width - 1, 0, (1 - top - bottom) / height, 0, 1 / height - 1])
        )
    return starts[1:]  # of the whole, both are the same


def _best_start(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The start after which two grey pictures correlate most, in a quarter of their size."""
    ours, theirs = (_smaller(grey, 4) for grey in (first, second))

    def correlation(start: np.ndarray) -> float:
        x, y, inside = _places(start, len(ours))
        our, their = ours[inside] - ours[inside].mean(), _sampled(theirs, x, y)[inside]
        their = their - their.mean()
        return float(our @ their / np.sqrt(max((our @ our) * (their @ their), 1e-6)))

    return max(_starts(), key=correlation)


def _smaller(grey: np.ndarray, factor: int) -> np.ndarray:
    side = len(grey) // factor
    return np.asarray(grey.reshape(side, factor, side, factor).mean((1, 3)))


def _alignment(first: np.ndarray, second: np.ndarray) -> np.ndarray | None:
    """The affine map, as in `_places`, that brings the second grey picture onto the first; None if there is none near.

    Gauss-Newton steps from coarse to fine (Baker & Matthews, "Lucas-Kanade 20 Years On", IJCV 2004, section 2), with
    gain and offset as two more unknowns, and weights that leave out what differs.
    """
    moved = _best_start(first, second)
    for factor, steps in _LEVELS:
        ours, theirs = (_smaller(grey, factor) for grey in (first, second))
        side = len(ours)
        slope_y, slope_x = (slope * (side / 2) for slope in np.gradient(theirs))
        grid_x, grid_y = _grid(side)
        for _ in range(steps):
            x, y, inside = _places(moved, side)
            warped, across, down = (_sampled(values, x, y) for values in (theirs, slope_x, slope_y))
            weights = _weights(ours[inside], warped[inside])
            columns = (across, across * grid_x, across * grid_y, down, down * grid_x, down * grid_y, warped)
            unknowns = np.stack([column[inside] for column in columns] + [np.ones(inside.sum())], 1)
            weighted = unknowns * weights[:, None]
            normal = weighted.T @ unknowns + 1e-3 * len(unknowns) * np.eye(8)
            solution = np.linalg.solve(normal, weighted.T @ ours[inside])
            gain = solution[6]
            if abs(gain) < 1 / _MAX_CONTRAST / 2:
                return None
            step = (solution[:6] / gain).clip(-_MAX_MOVED, _MAX_MOVED)
            moved = moved + step
            if np.abs(moved).max() > 2 * _MAX_MOVED:
                return None
            if np.abs(step).max() < 5e-4:
                break
    return moved if np.abs(moved).max() <= _MAX_MOVED else None


def _weights(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """How far to trust each pixel, when the second is fitted to the first by a line: less where they differ."""
    weights = np.ones(len(ours))
    for _ in range(4):
        total = max(weights.sum(), 1e-6)
        our, their = ours - weights @ ours / total, theirs - weights @ theirs / total
        gain = (weights * their) @ our / max(weights @ their**2, 1e-6)
        residuals = np.abs(our - gain * their)
        scale = max(1.4826 * float(np.median(residuals)), 2.0)  # of the deviation, and at least the noise
        weights = 1 / (1 + (residuals / (2 * scale)) ** 2) ** 2
    return weights
