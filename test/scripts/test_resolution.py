# SPDX-License-Identifier: Apache-2.0
"""What scripts/setup installs on a Jetson can be resolved with the packages that Ubuntu brings: for
aarch64, wheels only, by uv and by pip. Nothing is downloaded but metadata.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from support.fresh_checkout import can_install
from support.kept_requirements import kept_requirements

from penguin_ros.jetson import bindings_for

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class System:
    """What Ubuntu on a JetPack brings: Python, the newest glibc tag, CUDA, and apt's numpy."""

    name: str
    python: str
    glibc: int
    cuda: tuple[int, int]
    numpy: str


SYSTEMS = (
    System('JetPack 6, Ubuntu 22.04', '3.10', 35, (12, 6), '1.21.5'),
    System('JetPack 7, Ubuntu 24.04', '3.12', 39, (13, 0), '1.26.4'),
)


@pytest.fixture(scope='module')
def _index() -> None:
    if not can_install():
        pytest.skip('no index of packages can be reached')


@pytest.fixture(params=SYSTEMS, ids=lambda system: system.name)
def system(request: pytest.FixtureRequest, _index: None) -> System:
    """Returns each system in turn."""
    found: System = request.param
    return found


def wanted(system: System, folder: Path, lists: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Returns the requirements and constraints that scripts/setup would give the installer, of
    which pip takes only those whose markers hold for that Python.
    """
    lines, constraints = [bindings_for(system.cuda)], []
    for name in lists:
        required, constraints, _ = kept_requirements(
            folder / name, {'numpy': system.numpy, 'cv2': ''}, name
        )
        lines += required
    held = {
        'python_version': system.python,
        'python_full_version': f'{system.python}.0',
        'platform_machine': 'aarch64',
    }
    requirements = [Requirement(line) for line in lines]
    kept = [one for one in requirements if one.marker is None or one.marker.evaluate(held)]
    return [f'{one.name}{one.specifier}' for one in kept], constraints


def check(system: System, versions: dict[str, str]) -> None:
    """The numpy is one with which both onnx and apt's OpenCV work; onnxruntime is there."""
    numpy = Version(versions['numpy'])
    assert Version('1.23.2') <= numpy < Version('2')
    if Version(system.numpy) >= Version('1.23.5'):
        assert str(numpy) == system.numpy
    assert Version(versions['onnxruntime']) >= Version('1.23')
    assert versions['cuda-bindings'].startswith('12.9.' if system.cuda[0] == 12 else '13.0.')
    assert 'torch' not in versions and 'opencv-python-headless' not in versions


def write(folder: Path, lines: list[str], constraints: list[str]) -> list[str]:
    """Writes both lists and returns the options that name them."""
    (folder / 'r.txt').write_text('\n'.join(lines))
    (folder / 'c.txt').write_text('\n'.join(constraints))
    return ['-c', str(folder / 'c.txt'), '-r', str(folder / 'r.txt')]


@pytest.mark.parametrize('lists', [('run.txt',), ('run.txt', 'test.txt')], ids=['run', 'test'])
def test_pip_resolves_it(system: System, tmp_path: Path, lists: tuple[str, ...]) -> None:
    platforms = [f'manylinux_2_{minor}_aarch64' for minor in range(17, system.glibc + 1)]
    options = [f'--platform={platform}' for platform in ('manylinux2014_aarch64', *platforms)]
    options += write(tmp_path, *wanted(system, tmp_path, lists))
    options += [f'--python-version={system.python}', '--implementation=cp', '--only-binary=:all:']
    report = tmp_path / 'report.json'
    result = subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--dry-run', f'--report={report}', '-q']
        + [f'--target={tmp_path}/none', *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    installed = json.loads(report.read_text())['install']
    check(system, {one['metadata']['name']: one['metadata']['version'] for one in installed})


@pytest.mark.parametrize('lists', [('run.txt',), ('run.txt', 'test.txt')], ids=['run', 'test'])
def test_uv_resolves_it(system: System, tmp_path: Path, lists: tuple[str, ...]) -> None:
    uv = shutil.which('uv') or str(Path(sys.prefix) / '.uv' / 'bin' / 'uv')
    if not Path(uv).exists():
        pytest.skip('there is no uv')
    arguments = write(tmp_path, *wanted(system, tmp_path, lists))
    result = subprocess.run(
        [uv, 'pip', 'compile', '-q', '--no-annotate', '--no-header', '--only-binary=:all:']
        + [
            f'--python-version={system.python}',
            f'--python-platform=aarch64-manylinux_2_{system.glibc}',
        ]
        + arguments[:2]
        + [arguments[3]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    check(system, dict(line.split('==', 1) for line in result.stdout.splitlines()))


def test_the_numpy_of_ubuntu_22_04_itself_would_not_do(tmp_path: Path, _index: None) -> None:
    jammy = SYSTEMS[0]
    lines, _ = wanted(jammy, tmp_path, ('run.txt',))
    without = [line for line in lines if not line.startswith('numpy')]
    result = subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--dry-run', '-q', f'--target={tmp_path}/none']
        + ['--platform=manylinux_2_28_aarch64', '--platform=manylinux2014_aarch64']
        + ['--platform=manylinux_2_27_aarch64', '--python-version=3.10', '--only-binary=:all:']
        + write(tmp_path, without, [f'numpy=={jammy.numpy}']),
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'ResolutionImpossible' in result.stderr
