# SPDX-License-Identifier: Apache-2.0
"""Which backend is made for which settings."""
from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from penguin_ros.backends.open_backend import make_backend
from penguin_ros.backends.scripted_backend import ScriptedBackend
from penguin_ros.backends.torch_backend import TorchBackend
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.checkpoint.random_checkpoint import write_random_checkpoint
from penguin_ros.config import ModelConfig, Setting
from penguin_ros.errors import SettingError


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(write_random_checkpoint(tmp_path_factory.mktemp('made') / 'checkpoint'))


def test_every_choice_of_the_setting_makes_a_backend(checkpoint: Checkpoint) -> None:
    facts: Setting = next(each for each in dataclasses.fields(ModelConfig) if each.name == 'backend').metadata['setting']
    made = {choice: type(make_backend(ModelConfig(backend=choice), checkpoint)) for choice in facts.choices}
    assert made == {'auto': TorchBackend, 'torch': TorchBackend, 'scripted': ScriptedBackend}


def test_the_scripted_backend_plays_the_checkpoint_or_itself(checkpoint: Checkpoint) -> None:
    config = ModelConfig(backend='scripted', max_length=99)
    assert make_backend(config, checkpoint).open().model_name == checkpoint.name
    alone = make_backend(config, None).open()
    assert (alone.model_name, alone.max_length) == ('scripted', 99)


@pytest.mark.parametrize('backend', ['auto', 'torch'])
def test_torch_without_a_checkpoint_is_a_setting_error(backend: str) -> None:
    with pytest.raises(SettingError, match='model.checkpoint is empty'):
        make_backend(ModelConfig(backend=backend), None)


def test_a_bundle_is_not_run_by_torch(checkpoint: Checkpoint) -> None:
    with pytest.raises(SettingError, match='runs checkpoints, not bundles'):
        make_backend(ModelConfig(backend='torch', bundle='engines/x'), checkpoint)


def test_without_torch_the_error_names_the_command(tmp_path: Path) -> None:
    """In a process in which torch cannot be imported: the file can, and `open` says what to type."""
    program = f'''
import sys
sys.modules['torch'] = None
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.checkpoint.random_checkpoint import write_random_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendUnavailable
backend = make_backend(ModelConfig(), open_checkpoint(write_random_checkpoint({str(tmp_path / "made")!r})))
try:
    backend.open()
except BackendUnavailable as error:
    print(error)
backend.close()
'''
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, '-c', program], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert 'backend torch is not available' in done.stdout and 'pip install torch' in done.stdout
