# SPDX-License-Identifier: Apache-2.0
"""Turns logits into the tokens of a step, until a rule ends the text.

The order is that of the usual pipeline: temperature, then top_k, then top_p on what top_k left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import GreedyToken, Logits
from penguin_ros.config import GenerationConfig
from penguin_ros.errors import InvalidLogits
from penguin_ros.generation.output import GenerationOutput, Step, TopLogprobs
from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.stop_rules import StopRules
from penguin_ros.request import Phase

MAX_FORCED_ROWS = 63
"""Tokens that a grammar forces and whose logits are wanted nevertheless, in one pass."""

_FIRST_GUESS = 1024
"""top_p looks at this many of the best tokens first: sorting a vocabulary of 150,000 costs as much
as a decode step.
"""


@dataclass(frozen=True)
class _Choice:
    """A token, the logarithm of its probability, NaN where that is not wanted, and those of the
    most probable tokens.
    """

    token_id: int
    logprob: float = math.nan
    top: TopLogprobs = ()


class Sampler:
    """Chooses the tokens of one generation and appends them to its output."""

    def __init__(
        self, params: SamplingParams, max_new_tokens: int, output: GenerationOutput
    ) -> None:
        self._params = params
        self._max_new_tokens = max_new_tokens
        self._output = output
        self._random = new_random_stream(params.sampling.seed, params.seed_offset)
        self._rules = StopRules(params.stop_token_ids, max_new_tokens, params.sampling.max_repeats)
        self._constraint = None if params.grammar is None else params.grammar.begin()
        self._needs_rows = params.logprobs or params.keep_logits

    @property
    def tokens_left(self) -> int:
        """How many more tokens may come."""
        return self._max_new_tokens - len(self._output.token_ids)

    def fitting(self, guess: Sequence[int]) -> list[int]:
        """Returns the draft that is verified in place of a guess: what the grammar forces, then as
        much of the guess as it allows.
        """
        if self._constraint is None:
            return list(guess)
        forced = list(self._constraint.forced()[: min(MAX_FORCED_ROWS, self.tokens_left - 1)])
        if list(guess[: len(forced)]) != forced:
            return forced
        return list(guess[: max(len(forced), self._constraint.valid_length(guess))])

    def step(
        self, phase: Phase, results: Sequence[GreedyToken] | Logits, draft: Sequence[int] = ()
    ) -> Step:
        """Makes a step of one forward pass. `results`: what the pass gave for the newest token and
        for each token of `draft`, (1 + len(draft)) greedy tokens or rows of logits.

        Takes tokens until one differs from the draft or ends the text, and then those that the
        grammar forces. InvalidLogits, with nothing taken, when the first result has NaN or infinite
        logits; a later such result is left to the next step.
        """
        pieces: list[str] = []
        for index, result in enumerate(results):
            try:
                choice = self._next(result)
            except InvalidLogits:
                if not index:
                    raise
                break
            pieces.append(self._take(choice))
            is_right = index < len(draft) and draft[index] == choice.token_id
            if not is_right or self._output.is_complete:
                break
        pieces += self._forced_pieces()
        self._count(len(pieces), draft)
        logits = None
        if self._params.keep_logits and isinstance(results, np.ndarray):
            logits = results[: len(pieces)].copy()
        token_ids = tuple(self._output.token_ids[-len(pieces) :])
        return Step(phase, token_ids, ''.join(pieces), logits)

    def run(self, results: Sequence[GreedyToken]) -> Step:
        """Makes a step of as many passes as there are results, each for the token that the one
        before it gave: takes them until one ends the text. InvalidLogits as in `step`.
        """
        pieces: list[str] = []
        for index, result in enumerate(results):
            try:
                token_id = checked_token_id(result)
            except InvalidLogits:
                if not index:
                    raise
                break
            pieces.append(self._take(_Choice(token_id)))
            if self._output.is_complete:
                break
        self._output.stats.forward_passes += len(results)
        token_ids = tuple(self._output.token_ids[-len(pieces) :])
        return Step('decode', token_ids, ''.join(pieces))

    def _next(self, result: GreedyToken | Logits) -> _Choice:
        if isinstance(result, GreedyToken):
            return _Choice(checked_token_id(result))
        forced = () if self._constraint is None else self._constraint.forced()
        if forced:
            token_id, is_measured = forced[0], self._needs_rows
        else:
            allowed = None if self._constraint is None else self._constraint.allowed()
            token_id = sample(result, self._params.sampling, self._random, allowed)
            is_measured = self._params.logprobs or self._constraint is not None
        logprob = logprob_of(result, token_id) if is_measured else math.nan
        return _Choice(token_id, logprob, self._top(result))

    def _top(self, row: Logits) -> TopLogprobs:
        """Returns the most probable tokens, as many as are wanted."""
        if not self._params.top_logprobs:
            return ()
        best = _largest(row, self._params.top_logprobs)[: self._params.top_logprobs]
        offset = _log_total(row)
        return tuple((int(token_id), float(row[token_id]) - offset) for token_id in best)

    def _take(self, choice: _Choice) -> str:
        if self._constraint is not None:
            self._constraint.accept(choice.token_id)
        stop_reason = self._rules.add(choice.token_id)
        return self._output.append(choice.token_id, stop_reason, choice.logprob, choice.top)

    def _forced_pieces(self) -> list[str]:
        """Takes what the grammar forces now, for which no pass is needed; nothing where the logits
        of every token are wanted.
        """
        pieces: list[str] = []
        while self._constraint is not None and not (self._needs_rows or self._output.is_complete):
            forced = self._constraint.forced()
            if not forced:
                break
            pieces.append(self._take(_Choice(forced[0])))
        return pieces

    def _count(self, taken: int, draft: Sequence[int]) -> None:
        stats, token_ids = self._output.stats, self._output.token_ids[-taken:]
        stats.forward_passes += 1
        stats.drafted_tokens += len(draft)
        stats.accepted_tokens += sum(
            token_id == guess for token_id, guess in zip(token_ids, draft, strict=False)
        )


def new_random_stream(seed: int, offset: int = 0) -> np.random.Generator:
    """Returns the random stream of one request: the same (seed, offset) draws the same numbers,
    another offset independent ones.
    """
    return np.random.default_rng([abs(seed), abs(offset)])


def sample(
    logits: NDArray[np.floating],
    config: GenerationConfig,
    random: np.random.Generator,
    allowed: NDArray[np.intp] | None = None,
) -> int:
    """Chooses the next token's id from `logits` (vocabulary,), among the `allowed` ids if given;
    InvalidLogits when one is NaN or infinite.

    Temperature 0 takes the largest logit, of equal ones that with the lowest id, and draws nothing
    from `random`; any other temperature draws one number. Weights are computed in float64 from
    differences to the largest logit, so that no temperature overflows.
    """
    if not np.isfinite(logits).all():
        nan, infinite = int(np.isnan(logits).sum()), int(np.isinf(logits).sum())
        raise invalid_logits(
            f'the network returned {nan} NaN and {infinite} infinite of {logits.size} logits'
        )
    if allowed is not None:
        return int(allowed[_sample(logits[allowed], config, random)])
    return _sample(logits, config, random)


def logprob_of(logits: NDArray[np.floating], token_id: int) -> float:
    """Returns the natural logarithm of a token's probability, from its logits (vocabulary,)."""
    return float(logits[token_id]) - _log_total(logits)


