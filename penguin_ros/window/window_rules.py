# SPDX-License-Identifier: Apache-2.0
"""What the settings and the model say about the window of a camera: values. Knows neither frames
nor threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from penguin_ros.config import PenguinConfig, VisualConfig
from penguin_ros.frame import NANOSECONDS, FrameType
from penguin_ros.preprocessing.frame_plan import PatchUnit
from penguin_ros.preprocessing.frame_sizes import Size, fixed_sizes, tokens_of
from penguin_ros.window.policies import RestartLimits

GROWING, SLIDING, RECENT = 'growing', 'sliding', 'recent'


@dataclass(frozen=True)
class WindowRules:
    """The rules of one request; `unit`: what one visual token covers, by the checkpoint's
    processor.
    """

    config: PenguinConfig
    unit: PatchUnit

    @property
    def policy(self) -> str:
        """GROWING, SLIDING or RECENT."""
        return self.config.clip.window

    @property
    def period_ns(self) -> int:
        """Time between two frames of the grid."""
        return max(1, round(NANOSECONDS / self.config.clip.fps))

    @property
    def span_ns(self) -> int:
        """Length of a clip that nothing makes longer or shorter."""
        return round(self.config.clip.seconds * NANOSECONDS)

    @property
    def is_gated(self) -> bool:
        """Whether frames are compared with those of the last caption."""
        return self.config.caption.gate

    @property
    def needs_comparison(self) -> bool:
        """Whether frames are made ready to be compared, which costs some milliseconds each."""
        return self.is_gated or self.policy == GROWING

    @property
    def growth(self) -> RestartLimits:
        """For the policy growing."""
        clip = self.config.clip
        return RestartLimits(
            clip.max_frames,
            self.config.visual.max_visual_tokens,
            round(clip.max_age * NANOSECONDS),
            self.span_ns,
            clip.overlap,
        )

    @property
    def max_slid_frames(self) -> int:
        """For the policy sliding: frames on the grid within a clip's length, none without a token."""
        on_grid = math.ceil(self.span_ns / self.period_ns)
        return min(
            max(1, on_grid), self.config.clip.max_frames, self.config.visual.max_visual_tokens
        )

    def sizes(self, raw: Size) -> dict[FrameType, Size]:
        """By type the size at which the model sees a frame of `raw` (height, width), whatever else
        is in its clip.

        However small the budget, a growing clip has room for some frames: a key frame takes a
        quarter of it at most, another a sixteenth, though the floor of one frame, and never more
        than half.
        """
        visual = self.config.visual
        if self.policy == SLIDING:
            share = min(visual.key_tokens, visual.max_visual_tokens // self.max_slid_frames)
            return self._sizes(raw, visual, {FrameType.KEY: share})
        return self._sizes(
            raw,
            visual,
            {
                FrameType.KEY: self._share(visual.key_tokens, 4),
                FrameType.INTERMEDIATE: self._share(visual.intermediate_tokens, 16),
            },
        )

    def costs(self, raw: Size) -> dict[FrameType, int]:
        """By type the visual tokens of a frame of `raw` (height, width)."""
        return {kind: tokens_of(size, self.unit.factor) for kind, size in self.sizes(raw).items()}

    def _share(self, tokens: int, part: int) -> int:
        budget, floor = self.config.visual.max_visual_tokens, self.config.visual.min_visual_tokens
        return min(tokens, max(budget // part, min(floor, budget // 2)))

    def _sizes(
        self, raw: Size, visual: VisualConfig, most: dict[FrameType, int]
    ) -> dict[FrameType, Size]:
        return fixed_sizes(
            raw, self.unit.merge_size, self.unit.patch_size, visual.min_visual_tokens, most
        )
