# SPDX-License-Identifier: Apache-2.0
"""Scenes as JSON values, and back: a missing field has its default, and an endless time is null."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from penguin_ros.errors import PenguinError
from penguin_ros.plain_values import PlainFormat, PlainValueError, from_plain, to_plain
from penguin_ros.simulation.scene import COLOURS, FLOORS, MAX_THINGS, MOTIONS, SHAPES, Scene

_FORMAT = PlainFormat(
    has_defaults=True,
    has_endless=True,
    choices={
        'Thing.shape': SHAPES,
        'Thing.colour': tuple(COLOURS),
        'Motion.kind': MOTIONS,
        'Floor.pattern': FLOORS,
    },
)


class SceneError(PenguinError):
    """A text that does not describe a scene."""


def scene_record(scene: Scene) -> dict[str, Any]:
    """Returns the scene as dictionaries, lists, numbers and texts."""
    record: dict[str, Any] = to_plain(scene, _FORMAT)
    return record


def scene_from(record: object) -> Scene:
    """Returns the scene of such a record; SceneError names the field that does not fit."""
    try:
        scene: Scene = from_plain(Scene, record, 'scene', _FORMAT)
    except PlainValueError as error:
        raise SceneError(error.what, error.why) from error
    if len(scene.things) > MAX_THINGS:
        raise SceneError(
            f'the scene has {len(scene.things)} things', f'at most {MAX_THINGS} are drawn'
        )
    if not 0.0 < scene.seconds < math.inf:
        raise SceneError(
            f'scene.seconds = {scene.seconds}',
            'it takes the number of seconds that the scene is shown',
        )
    return scene


def read_scene(path: Path) -> Scene:
    """Returns the scene of a JSON file; SceneError when it is not readable or holds no scene."""
    try:
        return scene_from(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError) as error:
        raise SceneError(
            f'cannot read the scene {path}', str(error), 'Give the path of a JSON file with a scene'
        ) from error
