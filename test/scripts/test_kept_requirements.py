# SPDX-License-Identifier: Apache-2.0
"""What an installed ROS 2 brings is neither installed a second time nor replaced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def kept(tmp_path: Path, system_modules: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Returns the two files written by an isolated Python that finds only the given modules."""
    site = tmp_path / 'site'
    for module in system_modules:
        (site / module).mkdir(parents=True)
        (site / module / '__init__.py').touch()
        (site / f'{module}-1.26.4.dist-info').mkdir()
        (site / f'{module}-1.26.4.dist-info' / 'METADATA').write_text(
            f'Metadata-Version: 2.1\nName: {module}\nVersion: 1.26.4\n'
        )
    arguments = [str(ROOT / 'requirements' / 'test.txt'), str(tmp_path)]
    code = (
        f'import sys, runpy; sys.path.append({str(site)!r}); sys.argv[1:] = {arguments}; '
        f'runpy.run_path({str(ROOT / "scripts" / "kept_requirements.py")!r}, run_name="__main__")'
    )
    base = Path(sys.base_prefix) / 'bin' / f'python3.{sys.version_info.minor}'
    subprocess.run([base, '-I', '-S', '-c', code], check=True)
    return (
        (tmp_path / 'requirements.txt').read_text().splitlines(),
        (tmp_path / 'constraints.txt').read_text().splitlines(),
    )


def names(requirements: list[str]) -> set[str]:
    return {line.split('==')[0] for line in requirements}


def test_everything_is_installed_where_the_system_brings_nothing(tmp_path: Path) -> None:
    requirements, constraints = kept(tmp_path, ())
    assert {'numpy', 'torch', 'opencv-python-headless', 'pytest', 'safetensors'} <= names(
        requirements
    )
    assert constraints == []


def test_numpy_of_the_system_is_left_out_and_held_at_its_version(tmp_path: Path) -> None:
    requirements, constraints = kept(tmp_path, ('numpy', 'torch'))
    assert not {'numpy', 'torch'} & names(requirements)
    assert constraints == ['numpy==1.26.4', 'torch==1.26.4']


def test_opencv_of_debian_which_has_no_metadata_is_left_out_too(tmp_path: Path) -> None:
    requirements, constraints = kept(tmp_path, ('cv2',))
    assert 'opencv-python-headless' not in names(requirements)
    assert constraints == []
