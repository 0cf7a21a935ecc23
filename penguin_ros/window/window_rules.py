# SPDX-License-Identifier: Apache-2.0
"""What the settings and the model say about the window of a camera, as values that any thread may
read.
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
    """The rules of one request, from its settings; `unit`: what one visual token covers, by the
    checkpoint's processor.
    """

    config: PenguinConfig
    unit: PatchUnit

    @property
    def policy(self) -> str:
        """GROWING, SLIDING or RECENT."""
        return self.config.clip.window

    @property
    def period_ns(self) -> int:
        """Time between two frames of the window."""
        return max(1, round(NANOSECONDS / self.config.clip.fps))

    @property
    def span_ns(self) -> int:
        """Length of a clip that no caption makes longer and no limit shorter."""
        return round(self.config.clip.seconds * NANOSECONDS)

    @property
    def is_gated(self) -> bool:
        """Whether frames are compared with those of the last caption."""
        return self.config.caption.gate

    @property
    def needs_comparison(self) -> bool:
        """Whether frames get a signature for comparison, which costs some milliseconds each."""
        return self.is_gated or self.policy == GROWING

    @property
    def restart_limits(self) -> RestartLimits:
        """When a growing clip restarts, and what it keeps."""
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
        """Frames of a sliding window: those within a clip's length, each with a token at least."""
        in_span = math.ceil(self.span_ns / self.period_ns)
        return min(
            max(1, in_span), self.config.clip.max_frames, self.config.visual.max_visual_tokens
        )

    def sizes(self, raw: Size) -> dict[FrameType, Size]:
        """Returns, by type, the size at which the model sees a frame of `raw` (height, width),
        whatever else is in its clip.

        However small the budget, a growing clip has room for some frames: a key frame takes a
        quarter of the budget at most and an intermediate one a sixteenth, or the floor of one frame
        where that is more, but never more than half.
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
        """Returns, by type, the visual tokens of a frame of `raw` (height, width)."""
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
