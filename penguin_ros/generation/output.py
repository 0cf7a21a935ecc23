# SPDX-License-Identifier: Apache-2.0
"""What a generation gives: its steps, and its text so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from penguin_ros.backends.base.backend import Logits
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.stop_texts import StopTexts
from penguin_ros.request import GenerationStats, Phase, StopReason

TopLogprobs = tuple[tuple[int, float], ...]
"""Tokens and the natural logarithms of their probabilities, the most probable first."""


@dataclass(frozen=True, eq=False)
class Step:
    """What one step did; each ends at a yield.

    The first token comes with the last step of phase 'prefill'. Every step of phase 'decode' gives
    one token, or several when a draft was right or the backend wrote several at once. `piece` is
    the text that they complete, maybe ''. `logits` (tokens, vocabulary) are those that the tokens
    were chosen from, when they are kept.
    """

    phase: Phase
    token_ids: tuple[int, ...] = ()
    piece: str = ''
    logits: Logits | None = None


@dataclass(eq=False)
class GenerationOutput:
    """The text of one generation so far. The loop writes it before each yield; its driver reads it
    between steps and afterwards, also when the generation was ended early.

    `token_ids` end with the stop token when there is one; it adds nothing to `text`. An incomplete
    character at the end of an unfinished text is left out. `stop_reason` is NONE while it grows.
    `logprobs`: the natural logarithm of each token's probability, before temperature and all other
    rules; NaN where it was not measured. `top_logprobs`: of each token the most probable ones in
    its place, (token, logprob), where they are wanted. `stop_texts` end the text, as a stop token
    does.
    """

    detokenizer: Detokenizer
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: str = ''
    stop_reason: StopReason = StopReason.NONE
    stats: GenerationStats = field(default_factory=GenerationStats)
    top_logprobs: list[TopLogprobs] = field(default_factory=list)
    stop_texts: StopTexts | None = None

    @property
    def is_complete(self) -> bool:
        """True when a stop rule has ended the text."""
        return self.stop_reason is not StopReason.NONE

    @property
    def measured_logprobs(self) -> list[float]:
        """Those of the text's tokens that were measured; the stop token is not one of them."""
        of_text = self.logprobs[: self.stats.generated_tokens]
        return [logprob for logprob in of_text if not math.isnan(logprob)]

    @property
    def is_cut_by_text(self) -> bool:
        """True when one of the stop texts has ended the text."""
        return self.stop_texts is not None and self.stop_texts.is_found

    def append(
        self,
        token_id: int,
        stop_reason: StopReason,
        logprob: float = math.nan,
        top: TopLogprobs = (),
    ) -> str:
        """Appends a token, the last one when it has a stop reason; returns the text that it
        completes.
        """
        is_stop_token = stop_reason is StopReason.STOP_TOKEN
        piece = '' if is_stop_token else self.detokenizer.push(token_id)
        if stop_reason is not StopReason.NONE:
            piece += self.detokenizer.finish()
        if self.stop_texts is not None:
            piece = self.stop_texts.push(piece, stop_reason is not StopReason.NONE)
            stop_reason = StopReason.STOP_TOKEN if self.stop_texts.is_found else stop_reason
        self.token_ids.append(token_id)
        self.logprobs.append(logprob)
        self.top_logprobs.append(top)
        self.text += piece
        self.stop_reason = stop_reason
        self.stats.generated_tokens += not is_stop_token
        return piece
