# SPDX-License-Identifier: Apache-2.0
"""Scenes as JSON values and back. Knows neither ROS nor drawing; a missing field has its default,
an endless time is null.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from pathlib import Path
from typing import Any

from penguin_ros.errors import PenguinError
from penguin_ros.simulation.scene import COLOURS, FLOORS, MAX_THINGS, MOTIONS, SHAPES, Scene

_CHOICES = {'shape': SHAPES, 'colour': tuple(COLOURS), 'kind': MOTIONS, 'pattern': FLOORS}
"""Words that some fields are limited to, where they are words."""


class SceneError(PenguinError):
    """A text that does not describe a scene."""


def scene_record(scene: Scene) -> dict[str, Any]:
    """The scene as dictionaries, lists, numbers and words."""
    return typing.cast('dict[str, Any]', _recorded(dataclasses.asdict(scene)))


def scene_from(record: object) -> Scene:
    """The scene of such a record; SceneError names the field that does not fit."""
    scene: Scene = _built(Scene, record, 'scene')
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
    """The scene of a JSON file; SceneError."""
    try:
        return scene_from(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError) as error:
        raise SceneError(
            f'cannot read the scene {path}', str(error), 'Give the path of a JSON file with a scene'
        ) from error


def _recorded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _recorded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_recorded(item) for item in value]
    return None if value == math.inf else value


def _built(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`, which is a dataclass, a tuple type, int, float or str."""
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast(type, kind), value, where)
    if typing.get_origin(kind) is tuple:
        return _tuple(typing.get_args(kind), value, where)
    if kind is float:
        value = math.inf if value is None else float(value) if type(value) is int else value
    if type(value) is not kind or value != value:
        raise SceneError(f'{where} = {value!r}', f'it takes a {kind.__name__}')
    choices = _CHOICES.get(where.rpartition('.')[2], ()) if kind is str else ()
    if choices and value not in choices:
        raise SceneError(f'{where} = {value!r}', 'it takes one of ' + ', '.join(choices))
    return value


def _dataclass(kind: type, value: Any, where: str) -> Any:
    types = typing.get_type_hints(kind)
    if not isinstance(value, dict):
        raise SceneError(f'{where} = {value!r}', f'it takes an object with {", ".join(types)}')
    unknown = sorted(set(value) - set(types))
    if unknown:
        raise SceneError(f'{where} has no field {unknown[0]}', f'it has {", ".join(types)}')
    try:
        return kind(
            **{name: _built(types[name], item, f'{where}.{name}') for name, item in value.items()}
        )
    except TypeError as error:
        raise SceneError(f'{where} is incomplete', str(error).rpartition(') ')[2]) from error


def _tuple(items: tuple[Any, ...], value: Any, where: str) -> Any:
    is_endless = items[-1] is Ellipsis
    if not isinstance(value, (list, tuple)) or not (is_endless or len(value) == len(items)):
        raise SceneError(
            f'{where} = {value!r}', f'it takes a list{"" if is_endless else f" of {len(items)}"}'
        )
    return tuple(
        _built(items[0] if is_endless else items[index], item, f'{where}[{index}]')
        for index, item in enumerate(value)
    )
