# SPDX-License-Identifier: Apache-2.0
"""The small model and the parameters that come with the package are found wherever it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from penguin_ros import shipped
from penguin_ros.benchmark.tasks import Target
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import CheckpointNotFound, PenguinError
from penguin_ros.shipped import MODEL_NAMES, shipped_model, simulation_parameters


def model_below(folder: Path) -> Path:
    """Makes files with the names of a model."""
    model = folder / 'engines' / 'penguin_sim'
    model.mkdir(parents=True)
    for name in ('config.json', 'model.safetensors'):
        (model / name).write_bytes(b'')
    return model


def package_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the package lie in a folder."""
    monkeypatch.setattr(shipped, '__file__', str(folder / 'penguin_ros' / 'shipped.py'))


@pytest.mark.parametrize(
    ('packages', 'files'),
    [
        ('lib/python3.12/site-packages', 'share/penguin_ros'),  # a venv, ~/.local, colcon
        ('local/lib/python3.12/dist-packages', 'local/share/penguin_ros'),  # Debian's pip
        ('.', 'share/penguin_ros'),  # pip install --target
        ('.', '.'),  # a checkout
    ],
)
def test_the_model_is_found_beside_the_package(
    packages: str, files: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package_at(tmp_path / packages, monkeypatch)
    assert shipped_model() is None
    model = model_below(tmp_path / files)
    assert shipped_model() == model


def test_a_folder_counts_only_with_its_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package_at(tmp_path, monkeypatch)
    (model_below(tmp_path) / 'model.safetensors').unlink()
    assert shipped_model() is None


def test_parameters_are_found_and_missed_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert simulation_parameters().read_text().startswith('# Parameters for simulated worlds')
    package_at(tmp_path, monkeypatch)
    with pytest.raises(PenguinError, match=r'config/simulation\.yaml is not here'):
        simulation_parameters()


@pytest.mark.parametrize('name', MODEL_NAMES)
def test_the_model_has_a_name_that_holds_in_every_folder(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if shipped_model() is None:
        pytest.skip('the small model has no weights here')
    monkeypatch.chdir(tmp_path)
    opened = open_checkpoint(name)
    assert opened.name == 'penguin_sim' and opened.path == shipped_model()
    assert not Target(name).is_bundle


@pytest.mark.parametrize('name', MODEL_NAMES)
def test_a_model_that_was_not_installed_is_not_looked_for_on_the_hub(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package_at(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointNotFound, match='the small model penguin_sim is not here'):
        open_checkpoint(name)
