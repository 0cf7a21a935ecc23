# SPDX-License-Identifier: Apache-2.0
"""Plans which frames of a clip the model sees, of which type and how large, within the budget.

The policy `reference` gives Penguin-VL's sizes for the budget. When its floor alone is too much for
all frames, the clip is thinned evenly, the newest frame kept, before types are determined. The
policy `fixed` gives sizes by type alone. When the frames are too many, the oldest intermediate
frames are left out, then the oldest key frames; the newest frame stays, and a type is never
reconsidered.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from penguin_ros.checkpoint.shapes import ProcessorShape
from penguin_ros.config import VisualConfig
from penguin_ros.frame import FrameType, Image
from penguin_ros.frame_sampling import evenly
from penguin_ros.preprocessing.frame_sizes import (
    Size,
    fixed_sizes,
    floor_tokens,
    frame_sizes,
    sizes_within,
    tokens_of,
)
from penguin_ros.preprocessing.frame_types import frame_type_steps, frame_types


@dataclass(frozen=True)
class FramePlan:
    """The frames that the model sees: increasing `indices` into the frames given, the newest among
    them, and the `types` and `sizes` of these frames.

    `is_truncated`: frames were left out or made smaller than the policy's floor to keep the budget.
    """

    indices: tuple[int, ...]
    types: tuple[FrameType, ...]
    sizes: tuple[Size, ...]
    is_truncated: bool = False


PlanSteps = Generator[None, None, FramePlan]


@dataclass(frozen=True)
class PatchUnit:
    """What one visual token covers: merge_size x merge_size patches of patch_size x patch_size
    pixels.
    """

    merge_size: int
    patch_size: int

    @property
    def factor(self) -> int:
        """Side of the area of one token, in pixels."""
        return self.merge_size * self.patch_size


def video_unit(processor: ProcessorShape) -> PatchUnit:
    """Returns what one visual token of a video frame covers."""
    return PatchUnit(processor.video_merge_size, processor.patch_size)


def image_unit(processor: ProcessorShape) -> PatchUnit:
    """Returns what one visual token of a single image covers."""
    return PatchUnit(processor.image_merge_size, processor.patch_size)


def exact_video_plan(
    images: Sequence[Image], unit: PatchUnit, min_tokens: int, max_tokens: float
) -> FramePlan:
    """Plans every frame at the reference's size, even where that exceeds `max_tokens`."""
    types = frame_types(images)
    sizes = frame_sizes(
        raw_size(images[0]), types, unit.merge_size, unit.patch_size, min_tokens, max_tokens
    )
    return FramePlan(tuple(range(len(images))), types, tuple(sizes))


def exact_image_plan(
    image: Image, count: int, unit: PatchUnit, min_tokens: int, max_tokens: float
) -> FramePlan:
    """Plans the reference's size for one of `count` images, of which `image` is the first."""
    sizes = frame_sizes(
        raw_size(image),
        (FrameType.KEY,) * count,
        unit.merge_size,
        unit.patch_size,
        min_tokens,
        max_tokens,
    )
    return _image(sizes[0])


def video_plan_steps(images: Sequence[Image], unit: PatchUnit, visual: VisualConfig) -> PlanSteps:
    """Plans a video of at least one frame, all of one size, with visual.max_visual_tokens tokens at
    most in total; yields after each frame.
    """
    return (
        _fixed_plan(images, unit, visual)
        if visual.policy == 'fixed'
        else _reference_plan(images, unit, visual)
    )


def image_plan(image: Image, count: int, unit: PatchUnit, visual: VisualConfig) -> FramePlan:
    """Plans one of `count` images that share visual.max_visual_tokens; raises ValueError for more
    images than tokens.

    An image is a key frame and keeps its own aspect: it gets what the reference gives to `count`
    images like it. With policy `fixed` it takes key_tokens at most, less when the share is less.
    """
    raw, budget = raw_size(image), visual.max_visual_tokens
    if visual.policy == 'fixed':
        most = min(visual.key_tokens, budget // count)
        size = fixed_sizes(
            raw, unit.merge_size, unit.patch_size, visual.min_visual_tokens, {FrameType.KEY: most}
        )
        return _image(size[FrameType.KEY], most < min(visual.key_tokens, visual.min_visual_tokens))
    sizes, is_below_floor = sizes_within(
        raw,
        (FrameType.KEY,) * count,
        unit.merge_size,
        unit.patch_size,
        visual.min_visual_tokens,
        budget,
    )
    return _image(sizes[0], is_below_floor)


def _image(size: Size, is_truncated: bool = False) -> FramePlan:
    return FramePlan((0,), (FrameType.KEY,), (size,), is_truncated)


def raw_size(image: Image) -> Size:
    """Returns (height, width) of an image in pixels."""
    return int(image.shape[0]), int(image.shape[1])


def _reference_plan(images: Sequence[Image], unit: PatchUnit, visual: VisualConfig) -> PlanSteps:
    raw = raw_size(images[0])
    budget = visual.max_visual_tokens
    fewest = floor_tokens(raw, unit.merge_size, unit.patch_size, visual.min_visual_tokens)
    indices = evenly(len(images), max(budget // fewest, 1))
    types = yield from frame_type_steps(images[index] for index in indices)
    sizes, is_below_floor = sizes_within(
        raw, types, unit.merge_size, unit.patch_size, visual.min_visual_tokens, budget
    )
    return FramePlan(indices, types, tuple(sizes), is_below_floor or len(indices) < len(images))


def _fixed_plan(images: Sequence[Image], unit: PatchUnit, visual: VisualConfig) -> PlanSteps:
    types = yield from frame_type_steps(images)
    most = {
        FrameType.KEY: min(visual.key_tokens, visual.max_visual_tokens),
        FrameType.INTERMEDIATE: min(visual.intermediate_tokens, visual.max_visual_tokens),
    }
    sizes = fixed_sizes(
        raw_size(images[0]), unit.merge_size, unit.patch_size, visual.min_visual_tokens, most
    )
    costs = [tokens_of(sizes[kind], unit.factor) for kind in types]
    indices = _within(types, costs, visual.max_visual_tokens)
    return FramePlan(
        indices,
        tuple(types[index] for index in indices),
        tuple(sizes[types[index]] for index in indices),
        len(indices) < len(images),
    )


def _within(types: Sequence[FrameType], costs: Sequence[int], budget: int) -> tuple[int, ...]:
    """Returns the indices that stay when the oldest intermediate, then the oldest key frames are
    left out until the costs fit the budget.
    """
    kept = dict(enumerate(costs))
    for index in sorted(
        range(len(types) - 1), key=lambda index: (types[index] is FrameType.KEY, index)
    ):
        if sum(kept.values()) <= budget:
            break
        del kept[index]
    return tuple(kept)
