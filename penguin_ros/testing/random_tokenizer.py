# SPDX-License-Identifier: Apache-2.0
"""Trains small byte-level BPE tokenizers of the published kind, among them the one of random
checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from penguin_ros.checkpoint.tokenizer import byte_alphabet, qwen2_tokenizer

SPACE = byte_alphabet()[ord(' ')]
SENTENCES = (
    'The robot drives slowly past a red box and stops in front of the open door.',
    'A person walks from left to right through the corridor, carrying a blue bag.',
    'Two people are talking near the table; a small dog is sleeping under it.',
    'A white bear walks over the ice, looks at the camera and moves away.',
    'The camera turns to the right: there is a yellow cylinder behind the green chair.',
    'Nothing is moving in this scene. The room is empty and the light is on.',
    'What is happening in this video? Describe it in one or two sentences.',
    'Time 0.5s: a car waits at the crossing while a cyclist comes from the street.',
    'What colour is the box on the floor, and how many people can be seen?',
    "Ein Bär läuft über das Eis. Une porte s'ouvre. 机器人向前移动。 ロボットが動く。",
)
VOCABULARY_SIZE = 600
ADDED_TOKENS = {
    '<|endoftext|>': True,
    '<|im_start|>': True,
    '<|im_end|>': True,
    '<image>': True,
    '<think>': False,
    '</think>': False,
}
"""The added tokens in the order of their ids, and whether each is special."""


def random_tokenizer() -> dict[str, Any]:
    """Returns the tokenizer of random checkpoints in the format of tokenizer.json."""
    return trained_tokenizer(SENTENCES, VOCABULARY_SIZE)


def trained_tokenizer(sentences: Iterable[str], vocabulary_size: int) -> dict[str, Any]:
    """Returns a tokenizer for texts like `sentences` in the format of tokenizer.json.

    It has at most `vocabulary_size` tokens, and the added ones behind them. Training has no
    randomness.
    """
    vocabulary, merges = _trained(sentences, vocabulary_size)
    tokenizer = qwen2_tokenizer(vocabulary, merges)
    tokenizer['added_tokens'] = [
        {
            'id': len(vocabulary) + offset,
            'content': token,
            'single_word': False,
            'lstrip': False,
            'rstrip': False,
            'normalized': not is_special,
            'special': is_special,
        }
        for offset, (token, is_special) in enumerate(ADDED_TOKENS.items())
    ]
    return tokenizer


def word_ids(tokenizer: Mapping[str, Any]) -> list[int]:
    """Returns the ids of the tokens that are whole words of the sentences, with the space before
    them.
    """
    words = {
        word
        for sentence in SENTENCES
        for word in sentence.split()
        if word.isascii() and word.isalpha()
    }
    vocabulary = tokenizer['model']['vocab']
    return sorted(vocabulary[SPACE + word] for word in words if SPACE + word in vocabulary)


def _trained(
    sentences: Iterable[str], vocabulary_size: int
) -> tuple[dict[str, int], list[list[str]]]:
    from tokenizers import Tokenizer, trainers

    alphabet = sorted(byte_alphabet())
    tokenizer = Tokenizer.from_str(json.dumps(qwen2_tokenizer({}, [])))
    tokenizer.train_from_iterator(
        sentences,
        trainers.BpeTrainer(
            vocab_size=vocabulary_size,
            min_frequency=1,
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    model = json.loads(tokenizer.to_str())['model']
    merges = [
        merge.split(' ') if isinstance(merge, str) else list(merge) for merge in model['merges']
    ]
    return model['vocab'], merges
