# SPDX-License-Identifier: Apache-2.0
"""The checks of this machine: ROS 2, its transport, and the files of a checkpoint or a bundle."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from penguin_ros.doctor.finding import Finding, State
from penguin_ros.errors import PenguinError
from penguin_ros.installation import this_python
from penguin_ros.libraries import reason, shadowing_entry
from penguin_ros.ros.process.image_profile import (
    VARIABLES,
    find_image_profile,
    profile_variables,
)

MEBIBYTE = 1024 * 1024
RAW_FULL_HD_BYTES = 1920 * 1080 * 3

ROS_VARIABLES = ('ROS_DISTRO', 'AMENT_PREFIX_PATH')
ROS_ROOT = Path('/opt/ros')


def ros() -> Iterator[Finding]:
    """Checks ROS 2, our messages and cv_bridge. Where nothing tells that one is meant to be here,
    its absence is no fault: pip installs this package without one.
    """
    if importlib.util.find_spec('rclpy') is None:
        signs = [name for name in ROS_VARIABLES if os.environ.get(name)]
        is_meant = bool(signs or this_python().checkout or list(ROS_ROOT.glob('*/setup.bash')))
        yield Finding(
            'rclpy',
            State.FAULT if is_meant else State.NOTE,
            'not importable: no ROS 2 here, which nodes, penguin ask, watch and demo need',
            'source /opt/ros/<distro>/setup.bash, or ./scripts/setup in a checkout',
        )
        return
    broken = _broken('rclpy', 'rclpy')
    if broken is not None:
        yield broken
        return
    found = _version('ros-rclpy') or _version('rclpy') or 'present'
    distribution = os.environ.get('ROS_DISTRO') or 'wheels'
    middleware = os.environ.get('RMW_IMPLEMENTATION') or 'default'
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    words = f'{found} ({distribution}), RMW {middleware}, domain {domain}'
    yield Finding('rclpy', State.OK, words)
    yield _messages()
    yield _bridge()


def _messages() -> Finding:
    if importlib.util.find_spec('penguin_msgs') is None:
        return Finding(
            'penguin_msgs',
            State.FAULT,
            'not built, or its workspace is not sourced',
            './scripts/setup; in a workspace: '
            'colcon build --base-paths src src/penguin_ros/penguin_msgs',
        )
    broken = _broken('penguin_msgs', 'penguin_msgs.msg')
    return broken or Finding('penguin_msgs', State.OK, 'built, and it imports')


def _bridge() -> Finding:
    if importlib.util.find_spec('cv_bridge') is None:
        return Finding('cv_bridge', State.NOTE, 'absent: our own conversion is used')
    broken = _broken('cv_bridge', 'cv_bridge')
    if broken is None:
        return Finding('cv_bridge', State.OK, 'present, and it imports')
    return Finding(
        'cv_bridge', State.NOTE, f'{broken.text}: our own conversion is used', broken.fix
    )


def _broken(topic: str, module: str) -> Finding | None:
    """Imports a module of ROS, and says why where that fails."""
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a library that is broken raises
        text = f'does not import: {reason(error, module.partition(".")[0])}'
        return Finding(topic, State.FAULT, text, _ros_remedy(error, module))
    return None


def _ros_remedy(error: BaseException, module: str) -> str:
    """What to type where a module of ROS does not import: it was built for another Python, or its
    workspace is not the one that is sourced.
    """
    entry = shadowing_entry(module.partition('.')[0])
    if entry:
        return f'Take {entry} out of PYTHONPATH'
    if isinstance(error, ImportError) and this_python().checkout:
        return 'Open a new shell, then type: ./scripts/setup && source scripts/env.sh'
    return (
        'Use the Python of this ROS 2 (see: head -1 /opt/ros/<distro>/bin/ros2), and source its '
        'setup.bash in a new shell'
    )


def transport() -> Iterator[Finding]:
    """Checks shared memory and the Fast DDS profile that raw images need."""
    shared = Path('/dev/shm')
    if not shared.is_dir():
        yield Finding(
            '/dev/shm',
            State.FAULT,
            'absent: no shared-memory transport',
            'In Docker: --ipc=host or --shm-size=1g',
        )
        return
    usage = shutil.disk_usage(shared)
    is_enough = usage.free >= 256 * MEBIBYTE
    yield Finding(
        '/dev/shm',
        State.OK if is_enough else State.FAULT,
        f'{usage.free // MEBIBYTE} MiB free of {usage.total // MEBIBYTE}',
        '' if is_enough else 'In Docker: --ipc=host or --shm-size=1g',
    )
    segments = list(shared.glob('fastrtps_*'))
    if segments:
        size = sum(path.stat().st_size for path in segments if path.exists()) // MEBIBYTE
        yield Finding(
            'segments',
            State.NOTE,
            f'{len(segments)} Fast DDS files, {size} MiB (of running nodes, or left by killed '
            'ones)',
            'fastdds shm clean, when no node runs',
        )
    yield _profile()


def _profile() -> Finding:
    named = [(variable, os.environ[variable]) for variable in VARIABLES if os.environ.get(variable)]
    if not named:
        return Finding(
            'fastdds profile',
            State.NOTE,
            'none set: raw images over 0.5 MB get lost when a camera publishes them',
            "in the camera's shell: export "
            + ' '.join(f'{name}={find_image_profile()}' for name in profile_variables()),
        )
    variable, path = named[0]
    if not Path(path).is_file():
        return Finding(
            'fastdds profile',
            State.FAULT,
            f'{variable}={path}: no such file',
            f'unset {variable}, or correct the path',
        )
    segment = _segment_bytes(Path(path))
    is_large = segment >= RAW_FULL_HD_BYTES
    text = (
        f'{path}: shared-memory segment of {segment // MEBIBYTE} MiB'
        if segment
        else f'{path}: no segment_size'
    )
    return Finding(
        'fastdds profile',
        State.OK if is_large else State.FAULT,
        text,
        '' if is_large else f'segment_size must hold an image: {RAW_FULL_HD_BYTES} bytes for 1080p',
    )


def _segment_bytes(path: Path) -> int:
    """The largest segment_size that a profile file names; 0 when there is none."""
    from xml.etree import ElementTree

    try:
        sizes = [
            int(item.text or 0)
            for item in ElementTree.parse(path).iter()
            if item.tag.endswith('segment_size')
        ]
    except (ElementTree.ParseError, ValueError):
        return 0
    return max(sizes, default=0)


def checkpoint(source: str) -> Iterator[Finding]:
    """Checks the configuration and the tensor headers of a checkpoint."""
    from penguin_ros.checkpoint.checkpoint import open_checkpoint

    try:
        opened = open_checkpoint(source)
    except PenguinError as error:
        yield Finding(
            'checkpoint', State.FAULT, f'{error.what}: {error.why}'.rstrip(': '), error.fix
        )
        return
    shape = opened.shape
    yield Finding(
        'checkpoint',
        State.OK,
        f'{opened.name}: language {shape.llm.layers}×{shape.llm.hidden_size}, encoder '
        f'{shape.encoder.layers}×{shape.encoder.hidden_size}, digest {opened.digest[:12]}',
    )


def bundle(folder: str) -> Iterator[Finding]:
    """Checks the manifest of a bundle and the digest of every file."""
    from penguin_ros.backends.base.bundle import open_bundle

    try:
        manifest = open_bundle(folder, is_thorough=True).manifest
    except PenguinError as error:
        yield Finding('bundle', State.FAULT, f'{error.what}: {error.why}'.rstrip(': '), error.fix)
        return
    size = sum(file.bytes for file in manifest.files.values())
    yield Finding(
        'bundle',
        State.OK,
        f'{manifest.model_name} for {manifest.backend}, {manifest.precision.linears}, '
        f'{manifest.max_length} positions, {size / 1e9:.2f} GB, all files as they were written',
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ''
