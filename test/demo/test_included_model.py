# SPDX-License-Identifier: Apache-2.0
"""Which parameters files and parents name, and when the included model runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from penguin_ros.demo import included_model as module
from penguin_ros.demo.included_model import included_model, named_parameters


def test_names_are_found_for_every_node_nested_and_dotted(tmp_path: Path) -> None:
    file = tmp_path / 'a.yaml'
    file.write_text(
        '/**: {ros__parameters: {model: {bundle: /b}, use_sim_time: true}}\n'
        'robot: {penguin: {ros__parameters: {clip.fps: 2.0, caption: {prompt: ""}}}}\n'
    )
    assert named_parameters([str(file), ('autostart', 'False')]) == {
        'model.bundle',
        'use_sim_time',
        'clip.fps',
        'autostart',
    }, 'an empty text names nothing'


@pytest.mark.parametrize('content', [b'{', b'\xff\xfe', b'[1, 2]', b''])
def test_what_is_no_parameter_file_names_nothing(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / 'a.yaml'
    file.write_bytes(content)
    assert named_parameters([str(file), str(tmp_path / 'absent')]) == set()


def test_a_model_that_is_named_is_left_alone_and_an_absent_one_is_not_made_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert included_model([('model.bundle', '/b')]) == {}
    monkeypatch.setattr(module, 'shipped_model', lambda: None)
    assert included_model([]) == {}


def test_a_machine_that_runs_bundles_only_gets_one_of_the_included_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if module.shipped_model() is None:
        pytest.skip('engines/penguin_sim has no weights here')
    pytest.importorskip('onnx')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr('penguin_ros.export.bundle_cache._needs_one', lambda model: True)
    (bundle,) = included_model([]).values()
    assert Path(bundle).is_dir() and tmp_path in Path(bundle).parents
