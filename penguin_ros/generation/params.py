# SPDX-License-Identifier: Apache-2.0
"""What one generation may do, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.config import GenerationConfig
from penguin_ros.errors import InvalidRequest
from penguin_ros.generation.constraint import Grammar


@dataclass(frozen=True)
class SamplingParams:
    """The limits of one generation and how its tokens are chosen.

    It makes `max_tokens` new tokens at most, fewer where the KV slot is shorter. `prefill_chunk`:
    prompt positions per step. `keep_logits` puts a copy of the logits into each step. `seed_offset`
    tells the random streams of two requests apart. `grammar`: the only texts that may come out.
    `logprobs` measures the probability of every token, `top_logprobs` those of that many others in
    its place. InvalidRequest when a number is below 1.
    """

    max_tokens: int
    stop_token_ids: tuple[int, ...]
    sampling: GenerationConfig = GenerationConfig()
    prefill_chunk: int = 256
    keep_logits: bool = False
    seed_offset: int = 0
    grammar: Grammar | None = None
    logprobs: bool = False
    top_logprobs: int = 0

    def __post_init__(self) -> None:
        for name in ('max_tokens', 'prefill_chunk'):
            if getattr(self, name) < 1:
                raise InvalidRequest(f'{name} = {getattr(self, name)}', 'it takes 1 or more')

    @property
    def is_greedy_without_logits(self) -> bool:
        """True when the backend may choose the tokens on its device: nobody looks at the logits."""
        is_watched = self.keep_logits or self.logprobs or self.grammar is not None
        return self.sampling.temperature <= 0.0 and not is_watched
