# SPDX-License-Identifier: Apache-2.0
"""What one generation may do: values. Knows neither backends nor what was generated."""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.config import GenerationConfig
from penguin_ros.errors import InvalidRequest
from penguin_ros.generation.speculative.draft_history import PromptHistory


@dataclass(frozen=True)
class SamplingParams:
    """What one generation may do.

    `max_tokens` new tokens at most (fewer when the KV slot is shorter), `prefill_chunk` prompt
    positions per step, `seed_offset` tells the random streams of two requests apart, `keep_logits`
    puts a copy of the logits into each step. `drafts`: what drafts are made of, None for none.
    """

    max_tokens: int
    stop_token_ids: tuple[int, ...]
    sampling: GenerationConfig = GenerationConfig()
    prefill_chunk: int = 256
    keep_logits: bool = False
    seed_offset: int = 0
    drafts: PromptHistory | None = None

    def __post_init__(self) -> None:
        for name in ('max_tokens', 'prefill_chunk'):
            if getattr(self, name) < 1:
                raise InvalidRequest(f'{name} = {getattr(self, name)}', 'it takes 1 or more')
