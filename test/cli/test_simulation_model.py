# SPDX-License-Identifier: Apache-2.0
"""Where the small model lies, and what a run has to reach given what was measured of it."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from penguin_ros.cli import simulation_model
from penguin_ros.cli.simulation_model import Measured, default_checkpoint, measured, simulation_parameters


def test_a_folder_counts_only_with_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(simulation_model, 'ROOT', tmp_path)
    monkeypatch.setattr(simulation_model, '_shares', lambda: ())
    folder = tmp_path / 'engines' / 'penguin_sim'
    folder.mkdir(parents=True)
    (folder / 'config.json').write_text('{}')
    assert default_checkpoint() is None
    (folder / 'model.safetensors').write_bytes(b'')
    assert default_checkpoint() == folder


def test_an_installed_package_brings_it_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(simulation_model, 'ROOT', tmp_path / 'nowhere')
    monkeypatch.setattr(simulation_model, '_shares', lambda: (tmp_path,))
    folder = tmp_path / 'engines' / 'penguin_sim'
    folder.mkdir(parents=True)
    for name in ('config.json', 'model.safetensors'):
        (folder / name).write_bytes(b'')
    assert default_checkpoint() == folder


def test_what_was_measured_is_read_and_what_is_unknown_is_expected_whole(tmp_path: Path) -> None:
    assert measured(None) == measured(tmp_path) == Measured(3, 1.0, 1.0, 1.0)
    (tmp_path / 'measured.json').write_text(json.dumps({'level': 2, 'answers': 0.8, 'remark': 'more than is needed'}))
    assert measured(tmp_path) == Measured(level=2, answers=0.8)


@pytest.mark.parametrize(('share', 'least'), [(1.0, 0.9), (0.96, 0.9), (0.95, 0.9), (0.9, 0.85), (0.5, 0.45)])
def test_a_run_may_fall_a_little_behind_but_not_below_what_is_wanted_of_a_good_model(share: float, least: float) -> None:
    assert Measured(answers=share).least('answers') == pytest.approx(least)


def test_the_parameter_file_is_found() -> None:
    assert simulation_parameters().read_text().startswith('# Parameters for simulated worlds')
