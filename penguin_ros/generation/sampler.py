# SPDX-License-Identifier: Apache-2.0
"""From logits to the tokens and the text of a step, until a rule ends it. Knows no backend.

Chooses the next token from logits. Knows neither the model nor what was generated before.

Order as in the literature's usual pipeline: temperature, then top_k, then top_p on what top_k left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import GreedyToken, Logits
from penguin_ros.config import GenerationConfig
from penguin_ros.errors import InvalidLogits
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.stats import GenerationStats, Phase, Step
from penguin_ros.generation.stop_rules import StopRules
from penguin_ros.request import StopReason

_FIRST_GUESS = 1024
"""top_p looks at this many of the best tokens first: sorting a vocabulary of 150,000 costs as much
as a decode step.
"""


def new_random_stream(seed: int, offset: int = 0) -> np.random.Generator:
    """The random stream of one request: the same (seed, offset) draws the same numbers, other
    offsets independent ones.
    """
    return np.random.default_rng([abs(seed), abs(offset)])


def choose(
    logits: NDArray[np.floating], config: GenerationConfig, random: np.random.Generator
) -> int:
    """The next token's id from `logits` (vocabulary,); InvalidLogits when one is NaN or infinite.

    Temperature 0 takes the largest logit, of equal ones the lowest id, and draws nothing from
    `random`; otherwise draws one number. Computed in float64 from differences to the largest logit,
    so that no temperature overflows.
    """
    if not np.isfinite(logits).all():
        raise _invalid(logits)
    if config.temperature <= 0.0:
        return int(np.argmax(logits))
    kept, weights = _candidates(logits, config)
    cumulative = np.cumsum(weights)
    # random() is at most 1 - 2**-53, so the product stays under the sum; 'right' passes over tokens
    # of weight 0.
    return int(kept[np.searchsorted(cumulative, random.random() * cumulative[-1], side='right')])


def checked(best: GreedyToken) -> int:
    """The token that a backend chose greedily; InvalidLogits when a logit was NaN or infinite."""
    if not math.isfinite(best.logit):
        raise _no_numbers('the network returned logits that are NaN or infinite')
    return best.token_id


def _candidates(
    logits: NDArray[np.floating], config: GenerationConfig
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Token ids that may be drawn and their weights, not normalised."""
    weights = _weights(logits, config.temperature)
    kept = np.arange(len(weights))
    if 0 < config.top_k < len(weights):
        kept = _largest(weights, config.top_k)
    if config.top_p < 1.0:
        kept = kept[_nucleus(weights[kept], config.top_p)]
    return kept, weights[kept]


def _weights(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    with np.errstate(
        over='ignore', under='ignore'
    ):  # a minute temperature sends all but the largest to weight 0
        weights: NDArray[np.float64] = np.exp((wide - wide.max()) / temperature)
    return weights


def _largest(weights: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Indices of the `count` largest weights, largest first, of equal ones the lowest index first."""
    if count >= len(weights):
        return np.argsort(-weights, kind='stable')
    threshold = np.partition(weights, -count)[-count]
    above = np.flatnonzero(weights >= threshold)
    return above[np.argsort(-weights[above], kind='stable')][:count]


def _nucleus(weights: NDArray[np.float64], top_p: float) -> NDArray[np.intp]:
    """Indices of the fewest largest weights that make up `top_p` of the sum; at least one."""
    mass = weights.sum() * top_p
    ranked = _largest(weights, _FIRST_GUESS)
    if weights[ranked].sum() < mass:
        ranked = _largest(weights, len(weights))
    before = np.cumsum(weights[ranked]) - weights[ranked]
    return ranked[: max(1, int(np.count_nonzero(before < mass)))]


def _invalid(logits: NDArray[np.floating]) -> InvalidLogits:
    nan, infinite = int(np.isnan(logits).sum()), int(np.isinf(logits).sum())
    return _no_numbers(
        f'the network returned {nan} NaN and {infinite} infinite of {logits.size} logits'
    )


def _no_numbers(what: str) -> InvalidLogits:
    return InvalidLogits(
        what,
        'its numbers overflowed, or weights are damaged',
        'Try precision float32; if it stays, download the checkpoint again',
    )


class Sampler:
    """Turns logits into the next step's tokens and text, and keeps the progress."""

    def __init__(
        self, limits: SamplingParams, max_tokens: int, text: Detokenizer, progress: GenerationStats
    ) -> None:
        self.progress = progress
        self._limits, self._text, self._max_tokens = limits, text, max_tokens
        self._random = new_random_stream(limits.sampling.seed, limits.seed_offset)
        self._rules = StopRules(limits.stop_token_ids, max_tokens, limits.sampling.max_repeats)

    @property
    def room(self) -> int:
        """How many more tokens may come."""
        return self._max_tokens - len(self.progress.token_ids)

    def step(
        self, phase: Phase, results: Sequence[GreedyToken] | Logits, draft: Sequence[int] = ()
    ) -> Step:
        """The step that `results` lead to, which the network gave with `draft`: what follows the
        newest token, and each drafted one. Takes tokens until one differs from the draft or ends
        the text.

        InvalidLogits, with nothing taken, when the first of them are no numbers; later ones are
        left to the next step.
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
            if self.progress.stop_reason is not StopReason.NONE or list(
                draft[index : index + 1]
            ) != [token_id]:
                break
        return self._step(phase, results, pieces, draft)

    def _step(
        self,
        phase: Phase,
        results: Sequence[GreedyToken] | Logits,
        pieces: Sequence[str],
        draft: Sequence[int],
    ) -> Step:
        count = len(pieces)
        token_ids = tuple(self.progress.token_ids[-count:])
        self.progress.forward_passes += 1
        self.progress.drafted_tokens += len(draft)
        self.progress.accepted_tokens += sum(
            ours == guess for ours, guess in zip(token_ids, draft, strict=False)
        )
        logits = (
            results[:count].copy()
            if self._limits.keep_logits and isinstance(results, np.ndarray)
            else None
        )
        return Step(phase, token_ids, ''.join(pieces), logits)

    def _choose(self, result: GreedyToken | Logits) -> int:
        return (
            checked(result)
            if isinstance(result, GreedyToken)
            else choose(result, self._limits.sampling, self._random)
        )

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
