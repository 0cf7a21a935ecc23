# SPDX-License-Identifier: Apache-2.0
"""What TensorRT for RTX has that plain TensorRT has not, for the fake module: it builds for named
compute capabilities, of GPUs that need not be there, and says only of a finished engine that this
GPU does not run it.

Its words are those of 1.7.1, seen on an H200.
"""

from __future__ import annotations

import enum
from typing import Any

from support.fake_gpu.memory import FakeGpu

COMPUTE_CAPABILITIES = {'1.4': (75, 80, 86, 89, 120), '1.7': (75, 80, 86, 89, 120, 121)}
TURING = 75
"""The one that an engine is never built for unless it is asked for."""


def compute_capability(version: str) -> type[enum.IntEnum]:
    """Makes the enumeration of a version."""
    known = COMPUTE_CAPABILITIES['.'.join(version.split('.')[:2])]
    members = {'NONE': 0, 'CURRENT': -1, **{f'SM{number}': number for number in known}}
    return enum.IntEnum('ComputeCapability', members)


class RtxConfig:
    """The part of IBuilderConfig that plain TensorRT lacks; it has no timing cache, since the real
    one is to go.
    """

    def __init__(self) -> None:
        self._targets: list[int] = []

    @property
    def num_compute_capabilities(self) -> int:
        return len(self._targets)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count: int) -> None:
        self._targets = [0] * count

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        if not 0 <= index < len(self._targets):
            return False
        self._targets[index] = int(compute_capability)
        return True

    def targets(self) -> tuple[int, ...]:
        assert 0 not in self._targets, 'a target was announced and not named'
        return tuple(self._targets)


def refusal(targets: tuple[int, ...], version: str, gpu: FakeGpu) -> str:
    """Returns why the GPU does not run an engine; '' when it does."""
    known = COMPUTE_CAPABILITIES['.'.join(version.split('.')[:2])]
    usual = [number for number in known if number != TURING]
    own = gpu.compute[0] * 10 + gpu.compute[1]
    if own in (targets or usual) or (not targets and own > usual[-1]):
        return ''
    shown = ' '.join(f'{number / 10}' for number in targets or usual)
    return (
        'The engine cannot run on this GPU, which has compute capability '
        f'{gpu.compute[0]}.{gpu.compute[1]}. Supported compute capabilities: {shown}'
    )
