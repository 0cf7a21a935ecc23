# SPDX-License-Identifier: Apache-2.0
"""From logits to the tokens and the text of a step, until a rule ends it. Knows no backend."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penguin_ros.backends.base import Best, Logits
from penguin_ros.errors import InvalidLogits
from penguin_ros.generation.limits import Limits
from penguin_ros.generation.progress import Phase, Progress, Step
from penguin_ros.generation.sampling import checked, choose, new_random
from penguin_ros.generation.stop_rules import StopRules
from penguin_ros.generation.text_stream import TextStream
from penguin_ros.request import StopReason


class Chooser:
    """Turns logits into the next step's tokens and text, and keeps the progress."""

    def __init__(self, limits: Limits, max_tokens: int, text: TextStream, progress: Progress) -> None:
        self.progress = progress
        self._limits, self._text, self._max_tokens = limits, text, max_tokens
        self._random = new_random(limits.sampling.seed, limits.seed_offset)
        self._rules = StopRules(limits.stop_token_ids, max_tokens, limits.sampling.max_repeats)

    @property
    def room(self) -> int:
        """How many more tokens may come."""
        return self._max_tokens - len(self.progress.token_ids)

    def step(self, phase: Phase, results: Sequence[Best] | Logits, draft: Sequence[int] = ()) -> Step:
        """The step that `results` lead to, which the network gave with `draft`: what follows the newest token, and each drafted
        one. Takes tokens until one differs from the draft or ends the text.

        InvalidLogits, with nothing taken, when the first of them are no numbers; later ones are left to the next step.
        """
        pieces: list[str] = []
        for index, result in enumerate(results):
            try:
                token_id = self._choose(result)
            except InvalidLogits:
                if not index:
                    raise
                break
            pieces.append(self._take(token_id))
            if self.progress.stop_reason is not StopReason.NONE or list(draft[index:index + 1]) != [token_id]:
                break
        return self._step(phase, results, pieces, draft)

    def _step(self, phase: Phase, results: Sequence[Best] | Logits, pieces: Sequence[str], draft: Sequence[int]) -> Step:
        count = len(pieces)
        token_ids = tuple(self.progress.token_ids[-count:])
        self.progress.forward_passes += 1
        self.progress.drafted_tokens += len(draft)
        self.progress.accepted_tokens += sum(ours == guess for ours, guess in zip(token_ids, draft, strict=False))
        logits = results[:count].copy() if self._limits.keep_logits and isinstance(results, np.ndarray) else None
        return Step(phase, token_ids, ''.join(pieces), logits)

    def _choose(self, result: Best | Logits) -> int:
        return checked(result) if isinstance(result, Best) else choose(result, self._limits.sampling, self._random)

    def _take(self, token_id: int) -> str:
        """The text of a token that was chosen; with the last one comes the rest of the text."""
        reason = self._rules.add(token_id)
        piece = '' if reason is StopReason.STOP_TOKEN else self._text.push(token_id)
        if reason is not StopReason.NONE:
            piece += self._text.finish()
        self.progress.token_ids.append(token_id)
        self.progress.text += piece
        self.progress.stop_reason = reason
        return piece
