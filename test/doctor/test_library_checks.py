# SPDX-License-Identifier: Apache-2.0
"""The doctor imports the libraries that it reports, and holds their versions against the bounds."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.slow_parts import sampled

from penguin_ros import libraries
from penguin_ros.doctor import library_checks
from penguin_ros.doctor.finding import Finding, State

ROOT = Path(__file__).resolve().parents[2]
LIBGL = 'libGL.so.1: cannot open shared object file: No such file or directory'


def finding(topic: str, findings: object) -> Finding:
    return next(item for item in findings if item.topic == topic)  # type: ignore[attr-defined]


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Hides modules as if they were not installed."""
    find = library_checks.importlib.util.find_spec
    monkeypatch.setattr(
        library_checks.importlib.util,
        'find_spec',
        lambda name: None if name in modules else find(name),
    )


def doctor(folder: Path) -> tuple[int, dict[str, dict[str, str]]]:
    """Runs the command with a folder first on PYTHONPATH and returns its exit code and findings."""
    path = os.pathsep.join((str(folder), str(ROOT), os.environ.get('PYTHONPATH', '')))
    done = subprocess.run(
        [sys.executable, '-m', 'penguin_ros.cli.main', 'doctor', '--seconds', '0', '--json'],
        cwd=folder.parent,
        env={**os.environ, 'PYTHONPATH': path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, {item['topic']: item for item in json.loads(done.stdout)}


def test_onnxruntime_alone_is_a_sufficient_backend_and_none_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip('onnxruntime')
    without(monkeypatch, 'torch', 'tensorrt')
    found = list(library_checks.backends())
    assert State.FAULT not in [item.state for item in found]
    assert 'CPU' in finding('bundles', found).text
    without(monkeypatch, 'torch', 'tensorrt', 'onnxruntime')
    fix = finding('backend', library_checks.backends()).fix
    assert re.search('pip install "?onnxruntime', fix)


def test_an_onnxruntime_that_is_too_old_is_a_fault_when_nothing_else_can_run_a_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    onnxruntime = pytest.importorskip('onnxruntime')
    monkeypatch.setattr(libraries, 'demands', lambda: {'onnxruntime': '>=1.23,<2'})
    monkeypatch.setattr(onnxruntime, '__version__', '1.22.1')
    without(monkeypatch, 'torch', 'tensorrt')
    found = list(library_checks.backends())
    assert finding('onnxruntime', found).text == '1.22.1, older than 1.23'
    assert re.search('pip install --upgrade "?onnxruntime', finding('onnxruntime', found).fix)
    assert finding('onnxruntime', found).state is State.FAULT
    monkeypatch.setattr(onnxruntime, '__version__', '1.23.2')
    assert finding('bundles', library_checks.backends()).state is State.NOTE


def test_nvidias_bindings_and_a_driver_suffice_for_own_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip('onnx', reason='the fake GPU needs it')
    from support.fake_gpu.installed import Machine, remove, use

    use(Machine())
    try:
        without(monkeypatch, 'torch', 'tensorrt', 'tensorrt_rtx', 'onnxruntime')
        for driver, state in ((12060, State.OK), (0, State.NOTE)):
            monkeypatch.setattr(
                'penguin_ros.backends.cuda.versions.driver_version', lambda given=driver: given
            )
            found = list(library_checks.backends())
            assert finding('own kernels', found).state is state
            is_fault = State.FAULT in [item.state for item in found]
            assert is_fault == (state is State.NOTE), 'nothing else can run a model here'
    finally:
        remove()


def test_a_backend_that_does_not_import_is_no_fault_beside_one_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip('onnxruntime')
    load = library_checks.importlib.import_module

    def broken(name: str) -> object:
        if name == 'torch':
            raise OSError('libcudart.so.13: cannot open shared object file')
        return load(name)

    find = library_checks.importlib.util.find_spec
    monkeypatch.setattr(
        library_checks.importlib.util,
        'find_spec',
        lambda name: find('json' if name == 'torch' else name),
    )
    monkeypatch.setattr(library_checks.importlib, 'import_module', broken)
    without(monkeypatch, 'tensorrt')
    found = finding('torch', library_checks.backends())
    assert found.state is State.NOTE and 'libcudart.so.13' in found.text


@pytest.mark.parametrize(
    ('bounds', 'state', 'words'),
    [
        ('>=1.21,<3', State.OK, ''),
        ('>=9.0', State.FAULT, 'older than 9.0'),
        ('>=1.21,<2', State.NOTE, 'newer than any that was tried'),
    ],
)
def test_versions_are_held_against_the_bounds_of_setup_py(
    bounds: str, state: State, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    monkeypatch.setattr(np, '__version__', '2.4.6')
    monkeypatch.setattr(libraries, 'demands', lambda: {'numpy': bounds})
    found = finding('numpy', library_checks.environment())
    assert found.state is state and words in found.text
    assert bool(found.fix) == (state is not State.OK)


def test_a_library_without_its_file_of_the_system_is_a_fault_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / 'cv2').mkdir()
    (tmp_path / 'cv2' / '__init__.py').write_text(f'raise ImportError({LIBGL!r})')
    code, found = doctor(tmp_path)
    opencv = found['opencv-python-headless']
    assert code == 1 and opencv['state'] == 'fault'
    assert LIBGL in opencv['text'] and str(tmp_path) in opencv['text']
    assert opencv['fix'].startswith(f'Take {tmp_path} out of PYTHONPATH')
    assert 'sudo apt-get install libgl1' in opencv['fix']


@pytest.mark.parametrize(
    ('number', 'module'),
    sampled(
        itertools.product(['SIGILL', 'SIGSEGV'], ['cv2', 'numpy', 'tokenizers']),
        [('SIGILL', 'numpy'), ('SIGSEGV', 'cv2')],
    ),
)
def test_a_library_that_ends_the_process_is_a_fault_and_the_report_goes_on(
    tmp_path: Path, module: str, number: str
) -> None:
    (tmp_path / module).mkdir()
    (tmp_path / module / '__init__.py').write_text(
        f'import os, signal\nos.kill(os.getpid(), signal.{number})\n'
    )
    code, found = doctor(tmp_path)
    broken = found[libraries.PACKAGES[module]]
    assert code == 1 and broken['state'] == 'fault' and 'ends the process' in broken['text']
    assert f'{tmp_path}/{module}' in broken['text'] and str(tmp_path) in broken['fix']
    assert found['safetensors']['state'] in ('ok', 'fault') and found['rich']['state'] == 'ok'


@pytest.mark.parametrize(
    'module', sampled(['rclpy', 'penguin_msgs', 'cv_bridge'], ['penguin_msgs', 'cv_bridge'])
)
def test_what_is_reported_of_ros_is_imported(tmp_path: Path, module: str) -> None:
    pytest.importorskip('rclpy')
    (tmp_path / module).mkdir()
    (tmp_path / module / '__init__.py').write_text('raise ImportError("built for another Python")')
    code, found = doctor(tmp_path)
    assert 'does not import: built for another Python' in found[module]['text']
    assert found[module]['state'] == ('note' if module == 'cv_bridge' else 'fault')
    assert found[module]['fix']


def test_a_numpy_that_pythonpath_brings_and_does_not_import_is_named(tmp_path: Path) -> None:
    (tmp_path / 'numpy').mkdir()
    (tmp_path / 'numpy' / '__init__.py').write_text(
        'raise ImportError("numpy.core.multiarray failed to import")'
    )
    code, found = doctor(tmp_path)
    numpy = found['numpy']
    assert code == 1 and numpy['state'] == 'fault'
    assert f'{tmp_path}/numpy' in numpy['text'] and 'PYTHONPATH' in numpy['text']
    assert numpy['fix'] == f'Take {tmp_path} out of PYTHONPATH'
    assert found['safetensors']['state'] == 'ok'


def test_a_copy_of_a_library_that_hides_another_is_noted(tmp_path: Path) -> None:
    (tmp_path / 'rich').mkdir()
    (tmp_path / 'rich' / '__init__.py').write_text('__version__ = "13.0"')
    _, found = doctor(tmp_path)
    assert found['rich']['state'] == 'note' and str(tmp_path) in found['rich']['text']
    assert found['rich']['fix'] == f'If the other is meant, take {tmp_path} out of PYTHONPATH'


def test_a_copy_of_this_package_that_hides_another_is_noted(tmp_path: Path) -> None:
    package = ROOT / 'penguin_ros'
    shutil.copytree(package, tmp_path / 'penguin_ros', ignore=shutil.ignore_patterns('__pycache__'))
    _, found = doctor(tmp_path)
    ours = found['penguin_ros']
    assert ours['state'] == 'note' and f'{tmp_path}/penguin_ros' in ours['text']
    assert ours['fix'] == f'If the other is meant, take {tmp_path} out of PYTHONPATH'
