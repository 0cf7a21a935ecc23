# SPDX-License-Identifier: Apache-2.0
"""The golden cases as messages and pictures: what was said in each is written here, the rest is
read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from penguin_ros.frame import Image
from penguin_ros.preprocessing.clip_inputs import ImageInput
from penguin_ros.preprocessing.prompt import ImagePart, Message, Part, TextPart, VideoPart

Arrays = Mapping[str, Any]

DIALOGUES: dict[str, list[tuple[str, bool, str]]] = {
    'text': [('user', False, 'There are ten birds in a tree.')],
    'image': [('user', True, 'Describe this image in detail.')],
    'image_small': [('system', False, 'You are a helpful assistant.'), ('user', True, 'What?')],
    'dialogue': [
        ('user', True, 'What is this?'),
        ('assistant', False, 'a desert'),
        ('user', False, 'What colour?'),
    ],
    'video': [('user', True, 'Describe the video.')],
    'video_compressed': [('user', True, 'What is the polar bear doing?')],
    'video_floor': [('user', True, 'What?')],
    'video_still': [('user', True, 'Is anything moving?')],
}
"""Per case the turns: role, whether the case's picture or video stands first, text."""
VISUAL = sorted(
    name for name, turns in DIALOGUES.items() if any(is_visual for _, is_visual, _ in turns)
)
VIDEOS = [name for name in VISUAL if name.startswith('video')]


def arrays_of(golden_dir: Path, name: str) -> Arrays:
    """Every array of a case."""
    with np.load(golden_dir / 'cases' / f'{name}.npz') as case:
        return {key: case[key] for key in case.files}


def images_of(case: Arrays) -> list[Image]:
    """The picture, or the frames, of a case."""
    return list(case['frames']) if 'frames' in case else [case['image']]


def messages_of(name: str, case: Arrays) -> tuple[list[Message], list[ImageInput]]:
    """The dialogue of a case and what its parts show."""
    video = VideoPart(tuple(case['timestamps']), len(case['frames'])) if 'frames' in case else None
    turns = [
        (role, ([video or ImagePart()] if is_visual else []), text)
        for role, is_visual, text in DIALOGUES[name]
    ]
    messages = [Message(role, (*_parts(visual), TextPart(text))) for role, visual, text in turns]
    shown: list[ImageInput] = (
        [list(case['frames']) if video else case['image']] if name in VISUAL else []
    )
    return messages, shown


def _parts(visual: list[Any]) -> tuple[Part, ...]:
    return tuple(visual)
