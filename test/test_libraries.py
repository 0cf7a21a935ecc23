# SPDX-License-Identifier: Apache-2.0
"""An import that fails says which library is to blame, why, and what to type."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path

import pytest

from penguin_ros import libraries
from penguin_ros.cli import exit_codes, main
from penguin_ros.libraries import (
    library_error,
    prepare,
    remedy,
    shadowing_entry,
    version_complaint,
    version_of,
)

NUMPY = 'Error importing numpy: wrong C extension\n\nIMPORTANT: PLEASE READ THIS\n'
LIBGL = 'libGL.so.1: cannot open shared object file: No such file or directory'


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Returns a function that puts a copy of a module on the path that runs `source`, and returns
    the error of importing it.
    """

    def fail(module: str, source: str) -> ImportError:
        folder = tmp_path / 'packages' / module
        folder.mkdir(parents=True)
        (folder / '__init__.py').write_text(source)
        monkeypatch.syspath_prepend(str(folder.parent))
        for name in [name for name in sys.modules if name.split('.')[0] == module]:
            monkeypatch.delitem(sys.modules, name)
        with pytest.raises(ImportError) as raised:
            importlib.import_module(module)
        return raised.value

    return fail


def missing(module: str) -> ImportError:
    return ModuleNotFoundError(f'No module named {module!r}', name=module)


def test_a_missing_library_is_told_with_the_command_that_brings_it() -> None:
    error = library_error(missing('cv2'))
    assert error is not None and error.what == 'the library cv2 is missing'
    assert error.why == f'opencv-python-headless is not installed for {sys.executable}'
    assert (
        f'{sys.executable} -m pip install ' in error.fix and 'opencv-python-headless' in error.fix
    )


def test_a_module_of_ours_that_is_missing_is_no_missing_library() -> None:
    assert library_error(missing('penguin_ros.nothing')) is None
    assert library_error(ImportError('cannot import name')) is None


def test_a_missing_file_of_the_system_names_its_debian_package(broken) -> None:  # type: ignore[no-untyped-def]
    error = library_error(broken('cv2', f'raise ImportError({LIBGL!r})'))
    assert error is not None and error.what == 'the library cv2 does not import'
    assert error.why.startswith(LIBGL) and 'packages/cv2/__init__.py' in error.why
    assert error.fix == 'Type: sudo apt-get install libgl1'


def test_an_unknown_file_of_the_system_is_named_itself(broken) -> None:  # type: ignore[no-untyped-def]
    error = broken('mujoco', "raise ImportError('libfoo.so.3: cannot open shared object file')")
    assert remedy(error) == 'Install the package of the system that brings libfoo.so'


def test_a_long_message_is_cut_to_its_first_line_and_the_library_is_installed_again(broken) -> None:  # type: ignore[no-untyped-def]
    error = library_error(broken('onnx', f'raise ImportError({NUMPY!r})'))
    assert error is not None and error.why.startswith(
        'Error importing numpy: wrong C extension (of'
    )
    assert '--force-reinstall' in error.fix and 'onnx' in error.fix


def test_the_library_to_blame_is_the_last_one_on_the_way(broken) -> None:  # type: ignore[no-untyped-def]
    broken('numpy', 'raise ImportError("numpy.core.multiarray failed to import")')
    error = library_error(broken('cv2', 'import numpy'))
    assert error is not None and error.what == 'the library numpy does not import'


def test_a_copy_that_pythonpath_puts_first_is_named(
    broken,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = str(tmp_path / 'packages')
    monkeypatch.setenv('PYTHONPATH', f'{entry}:/elsewhere')
    error = library_error(broken('numpy', 'raise ImportError("multiarray failed to import")'))
    assert error is not None and error.fix == f'Take {entry} out of PYTHONPATH'
    assert 'which PYTHONPATH puts first' in error.why and entry in error.why
    assert shadowing_entry('numpy') == entry and shadowing_entry('safetensors') == ''


def test_what_pythonnousersite_hides_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'onnx').mkdir()
    monkeypatch.setattr(sys, 'prefix', sys.base_prefix)
    monkeypatch.setattr(libraries.site, 'getusersitepackages', lambda: str(tmp_path))
    monkeypatch.setenv('PYTHONNOUSERSITE', '1')
    error = library_error(missing('onnx'))
    assert error is not None and error.fix == 'Type: unset PYTHONNOUSERSITE'
    assert error.why == f'onnx lies in {tmp_path}, which PYTHONNOUSERSITE hides'


def test_what_a_library_reads_when_it_is_imported_is_set_unless_the_user_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv('ORT_DISABLE_TELEMETRY', raising=False)
    prepare('onnxruntime')
    prepare('numpy')
    assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'
    monkeypatch.setenv('MUJOCO_GL', 'osmesa')
    prepare('mujoco')
    assert os.environ['MUJOCO_GL'] == 'osmesa'


@pytest.mark.parametrize(
    ('found', 'complaint'),
    [
        ('9.0.1', ''),
        ('9', ''),
        ('8.4.0', 'older than 9.0'),
        ('13.9.9', ''),
        ('14.0.0', 'not older than 14'),
        ('14.0rc1', 'not older than 14'),
        ('', ''),
        ('unknown', ''),
    ],
)
def test_a_version_is_held_against_the_bounds(
    found: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, 'demands', lambda: {'pillow': '>=9.0,<14'})
    assert version_complaint('Pillow', found) == complaint
    assert version_complaint('unheard-of', '1.0') == ''


def test_a_library_says_its_version_or_its_package_does() -> None:
    module = types.ModuleType('rich')
    assert version_of(module)[:1].isdigit()
    module.__version__ = '1.2'  # type: ignore[attr-defined]
    assert version_of(module) == '1.2' and version_of(types.ModuleType('nowhere')) == ''


def test_every_package_of_the_table_is_one_that_setup_py_names() -> None:
    text = (Path(__file__).resolve().parents[1] / 'setup.py').read_text()
    assert not [package for package in libraries.PACKAGES.values() if f"'{package}>=" not in text]


def test_the_command_turns_a_missing_library_into_three_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb(name: str) -> types.SimpleNamespace:
        raise missing('cv2')

    monkeypatch.setattr(main.importlib, 'import_module', verb)
    assert main.main(['doctor']) == exit_codes.UNUSABLE
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(':')[0].strip() for line in lines] == ['error', 'why', 'next']


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def verb(name: str) -> types.SimpleNamespace:
        raise missing('penguin_ros.cli.nothing')

    monkeypatch.setattr(main.importlib, 'import_module', verb)
    with pytest.raises(ModuleNotFoundError):
        main.main(['doctor'])
