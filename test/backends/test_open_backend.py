# SPDX-License-Identifier: Apache-2.0
"""The backend that is made for some settings."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.cuda.backend import CudaBackend
from penguin_ros.backends.onnxruntime.backend import OnnxBackend
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.backends.tensorrt.backend import TensorrtBackend
from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.errors import SettingError
from penguin_ros.settings import Setting
from penguin_ros.testing.random_checkpoint import write_random_checkpoint


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(write_random_checkpoint(tmp_path_factory.mktemp('made') / 'checkpoint'))


@pytest.fixture(scope='module')
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    pytest.importorskip('onnx', reason='onnx is not installed')
    from penguin_ros.export.build import BuildOrder, build_bundle

    return open_bundle(
        build_bundle(checkpoint, tmp_path_factory.mktemp('made') / 'bundle', BuildOrder())
    )


@pytest.fixture(scope='module')
def tensorrt_bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    pytest.importorskip('onnx', reason='onnx is not installed')
    from penguin_ros.export.build import BuildOrder, build_bundle
    from penguin_ros.export.precision import BuildChoice

    folder = tmp_path_factory.mktemp('made') / 'tensorrt'
    return open_bundle(
        build_bundle(checkpoint, folder, BuildOrder(BuildChoice('tensorrt', 'float16')))
    )


def made(backend: str, model: Checkpoint | Bundle) -> type[Backend] | None:
    try:
        return type(make_backend(ModelConfig(backend=backend), model))
    except SettingError:
        return None


def test_every_choice_of_the_setting_makes_a_backend_of_what_it_runs(
    checkpoint: Checkpoint, bundle: Bundle, tensorrt_bundle: Bundle
) -> None:
    kernels = replace(bundle, manifest=replace(bundle.manifest, backend='cuda'))
    facts: Setting = next(
        each for each in dataclasses.fields(ModelConfig) if each.name == 'backend'
    ).metadata['setting']
    models = (checkpoint, bundle, tensorrt_bundle, kernels)
    assert {choice: tuple(made(choice, model) for model in models) for choice in facts.choices} == {
        'auto': (TorchBackend, OnnxBackend, TensorrtBackend, CudaBackend),
        'torch': (TorchBackend, None, None, None),
        'onnxruntime': (None, OnnxBackend, None, None),
        'tensorrt': (None, None, TensorrtBackend, None),
        'cuda': (None, None, None, CudaBackend),
    }


def test_a_bundle_for_another_backend_or_device_is_refused_with_the_way_out(
    bundle: Bundle, tensorrt_bundle: Bundle
) -> None:
    for backend, model in (('tensorrt', bundle), ('onnxruntime', tensorrt_bundle)):
        with pytest.raises(SettingError, match=f'was built for .*--backend {backend}'):
            make_backend(ModelConfig(backend=backend), model)
    with pytest.raises(SettingError, match=r'model.device = cpu.*TensorRT'):
        make_backend(ModelConfig(device='cpu'), tensorrt_bundle)


@pytest.mark.parametrize('backend', ['onnxruntime', 'tensorrt', 'cuda'])
def test_where_bundles_run_a_checkpoint_does_not_and_the_command_is_named(
    checkpoint: Checkpoint, backend: str
) -> None:
    with pytest.raises(
        SettingError, match=f'runs bundles.*penguin build some/where --backend {backend} --out'
    ):
        make_backend(ModelConfig(backend=backend, checkpoint='some/where'), checkpoint)


def test_a_precision_that_the_model_does_not_have_is_refused(
    checkpoint: Checkpoint, bundle: Bundle
) -> None:
    assert isinstance(make_backend(ModelConfig(precision='float32'), bundle), OnnxBackend)
    for precision, model in (
        ('int4', bundle),
        ('bfloat16', bundle),
        ('int4', checkpoint),
        ('int8', checkpoint),
    ):
        with pytest.raises(SettingError, match=f'model.precision = .{precision}.*float32'):
            make_backend(ModelConfig(precision=precision), model)


def test_a_bundle_is_not_run_by_torch(bundle: Bundle) -> None:
    with pytest.raises(SettingError, match='runs checkpoints, not bundles'):
        make_backend(ModelConfig(backend='torch', bundle='engines/x'), bundle)


@pytest.mark.parametrize('library', ['torch', 'onnxruntime'])
def test_without_its_library_the_error_names_the_command(
    checkpoint: Checkpoint, bundle: Bundle, library: str
) -> None:
    """In a process in which it cannot be imported: the backend's file can, and `open` says what to
    type.
    """
    program = f"""
import sys
sys.modules[{library!r}] = None
from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendUnavailable
models = {{
    'torch': lambda: open_checkpoint({str(checkpoint.path)!r}),
    'onnxruntime': lambda: open_bundle({str(bundle.path)!r}),
}}
backend = make_backend(ModelConfig(), models[{library!r}]())
try:
    backend.open()
except BackendUnavailable as error:
    print(error)
backend.close()
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert f'backend {library} is not available' in done.stdout and re.search(
        f'pip install "?{library}', done.stdout
    )
