# SPDX-License-Identifier: Apache-2.0
"""Every random scene survives JSON, and nonsense is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scene import Scene, Thing
from penguin_ros.simulation.scene_file import SceneError, read_scene, scene_from, scene_record


@pytest.mark.parametrize('seed', range(12))
def test_a_scene_survives_json(seed: int) -> None:
    scene = random_scene(seed, 1 + seed % 3)
    text = json.dumps(scene_record(scene), allow_nan=False)
    assert scene_from(json.loads(text)) == scene


def test_what_is_left_out_has_its_default() -> None:
    thing = {'shape': 'box', 'colour': 'red', 'size': 0.3, 'place': [2, 0]}
    assert scene_from({'seed': 4, 'things': [thing]}) == Scene(
        4, (Thing('box', 'red', 0.3, (2.0, 0.0)),)
    )


BOX = {'shape': 'box', 'colour': 'red', 'size': 0.3, 'place': [2, 0]}


@pytest.mark.parametrize(
    ('record', 'reason'),
    [
        ([], 'scene ='),
        ({}, 'scene is incomplete'),
        ({'seed': 1, 'things': [BOX], 'weather': 'rain'}, 'weather'),
        ({'seed': 1.5, 'things': []}, 'scene.seed'),
        ({'seed': 1, 'things': BOX}, 'scene.things'),
        ({'seed': 1, 'things': [{**BOX, 'shape': 'dog'}]}, r'scene.things\[0\].shape'),
        ({'seed': 1, 'things': [{**BOX, 'colour': 'beige'}]}, 'beige'),
        ({'seed': 1, 'things': [{**BOX, 'place': [1]}]}, 'list of 2'),
        ({'seed': 1, 'things': [{**BOX, 'size': 'large'}]}, 'size'),
        ({'seed': 1, 'things': [BOX] * 6}, '6 things'),
        ({'seed': 1, 'things': [BOX], 'seconds': None}, 'scene.seconds'),
        ({'seed': 1, 'things': [BOX], 'seconds': 0}, 'scene.seconds'),
    ],
)
def test_what_does_not_fit_is_named(record: Any, reason: str) -> None:
    with pytest.raises(SceneError, match=reason):
        scene_from(record)


@pytest.mark.parametrize('text', [None, 'no JSON', '[1]'])
def test_a_file_without_a_scene_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / 'scene.json'
    if text is not None:
        path.write_text(text)
    with pytest.raises(SceneError):
        read_scene(path)
