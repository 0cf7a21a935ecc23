# SPDX-License-Identifier: Apache-2.0
"""The checks of Python and its libraries: each is imported, and its version is held against the
bounds of setup.py.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import platform
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

from penguin_ros.doctor.apart import Progress
from penguin_ros.doctor.finding import Finding, State
from penguin_ros.errors import PenguinError
from penguin_ros.installation import PROJECT, install_command
from penguin_ros.libraries import (
    PACKAGES,
    place_of,
    prepare,
    reason,
    remedy,
    shadowing_entry,
    version_complaint,
    version_of,
)

NEEDED = ('numpy', 'PIL', 'cv2', 'safetensors', 'tokenizers', 'yaml', 'rich')
OPTIONAL = {
    'huggingface_hub': 'hub ids',
    'rosbags': 'bags',
    'onnx': 'penguin build, and for checkpoints in ONNX Runtime',
    'llguidance': 'answers in JSON',
    'mujoco': 'simulated cameras and penguin score',
}
"""What each library is needed for."""

ONNXRUNTIME, TORCH, TENSORRT = BACKENDS = ('onnxruntime', 'torch', 'tensorrt')
TENSORRT_RTX = 'tensorrt_rtx'
CUDA = 'cuda'
OWN_KERNELS = 'own kernels'


def environment(progress: Progress | None = None) -> Iterator[Finding]:
    """Checks Python, where this package comes from, and libraries that are not for inference."""
    progress = progress or Progress()
    is_known = sys.version_info >= (3, 10)
    yield Finding(
        'python',
        State.OK if is_known else State.FAULT,
        f'{platform.python_version()} on {platform.machine()}, {sys.executable}',
        '' if is_known else 'Python 3.10 or newer is needed',
    )
    entry = shadowing_entry(PROJECT)
    folder = Path(__file__).resolve().parents[1]
    yield Finding(
        PROJECT,
        State.NOTE if entry else State.OK,
        f'{folder}, which PYTHONPATH puts before another copy' if entry else str(folder),
        f'If the other is meant, take {entry} out of PYTHONPATH' if entry else '',
    )
    for module in NEEDED:
        yield library(module, State.FAULT, progress=progress)
    for module, purpose in OPTIONAL.items():
        yield library(module, State.NOTE, purpose, progress)


def backends(progress: Progress | None = None) -> Iterator[Finding]:
    """Checks the inference libraries, one of which is needed."""
    progress = progress or Progress()
    findings = [
        _tensorrt(progress) if name == TENSORRT else library(name, State.NOTE, progress=progress)
        for name in BACKENDS
    ]
    findings += _own_kernels(progress)
    usable = [finding.topic for finding in findings if finding.state is State.OK]
    for finding in findings:
        is_spare = finding.state is State.FAULT and usable  # another can do the work
        yield replace(finding, state=State.NOTE) if is_spare else finding
    if ONNXRUNTIME in usable:
        progress.begin('bundles')
        yield _onnxruntime(State.NOTE if TORCH in usable else State.FAULT)
    if all(finding.state is State.NOTE for finding in findings):  # what is broken was told
        yield Finding(
            'backend',
            State.FAULT,
            'no library that can run a model',
            f'Type: {install_command(ONNXRUNTIME)}',
        )


def _own_kernels(progress: Progress) -> list[Finding]:
    """Says whether a bundle for the backend cuda would find NVIDIA's bindings and a driver, which
    is all that it needs; nothing where the bindings are absent.
    """
    from penguin_ros.backends.cuda.versions import driver_version, text

    found = library(CUDA, State.NOTE, progress=progress)
    if not _is_there(CUDA) or found.state is State.FAULT:
        return [] if found.state is State.NOTE else [found]
    words, driver = f'{found.topic} {found.text}', driver_version()
    if not driver:
        return [Finding(OWN_KERNELS, State.NOTE, f'{words}, no driver')]
    return [Finding(OWN_KERNELS, State.OK, f'{words}, driver of CUDA {text(driver)}')]


def _tensorrt(progress: Progress) -> Finding:
    if not any(map(_is_there, (TENSORRT, TENSORRT_RTX))):
        return Finding(TENSORRT, State.NOTE, 'absent')
    if TENSORRT in progress.deaths:
        return Finding(TENSORRT, State.FAULT, f'does not import: {progress.deaths[TENSORRT]}')
    progress.begin(TENSORRT)
    try:
        from penguin_ros.backends.tensorrt.library import require_tensorrt

        return Finding(TENSORRT, State.OK, str(require_tensorrt()))
    except PenguinError as error:
        return Finding(TENSORRT, State.FAULT, f'{error.what}: {error.why}', error.fix)


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
        f'Type: {install_command(ONNXRUNTIME, options=["--upgrade"])}, in Python 3.11 or newer',
    )


def library(
    module: str, when_absent: State, purpose: str = '', progress: Progress | None = None
) -> Finding:
    """Imports a library and holds its version against the bounds."""
    progress = progress or Progress()
    package = PACKAGES.get(module, module)
    if not _is_there(module):
        if when_absent is State.NOTE and not purpose:
            return Finding(package, when_absent, 'absent')
        text = f'absent; needed for {purpose}' if purpose else 'absent'
        return Finding(package, when_absent, text, f'Type: {install_command(package)}')
    if package in progress.deaths:
        text = f'does not import: {progress.deaths[package]} (of {place_of(module)})'
        entry = shadowing_entry(module)
        again = f'Type: {install_command(package, options=["--force-reinstall"])}'
        fix = f'Take {entry} out of PYTHONPATH' if entry else again
        return Finding(package, State.FAULT, text, fix)
    progress.begin(package)
    prepare(module)
    try:
        said = io.StringIO()  # some print why they do not import; what they raise says it too
        with redirect_stdout(said), redirect_stderr(said):
            imported = importlib.import_module(module)
    except Exception as error:  # whatever a library that is broken raises
        text = f'does not import: {reason(error, module)}'
        return Finding(package, State.FAULT, text, remedy(error, package))
    return _versioned(module, package, version_of(imported))


def _versioned(module: str, package: str, version: str) -> Finding:
    """Says what is wrong with a library that imports, if anything is."""
    words = version or 'present'
    newer = f'Type: {install_command(package, options=["--upgrade"])}'
    complaint = version_complaint(package, version)
    if complaint.startswith('older'):
        return Finding(package, State.FAULT, f'{words}, {complaint}', newer)
    if complaint:
        return Finding(package, State.NOTE, f'{words}, newer than any that was tried', newer)
    entry = shadowing_entry(module)
    if entry:
        return Finding(
            package,
            State.NOTE,
            f'{words} from {entry}, which PYTHONPATH puts before another copy',
            f'If the other is meant, take {entry} out of PYTHONPATH',
        )
    return Finding(package, State.OK, words)


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
