# SPDX-License-Identifier: Apache-2.0
"""The checks of this machine: Python and its libraries, ROS 2, backends, transport, and the files
of a checkpoint or a bundle.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from penguin_ros.doctor.finding import Finding, State
from penguin_ros.errors import PenguinError
from penguin_ros.ros.process.image_profile import (
    VARIABLES,
    find_image_profile,
    profile_variables,
)

MEBIBYTE = 1024 * 1024
RAW_FULL_HD_BYTES = 1920 * 1080 * 3

NEEDED = {
    'numpy': 'numpy',
    'PIL': 'pillow',
    'cv2': 'opencv-python-headless',
    'safetensors': 'safetensors',
    'tokenizers': 'tokenizers',
    'yaml': 'pyyaml',
    'rich': 'rich',
}
OPTIONAL = {'huggingface_hub': 'huggingface_hub', 'rosbags': 'rosbags'}
"""The package that brings each module."""


def environment() -> Iterator[Finding]:
    """Checks Python, the machine, and the libraries that the core always needs."""
    is_known = sys.version_info >= (3, 10)
    yield Finding(
        'python',
        State.OK if is_known else State.FAULT,
        f'{platform.python_version()} on {platform.machine()}',
        '' if is_known else 'Python 3.10 or newer is needed',
    )
    for module, package in NEEDED.items():
        yield _library(module, package, State.FAULT)
    for module, package in OPTIONAL.items():
        yield _library(module, package, State.NOTE)


def ros() -> Iterator[Finding]:
    """Checks ROS 2, our messages and cv_bridge."""
    if importlib.util.find_spec('rclpy') is None:
        yield Finding(
            'rclpy',
            State.FAULT,
            'not importable: no ROS 2 here',
            'source /opt/ros/<distro>/setup.bash, or ./scripts/setup',
        )
        return
    found = _version('ros-rclpy') or _version('rclpy') or 'present'
    distribution = os.environ.get('ROS_DISTRO') or 'wheels'
    middleware = os.environ.get('RMW_IMPLEMENTATION') or 'default'
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    words = f'{found} ({distribution}), RMW {middleware}, domain {domain}'
    yield Finding('rclpy', State.OK, words)
    if importlib.util.find_spec('penguin_msgs') is None:
        yield Finding(
            'penguin_msgs',
            State.FAULT,
            'not built, or its workspace is not sourced',
            './scripts/setup; in a workspace: '
            'colcon build --base-paths src src/penguin_ros/penguin_msgs',
        )
    else:
        yield Finding('penguin_msgs', State.OK, 'built')
    has_bridge = importlib.util.find_spec('cv_bridge') is not None
    yield Finding(
        'cv_bridge',
        State.OK if has_bridge else State.NOTE,
        'present' if has_bridge else 'absent: our own conversion is used',
    )


def backends() -> Iterator[Finding]:
    """Checks the inference libraries, one of which is needed."""
    found = [
        name
        for name in ('onnxruntime', 'torch', 'tensorrt')
        if importlib.util.find_spec(name) is not None
    ]
    for name in ('onnxruntime', 'torch', 'tensorrt'):
        is_found = name in found
        yield Finding(
            name,
            State.OK if is_found else State.NOTE,
            (_version(name) or 'present') if is_found else 'absent',
        )
    if 'onnxruntime' in found:
        yield _onnxruntime(State.NOTE if 'torch' in found else State.FAULT)
    if 'torch' in found:
        import torch

        if torch.cuda.is_available():
            yield Finding('cuda', State.OK, torch.cuda.get_device_name(0))
        else:
            yield Finding('cuda', State.NOTE, 'none, the CPU is used')
    if not found:
        yield Finding(
            'backend', State.FAULT, 'no library that can run a model', 'pip install onnxruntime'
        )


def _onnxruntime(when_unusable: State) -> Finding:
    """Says what this onnxruntime can do."""
    from penguin_ros.backends.onnxruntime.library import decoder_variant, load_library

    try:
        library = load_library()
    except PenguinError as error:
        return Finding('bundles', when_unusable, f'{error.what}: {error.why}', error.fix)
    providers = ', '.join(
        name.removesuffix('ExecutionProvider') for name in library.get_available_providers()
    )
    if decoder_variant(library) == 'full':
        return Finding('bundles', State.OK, f'run with ONNX Runtime on {providers}')
    return Finding(
        'bundles',
        State.NOTE,
        f'run with ONNX Runtime on {providers}, which copies new keys and values; newer ones '
        'write them in place',
        'pip install --upgrade onnxruntime, in Python 3.11 or newer',
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
        manifest = open_bundle(folder).manifest
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


def _library(module: str, package: str, when_absent: State) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(package, when_absent, 'absent', f'pip install {package}')
    return Finding(package, State.OK, _version(package) or 'present')


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ''
