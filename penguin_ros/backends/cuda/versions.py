# SPDX-License-Identifier: Apache-2.0
"""Whether the CUDA runtime in NVIDIA's bindings and the driver of this machine go together, decided
from their two version numbers alone.

NVIDIA's rules (CUDA Compatibility): a driver runs every runtime that is older. Within a major
version it runs newer ones too, without the features that are newer than itself; nothing here uses
such. A runtime of a later major version fails at its first call. Importing this file needs no CUDA.
"""

from __future__ import annotations

import ctypes
from enum import Enum

from penguin_ros.errors import BackendUnavailable
from penguin_ros.installation import install_command
from penguin_ros.jetson import Jetson, bindings_for, find_jetson

Version = tuple[int, int]
"""(12, 6) for CUDA 12.6."""

OLDEST_MAJOR = 12
"""The oldest CUDA that the bindings and TensorRT 10.3 exist for."""
ANY_DRIVER = 'cuda-bindings==12.9.*'
"""The bindings that every driver from CUDA 12 on runs."""


class Fit(Enum):
    """How a runtime goes with a driver."""

    FITS = 'fits'
    NEWER = 'newer within the major version'
    TOO_NEW = 'of a later major version'
    OLD_DRIVER = 'driver of a major version that nothing here runs on'
    NO_DRIVER = 'no driver'


def fit_of(driver: int, runtime: int) -> Fit:
    """Compares two versions as CUDA's functions return them: 12060 for 12.6; a driver of 0 is
    none.
    """
    if driver == 0:
        return Fit.NO_DRIVER
    if split(driver)[0] < OLDEST_MAJOR:
        return Fit.OLD_DRIVER
    if split(runtime)[0] > split(driver)[0]:
        return Fit.TOO_NEW
    return Fit.NEWER if runtime > driver else Fit.FITS


def refusal(driver: int, runtime: int, jetson: Jetson | None) -> BackendUnavailable | None:
    """Returns the error for versions that do not go together; None when they do."""
    fit = fit_of(driver, runtime)
    if fit is Fit.NO_DRIVER:
        return BackendUnavailable(
            'no CUDA device can be used',
            'there is no CUDA driver: libcuda.so.1 is not found',
            _driver_advice(jetson),
        )
    if fit is Fit.OLD_DRIVER:
        return BackendUnavailable(
            'no CUDA device can be used',
            f'its driver runs CUDA {text(driver)} at most; CUDA {OLDEST_MAJOR} is the oldest here',
            'Update to JetPack 6.2 or later'
            if jetson
            else 'Update the NVIDIA driver to 525 or later',
        )
    if fit is Fit.TOO_NEW:
        return BackendUnavailable(
            'no CUDA device can be used',
            f'cuda-bindings brings the runtime of CUDA {text(runtime)}, and the driver here runs '
            f'{text(driver)} at most',
            f'Type: {bindings_command(driver)}',
        )
    return None


def device_advice(driver: int, runtime: int, jetson: Jetson | None) -> str:
    """Returns what to do where the versions go together and the device does not open."""
    check = (
        'Check that this user is in the groups video and render (type: id)'
        if jetson
        else 'Check the driver with nvidia-smi'
    )
    install = ''
    if fit_of(driver, runtime) is Fit.NEWER:
        install = f', or type: {bindings_command(driver)}'
    return f'{check}{install}, or choose another backend'


def bindings_command(driver: int) -> str:
    """Returns the command that brings the bindings for a driver; those that every driver runs where
    it is not known.
    """
    known = split(driver)[0] >= OLDEST_MAJOR
    return install_command(bindings_for(split(driver)) if known else ANY_DRIVER)


def driver_version() -> int:
    """Returns the driver's version as CUDA counts, without the bindings; 0 without a driver."""
    version = ctypes.c_int(0)
    try:
        failed = ctypes.CDLL('libcuda.so.1').cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return 0 if failed else version.value


def without_bindings(what: str, error: BaseException) -> BackendUnavailable:
    """Returns the error for a failed import of the files that need NVIDIA's bindings."""
    driver = driver_version()
    jetson = find_jetson()
    if not driver and jetson is not None and jetson.cuda:
        driver = jetson.cuda[0] * 1000 + jetson.cuda[1] * 10
    return BackendUnavailable(
        what, f'an import failed ({error})', f'Type: {bindings_command(driver)}'
    )


def split(version: int) -> Version:
    """Returns major and minor of a version as CUDA counts."""
    return version // 1000, version % 1000 // 10


def text(version: int) -> str:
    """Returns a version for people."""
    major, minor = split(version)
    return f'{major}.{minor}'


def _driver_advice(jetson: Jetson | None) -> str:
    if jetson is not None:
        return 'It belongs to Jetson Linux. In a container, start that with --runtime nvidia'
    return (
        'Install the NVIDIA driver; in a container, start that with --gpus all; or choose another '
        'backend'
    )
