# SPDX-License-Identifier: Apache-2.0
"""The settings of questions, section `question` of `config.py`."""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.remote_config import ENGINES
from penguin_ros.settings import live_setting, setting


@dataclass(frozen=True)
class QuestionConfig:
    """Limits and defaults of questions."""

    camera: str = live_setting('', 'Camera of a question that names none; empty: the first camera.')
    engine: str = live_setting(
        'local',
        'What answers questions. local: the model of the node; remote: the servers of '
        'remote.endpoints alone; auto: these, and the model of the node when none answers.',
        choices=ENGINES,
    )
    max_tokens: int = live_setting(
        256,
        'Maximum length of an answer, and the default for a question that names none.',
        unit='tokens',
        span=(1, 65536),
    )
    deadline: float = live_setting(
        60.0,
        'Time from receiving a question to its complete answer: the longest that it may ask for, '
        'and the default for one that names none.',
        unit='s',
        span=(0.05, 86400.0),
    )
    queue_length: int = setting(
        16, 'Maximum number of waiting questions; one more is answered with BUSY.', span=(1, 4096)
    )
    max_characters: int = live_setting(
        4096, 'Maximum length of the text of a question.', unit='characters', span=(1, 1000000)
    )
    max_images: int = live_setting(8, 'Maximum number of images in a question.', span=(0, 64))
    max_image_bytes: int = live_setting(
        16 * 1024 * 1024,
        "Maximum size of a question's compressed images together.",
        unit='bytes',
        span=(0, 2**31),
    )
    cannot_tell_threshold: float = live_setting(
        0.5,
        'A question with choices is answered with "cannot tell" when the probability of that is '
        'above this; 1: never.',
        span=(0.0, 1.0),
    )
    max_schema_characters: int = live_setting(
        65536,
        'Maximum length of the JSON schema of a question.',
        unit='characters',
        span=(1, 10_000_000),
    )
    conversations: int = live_setting(
        8,
        'Number of conversations that are kept; one more, and the one that was silent for longest '
        'is forgotten; 0: none may begin.',
        span=(0, 1024),
    )
    conversation_tokens: int = live_setting(
        3072,
        'Maximum length of the prompt of a conversation; above it the oldest turns are left out. '
        'What model.max_length holds with an answer is a limit too.',
        unit='tokens',
        span=(64, 262144),
    )
    conversation_age: float = live_setting(
        600.0,
        'A conversation is forgotten after this time without a turn.',
        unit='s',
        span=(0.1, 86400.0),
    )
