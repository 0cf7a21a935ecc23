# SPDX-License-Identifier: Apache-2.0
"""What a generation has done: its steps, how far it is, its result. Values; knows neither backends
nor rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from penguin_ros.backends.base.backend import Logits
from penguin_ros.request import StopReason

Phase = Literal['encode', 'prefill', 'decode']


@dataclass(frozen=True, eq=False)
class Step:
    """What one step did; each ends at a yield.

    The first token comes with the last step of phase 'prefill'; every step of phase 'decode' gives
    one, or several when a draft was right. `piece` is the text they completed, maybe ''. `logits`
    (tokens, vocabulary) that they were chosen from, when kept.
    """

    phase: Phase
    token_ids: tuple[int, ...] = ()
    piece: str = ''
    logits: Logits | None = None


@dataclass(frozen=True)
class Generation:
    """A text, whole or partial. `token_ids` end with the stop token when there was one; it adds
    nothing to `text`.

    Of the `prompt_tokens` `reused_tokens` were found in a KV slot; of the frames `reused_frames`
    were not encoded for this text. `forward_passes` of the network gave the tokens, one each
    without drafts; of `drafted_tokens` so many were `accepted_tokens`.

    Durations in nanoseconds of the injected clock: the time inside steps only, not while paused
    between them.
    """

    token_ids: tuple[int, ...]
    text: str
    stop_reason: StopReason
    encode_ns: int
    prefill_ns: int
    decode_ns: int
    prompt_tokens: int
    visual_tokens: int
    reused_tokens: int = 0
    reused_frames: int = 0
    forward_passes: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0


@dataclass(eq=False)
class GenerationStats:
    """How far a generation is; the loop writes it before each yield, the driver reads it between
    steps and afterwards.
    """

    token_ids: list[int] = field(default_factory=list)
    text: str = ''
    stop_reason: StopReason = StopReason.NONE
    prompt_tokens: int = 0
    visual_tokens: int = 0
    reused_tokens: int = 0
    reused_frames: int = 0
    forward_passes: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    durations_ns: dict[Phase, int] = field(
        default_factory=lambda: {'encode': 0, 'prefill': 0, 'decode': 0}
    )

    def generation(self, stop_reason: StopReason | None = None) -> Generation:
        """What there is so far, with `stop_reason` for one that was ended from outside; a half
        character is left out.
        """
        return Generation(
            tuple(self.token_ids),
            self.text,
            self.stop_reason if stop_reason is None else stop_reason,
            self.durations_ns['encode'],
            self.durations_ns['prefill'],
            self.durations_ns['decode'],
            self.prompt_tokens,
            self.visual_tokens,
            self.reused_tokens,
            self.reused_frames,
            self.forward_passes,
            self.drafted_tokens,
            self.accepted_tokens,
        )
