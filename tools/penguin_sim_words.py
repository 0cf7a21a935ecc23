# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of the simulated world's vocabulary, and prompts cut into what clips share and what
each text adds.

A prompt here is the one that the node sends: both come from `penguin_ros.preprocessing.prompt`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from penguin_sim_vocabulary import phrases, vocabulary

from penguin_ros.checkpoint.tokenizer import PenguinTokenizer
from penguin_ros.config import DEFAULT_CAPTION_PROMPT
from penguin_ros.preprocessing.prompt import Message, TextPart, VideoPart, render
from penguin_ros.testing.random_tokenizer import trained_tokenizer

VOCABULARY_SIZE = 1000
MARKUP_TEXTS = ('user\nTime 0.0s:', ',Time 0.5s:', 'assistant\n', 'assistant\n\n')
IGNORED = -100
"""The target of positions that are not learnt from."""


def sim_tokenizer() -> dict[str, Any]:
    """Returns the tokenizer in the format of tokenizer.json; every word of the simulation's
    vocabulary is one token, with and without a space before it.
    """
    words = vocabulary()
    return trained_tokenizer(
        [*words, *(f' {word}' for word in words), *phrases(), *caption_prompts(), *MARKUP_TEXTS],
        VOCABULARY_SIZE,
    )


class Texts:
    """Makes token ids for training with the tokenizer in `folder`."""

    def __init__(self, folder: Path, image_token_id: int) -> None:
        self._tokenizer = PenguinTokenizer(folder)
        self.image = image_token_id
        self.end = self._tokenizer.markup_id('<|im_end|>')
        self.suffix = lru_cache(maxsize=65536)(self._suffix)
        self.answer = lru_cache(maxsize=65536)(self._answer)

    def prefix(self, seconds: Sequence[float], tokens: Sequence[int]) -> NDArray[np.int64]:
        """Returns the prompt up to where the question begins, from the time of each frame and the
        number of its visual tokens.
        """
        ids = self.prompt(seconds, tokens, 'What?')
        last = int(np.flatnonzero(ids == self.image)[-1])
        return ids[: last + 2]  # the last frame is followed by a line break

    def prompt(
        self, seconds: Sequence[float], tokens: Sequence[int], question: str
    ) -> NDArray[np.int64]:
        """Returns the whole prompt, as the node sends it."""
        message = Message('user', (VideoPart(tuple(seconds), len(seconds)), TextPart(question)))
        return render([message], self._tokenizer, tokens, self.image).token_ids

    def length(self, pair: tuple[str, str]) -> int:
        """Returns the number of tokens of a question and its answer."""
        return len(self.suffix(pair[0])) + len(self.answer(pair[1]))

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of token ids."""
        return self._tokenizer.decode(ids)

    def rows(
        self, pairs: Sequence[tuple[str, str]], length: int = 0
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns, per (question, answer), the tokens after the prefix and the next-token targets,
        each (pairs, longest or `length`).
        """
        parts = [(self.suffix(question), self.answer(answer)) for question, answer in pairs]
        length = max(length, *(len(suffix) + len(answer) - 1 for suffix, answer in parts))
        ids = np.full((len(parts), length), self.end, np.int64)
        targets = np.full((len(parts), length), IGNORED, np.int64)
        for row, (suffix, answer) in enumerate(parts):
            whole = suffix + answer
            ids[row, : len(whole) - 1] = whole[:-1]
            targets[row, len(suffix) - 1 : len(whole) - 1] = answer
        return ids, targets

    def _suffix(self, question: str) -> tuple[int, ...]:
        ids = self.prompt((0.0,), (1,), question)
        return tuple(int(token) for token in ids[int(np.flatnonzero(ids == self.image)[-1]) + 2 :])

    def _answer(self, answer: str) -> tuple[int, ...]:
        return (*self._tokenizer.encode_text(answer), self.end)


def caption_prompts() -> Iterator[str]:
    """Yields the ways in which a caption is asked for, the node's default first."""
    yield DEFAULT_CAPTION_PROMPT
    yield from ('Describe what you see.', 'Describe the scene.', 'What is happening?')