def _log_total(logits: NDArray[np.floating]) -> float:
    largest = logits.max()
    return float(largest) + math.log(np.exp(logits - largest).sum(dtype=np.float64))


def _sample(
    logits: NDArray[np.floating], config: GenerationConfig, random: np.random.Generator
) -> int:
    if config.temperature <= 0.0:
        return int(np.argmax(logits))
    kept, weights = _candidates(logits, config)
    cumulative = np.cumsum(weights)
    # random() is at most 1 - 2**-53, so the product stays under the sum; 'right' passes over tokens
    # of weight 0.
    return int(kept[np.searchsorted(cumulative, random.random() * cumulative[-1], side='right')])


def checked_token_id(best: GreedyToken) -> int:
    """Returns the token that a backend chose greedily; InvalidLogits when a logit was NaN or
    infinite.
    """
    if not math.isfinite(best.logit):
        raise invalid_logits('the network returned logits that are NaN or infinite')
    return best.token_id


def _candidates(
    logits: NDArray[np.floating], config: GenerationConfig
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Returns the ids of the tokens that may be drawn and their weights, not normalised."""
    weights = _weights(logits, config.temperature)
    kept = np.arange(len(weights))
    if 0 < config.top_k < len(weights):
        kept = _largest(weights, config.top_k)
    if config.top_p < 1.0:
        kept = kept[_nucleus(weights[kept], config.top_p)]
    return kept, weights[kept]


def _weights(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    # A minute temperature sends all weights but the largest to 0.
    with np.errstate(over='ignore', under='ignore'):
        weights: NDArray[np.float64] = np.exp((wide - wide.max()) / temperature)
    return weights


def _largest(weights: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Returns the indices of the `count` largest weights, largest first, of equal ones the lowest
    index first.
    """
    if count >= len(weights):
        return np.argsort(-weights, kind='stable')
    threshold = np.partition(weights, -count)[-count]
    above = np.flatnonzero(weights >= threshold)
    return above[np.argsort(-weights[above], kind='stable')][:count]


def _nucleus(weights: NDArray[np.float64], top_p: float) -> NDArray[np.intp]:
    """Returns the indices of the fewest largest weights that make up `top_p` of the sum, at least
    one.
    """
    mass = weights.sum() * top_p
    ranked = _largest(weights, _FIRST_GUESS)
    if weights[ranked].sum() < mass:
        ranked = _largest(weights, len(weights))
    before = np.cumsum(weights[ranked]) - weights[ranked]
    return ranked[: max(1, int(np.count_nonzero(before < mass)))]


def invalid_logits(what: str) -> InvalidLogits:
    return InvalidLogits(
        what,
        'its numbers overflowed, or weights are damaged',
        'In PyTorch try precision float32 or bfloat16. Build a bundle in float16 again with '
        '--measure-range RECORDING, which computes large numbers smaller, or for TensorRT with '
        '--compute bfloat16. If it stays, download the checkpoint again',
    )
