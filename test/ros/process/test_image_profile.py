# SPDX-License-Identifier: Apache-2.0
"""The Fast DDS profile is set for our own publishers, and only where the user has not chosen."""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from penguin_ros.ros.process import image_profile
from penguin_ros.ros.process.image_profile import (
    SEGMENT_BYTES,
    VARIABLES,
    find_image_profile,
    profile_variables,
    shared_memory_shortage,
    use_image_profile,
)


@pytest.fixture
def environment(monkeypatch):
    """The test's own environment variables."""
    for variable in (*VARIABLES, 'RMW_IMPLEMENTATION', 'ROS_DISTRO'):
        monkeypatch.delenv(variable, raising=False)
    yield monkeypatch
    for variable in VARIABLES:
        os.environ.pop(variable, None)


@pytest.mark.parametrize(
    ('distribution', 'variables'),
    [
        ('humble', {'FASTRTPS_DEFAULT_PROFILES_FILE'}),
        ('jazzy', {'FASTRTPS_DEFAULT_PROFILES_FILE'}),
        ('kilted', {'FASTDDS_DEFAULT_PROFILES_FILE'}),
        ('lyrical', {'FASTDDS_DEFAULT_PROFILES_FILE'}),
        ('rolling', {'FASTDDS_DEFAULT_PROFILES_FILE'}),
    ],
)
def test_only_the_variable_that_the_distribution_reads_is_set(environment, distribution, variables):
    environment.setenv('ROS_DISTRO', distribution)
    path = use_image_profile()
    assert path is not None and path.name == 'fastdds_images.xml'
    assert set(profile_variables()) == variables
    assert {name for name in VARIABLES if os.environ.get(name) == str(path)} == variables
    assert not any(name in os.environ for name in set(VARIABLES) - variables)


@pytest.mark.parametrize(
    ('rclpy', 'variables'),
    [('7.1.5', VARIABLES[:1]), ('9.1.2', VARIABLES[1:]), ('10.0.9', VARIABLES[1:])],
)
def test_without_a_word_of_the_environment_the_version_of_rclpy_tells(
    environment, rclpy, variables
):
    environment.setattr(image_profile, 'version', lambda package: rclpy)
    assert profile_variables() == variables


def test_both_variables_are_set_where_nothing_tells(environment):
    def absent(package):
        raise PackageNotFoundError(package)

    environment.setattr(image_profile, 'version', absent)
    path = use_image_profile()
    assert {os.environ[variable] for variable in VARIABLES} == {str(path)}


def test_a_checkout_uses_its_own_profile():
    repository = Path(__file__).resolve().parents[3]
    assert find_image_profile() == repository / 'config' / 'fastdds_images.xml'


def test_the_profile_has_the_segment_that_is_spoken_of():
    root = ElementTree.parse(find_image_profile()).getroot()
    assert [
        int(element.text) for element in root.iter() if element.tag.endswith('segment_size')
    ] == [SEGMENT_BYTES]


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        (VARIABLES[0], '/my/profile.xml'),
        (VARIABLES[1], ''),
        ('RMW_IMPLEMENTATION', 'rmw_cyclonedds_cpp'),
    ],
)
def test_the_user_decides(environment, name, value):
    environment.setenv(name, value)
    assert use_image_profile() is None
    assert [os.environ.get(variable) for variable in VARIABLES if variable != name] == [None] * sum(
        v != name for v in VARIABLES
    )


def test_a_small_shared_memory_is_reported(monkeypatch, tmp_path):
    class Small:
        f_bavail, f_frsize = 10, 4096

    monkeypatch.setattr(os, 'statvfs', lambda path: Small)
    assert '--shm-size' in shared_memory_shortage()


def test_a_checkout_brings_its_own_profile(monkeypatch, tmp_path):
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    root = Path(__file__).resolve().parents[3]
    assert find_image_profile() == root / 'config' / 'fastdds_images.xml'
