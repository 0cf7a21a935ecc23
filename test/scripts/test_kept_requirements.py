# SPDX-License-Identifier: Apache-2.0
"""What an installed ROS 2 brings is neither installed a second time nor replaced."""

from __future__ import annotations

from pathlib import Path

from support.kept_requirements import kept_requirements


def names(requirements: list[str]) -> set[str]:
    return {line.split('==')[0] for line in requirements}


def test_everything_is_installed_where_the_system_brings_nothing(tmp_path: Path) -> None:
    requirements, constraints, overrides = kept_requirements(tmp_path, {})
    assert {'numpy', 'opencv-python-headless', 'onnxruntime', 'safetensors'} <= names(requirements)
    assert constraints == overrides == []


def test_numpy_of_the_system_is_left_out_and_held_at_its_version(tmp_path: Path) -> None:
    requirements, constraints, overrides = kept_requirements(
        tmp_path, {'numpy': '1.26.4', 'torch': '2.5.0'}
    )
    assert not {'numpy', 'torch'} & names(requirements)
    assert constraints == ['numpy==1.26.4', 'torch==2.5.0']
    assert overrides == ['numpy; python_version < "3"', 'torch; python_version < "3"']


def test_a_numpy_that_is_too_old_is_replaced_within_its_major_version(tmp_path: Path) -> None:
    requirements, constraints, overrides = kept_requirements(
        tmp_path, {'numpy': '1.21.5', 'cv2': ''}
    )
    assert [line for line in requirements if 'numpy' in line] == ['numpy>=1.23.5,<2']
    assert constraints == ['numpy>=1.23.5,<2']
    assert overrides == ['opencv-python-headless; python_version < "3"']


def test_opencv_of_debian_which_has_no_metadata_is_left_out_too(tmp_path: Path) -> None:
    requirements, constraints, _ = kept_requirements(tmp_path, {'cv2': ''})
    assert 'opencv-python-headless' not in names(requirements)
    assert constraints == []


def test_torch_of_a_jetson_image_is_kept_requirements(tmp_path: Path) -> None:
    requirements, constraints, _ = kept_requirements(tmp_path, {'torch': '2.8.0'}, 'torch.txt')
    assert 'torch' not in names(requirements)
    assert constraints == ['torch==2.8.0']
