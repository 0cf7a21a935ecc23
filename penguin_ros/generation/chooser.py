# SPDX-License-Identifier: Apache-2.0
"""From logits to the tokens and the text of a step, until a rule ends it. Knows no backend."""
from __future__ import annotations

from penguin_ros.backends.base import Logits
from penguin_ros.generation.limits import Limits
from penguin_ros.generation.progress import Phase, Progress, Step
from penguin_ros.generation.sampling import choose, new_random
from penguin_ros.generation.stop_rules import StopRules
from penguin_ros.generation.text_stream import TextStream
from penguin_ros.request import StopReason


class Chooser:
    """Turns logits into the next step's token and text, and keeps the progress."""

    def __init__(self, limits: Limits, max_tokens: int, text: TextStream, progress: Progress) -> None:
        self.progress = progress
        self._limits, self._text = limits, text
        self._random = new_random(limits.sampling.seed, limits.seed_offset)
        self._rules = StopRules(limits.stop_token_ids, max_tokens, limits.sampling.max_repeats)

    def step(self, phase: Phase, logits: Logits) -> Step:
        """The step that `logits` (vocabulary,) lead to."""
        token_id = choose(logits, self._limits.sampling, self._random)
        return self.take(phase, token_id, logits.copy() if self._limits.keep_logits else None)

    def take(self, phase: Phase, token_id: int, logits: Logits | None = None) -> Step:
        """The step of a token that was chosen; with the last one come the rest of the text and the reason."""
        reason = self._rules.add(token_id)
        piece = '' if reason is StopReason.STOP_TOKEN else self._text.push(token_id)
        if reason is not StopReason.NONE:
            piece += self._text.finish()
        self.progress.token_ids.append(token_id)
        self.progress.text += piece
        self.progress.stop_reason = reason
        return Step(phase, token_id, piece, logits)
