# SPDX-License-Identifier: Apache-2.0
"""The checks of CUDA: first whether driver and runtime go together, then what uses them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from penguin_ros.backends.cuda.versions import (
    Fit,
    bindings_command,
    driver_version,
    fit_of,
    refusal,
    split,
    text,
)
from penguin_ros.doctor.finding import Finding, State
from penguin_ros.jetson import Jetson, find_jetson
from penguin_ros.libraries import prepare


def cuda() -> Iterator[Finding]:
    """Compares driver and runtime, and says what torch sees. Yields nothing on a machine without a
    GPU, where nothing for one is installed.
    """
    driver = driver_version()
    jetson = find_jetson()
    if driver or jetson or _has_tensorrt():
        yield _versions(driver, jetson)
    if jetson is not None:
        yield Finding('jetson', State.OK, str(jetson))
    yield from _torch(driver)


def _versions(driver: int, jetson: Jetson | None) -> Finding:
    when_unusable = State.FAULT if _has_tensorrt() else State.NOTE
    runtime = _runtime_version()
    if isinstance(runtime, str):
        if not driver:
            return Finding('cuda driver', when_unusable, 'absent: libcuda.so.1 is not found')
        fix = f'Type: {bindings_command(driver)}' if _has_tensorrt() else ''
        words = f'CUDA {text(driver)}; {runtime}'
        return Finding('cuda driver', when_unusable if fix else State.OK, words, fix)
    if error := refusal(driver, runtime, jetson):
        return Finding('cuda driver', when_unusable, error.why, error.fix)
    words = f'CUDA {text(driver)}, runtime of cuda-bindings {text(runtime)}'
    if fit_of(driver, runtime) is Fit.NEWER:
        return Finding(
            'cuda driver',
            State.NOTE,
            f'{words}: newer than the driver, which runs it',
            f'If calls of CUDA fail, type: {bindings_command(driver)}',
        )
    return Finding('cuda driver', State.OK, words)


def _runtime_version() -> int | str:
    """The version of the runtime in NVIDIA's bindings, or why there is none."""
    try:
        from cuda.bindings import runtime
    except Exception as error:  # absent, or a library that it loads is
        return f'cuda-bindings does not import ({error})' if _has('cuda') else 'no cuda-bindings'
    return int(runtime.cudaRuntimeGetVersion()[1])


def _torch(driver: int) -> Iterator[Finding]:
    if not _has('torch'):
        return
    prepare('torch')
    try:
        import torch
    except Exception:  # told by the check of libraries
        return
    if torch.cuda.is_available():
        yield Finding('cuda', State.OK, torch.cuda.get_device_name(0))
        return
    built = str(torch.version.cuda or '')
    is_too_new = bool(built and driver) and int(built.split('.')[0]) > split(driver)[0]
    yield Finding(
        'cuda',
        State.NOTE,
        f'torch was built for CUDA {built}, which this driver does not run: the CPU is used'
        if is_too_new
        else 'none, the CPU is used',
    )


def _has_tensorrt() -> bool:
    return _has('tensorrt') or _has('tensorrt_rtx')


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
