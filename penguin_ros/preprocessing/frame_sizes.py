# SPDX-License-Identifier: Apache-2.0
"""How large the model sees a frame, in pixels, from sizes, types and numbers of tokens.

One visual token covers factor x factor pixels, factor = patch_size * merge_size; every size is a
multiple of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from penguin_ros.frame import FrameType

Size = tuple[int, int]
"""(height, width) in pixels."""

KEY_TO_INTERMEDIATE = 16.0
"""Area of a key frame over that of an intermediate one, when the budget is short."""


def tokens_of(size: Size, factor: int) -> int:
    """Returns the visual tokens of a frame of `size`, a multiple of `factor`."""
    return (size[0] // factor) * (size[1] // factor)


def frame_sizes(
    raw_size: Size,
    types: Sequence[FrameType],
    merge_size: int,
    patch_size: int,
    min_tokens: int,
    max_tokens: float,
) -> list[Size]:
    """Returns the size of each frame, as the reference code computes it for frames of `raw_size`
    that share `max_tokens`.

    Rounding and the floor may take the frames above max_tokens; `sizes_within` keeps the budget.
    """
    factor = patch_size * merge_size
    min_area = min_tokens * factor * factor * 1.5
    areas = _areas(raw_size[0] * raw_size[1], types, min_area, max_tokens * factor * factor * 0.95)
    sizes = {
        kind: _aligned(area, raw_size[0] / raw_size[1], factor, min_area)
        for kind, area in areas.items()
    }
    return [sizes[kind] for kind in types]


def sizes_within(
    raw_size: Size,
    types: Sequence[FrameType],
    merge_size: int,
    patch_size: int,
    min_tokens: int,
    max_tokens: int,
) -> tuple[list[Size], bool]:
    """Returns sizes that take at most `max_tokens` together, and whether frames had to go below the
    floor for that.

    They are the reference's sizes for a budget that is lowered, by 2 % or more a time, until
    rounding no longer exceeds `max_tokens`. Where the reference's floor alone is too much, every
    frame takes an equal share instead. Raises ValueError when there are more frames than tokens.
    """
    factor = patch_size * merge_size
    budget = max_tokens
    while budget > 0:
        sizes = frame_sizes(raw_size, types, merge_size, patch_size, min_tokens, budget)
        total = sum(tokens_of(size, factor) for size in sizes)
        if total <= max_tokens:
            return sizes, False
        budget = min(budget * max_tokens // total, budget * 98 // 100)
    if len(types) > max_tokens:
        raise ValueError(f'{len(types)} frames do not fit in {max_tokens} tokens')
    share = max_tokens // len(types)
    return [size_at_most(raw_size, factor, share * factor**2, share)] * len(types), True


def floor_tokens(raw_size: Size, merge_size: int, patch_size: int, min_tokens: int) -> int:
    """Returns the tokens of the smallest frame that the reference makes of one of `raw_size`: those
    of its own area, or of the floor where that is less. (Between the two, rounding may save one.)
    """
    return min(
        tokens_of(
            frame_sizes(raw_size, (FrameType.KEY,), merge_size, patch_size, min_tokens, budget)[0],
            patch_size * merge_size,
        )
        for budget in (0.0, math.inf)
    )


def fixed_sizes(
    raw_size: Size,
    merge_size: int,
    patch_size: int,
    min_tokens: int,
    most_tokens: Mapping[FrameType, int],
) -> dict[FrameType, Size]:
    """Returns, by type, the size of a frame of `raw_size`, whatever the other frames are.

    A frame keeps its area, enlarged to about `min_tokens` where it is smaller, and never takes more
    than `most_tokens` of its type.
    """
    factor, raw_area = patch_size * merge_size, float(raw_size[0] * raw_size[1])
    sizes = {}
    for kind, most in most_tokens.items():
        sizes[kind] = size_at_most(raw_size, factor, raw_area, most)
        if tokens_of(sizes[kind], factor) < min(min_tokens, most):
            sizes[kind] = size_at_most(raw_size, factor, min_tokens * factor**2, most)
    return sizes


def size_at_most(raw_size: Size, factor: int, area: float, most: int) -> Size:
    """Returns the size of about `area` pixels but at most `most` visual tokens, in the aspect of
    `raw_size` as far as that goes.
    """
    aspect = raw_size[0] / raw_size[1]
    height, width = _aligned(min(area, most * factor**2), aspect, factor, min_area=0)
    rows, columns = min(height // factor, most), min(width // factor, most)
    while rows * columns > most:
        if columns == 1 or (rows > 1 and rows > aspect * columns):
            rows -= 1
        else:
            columns -= 1
    return rows * factor, columns * factor


def _areas(
    raw_area: int, types: Sequence[FrameType], min_area: float, max_area: float
) -> dict[FrameType, float]:
    """Returns the area in pixels by type: the raw one when all frames fit, else key to intermediate
    as 16 to 1, none under `min_area`.
    """
    if len(types) * raw_area <= max_area:
        return {kind: float(raw_area) for kind in FrameType}
    keys = sum(kind is FrameType.KEY for kind in types)
    intermediates = len(types) - keys
    key = max_area / (keys + intermediates / KEY_TO_INTERMEDIATE)
    intermediate = key / KEY_TO_INTERMEDIATE
    if intermediate < min_area:
        intermediate = min_area
        key = (max_area - intermediates * min_area) / max(keys, 1)
    return {FrameType.KEY: max(key, min_area), FrameType.INTERMEDIATE: intermediate}


def _aligned(area: float, aspect: float, factor: int, min_area: float) -> Size:
    """Returns the size of about `area` pixels with height / width about `aspect`, rounded; rounded
    up where that is under `min_area`.
    """
    width = math.sqrt(area / aspect)
    height = width * aspect
    aligned = max(round(height / factor), 1) * factor, max(round(width / factor), 1) * factor
    if aligned[0] * aligned[1] >= min_area:
        return aligned
    width = math.sqrt(min_area / aspect)
    height = width * aspect
    return math.ceil(height / factor) * factor, math.ceil(width / factor) * factor
