# SPDX-License-Identifier: Apache-2.0
"""The checks of an NVIDIA card: which it is, and whether torch and ONNX Runtime use it or leave it
idle. The card is asked of its driver, so that this works where no library for a GPU is installed.
"""

from __future__ import annotations

from collections.abc import Iterator

from penguin_ros.backends.onnxruntime.cuda_libraries import DRIVER, load_cuda_libraries
from penguin_ros.backends.ways import GPU_PACKAGE, Build, Machine, Way, this_machine
from penguin_ros.doctor.finding import Finding, State
from penguin_ros.installation import install_command, replace_command
from penguin_ros.libraries import installed_rivals

CARD, ORT_PACKAGES = 'card', 'onnxruntime packages'


def card(machine: Machine | None = None) -> Iterator[Finding]:
    """Names the card, its driver, and the CUDA of both libraries; of a machine without one, only
    whether packages of ONNX Runtime get in each other's way.
    """
    machine = machine or this_machine()
    yield from _packages(machine)
    if machine.card is None:
        return
    yield Finding(CARD, State.OK, str(machine.card))
    if machine.torch is not None:
        yield _used('torch on the card', machine.torch, machine.idle_beside_torch())
    if machine.onnxruntime is not None:
        yield _onnxruntime(machine, machine.onnxruntime)
    ways = machine.ways()
    if ways:
        yield _best(ways)


def _used(topic: str, build: Build, idle: tuple[str, str]) -> Finding:
    if idle[0]:
        return Finding(topic, State.NOTE, *idle)
    return Finding(topic, State.OK, f'{build.version}, built for CUDA {build.cuda}')


def _onnxruntime(machine: Machine, build: Build) -> Finding:
    finding = _used('onnxruntime on the card', build, machine.idle_beside_onnxruntime())
    if finding.state is not State.OK:
        return finding
    lacking = _lacking()
    if not lacking:
        return finding
    return Finding(
        finding.topic,
        State.NOTE,
        f'{finding.text}; its shared libraries are missing: {", ".join(lacking)}',
        f'Type: {install_command(GPU_PACKAGE)}',
    )


def _lacking() -> list[str]:
    """The libraries that ONNX Runtime's CUDA provider does not find; the driver's is told apart."""
    from penguin_ros.backends.onnxruntime.library import load_library
    from penguin_ros.errors import PenguinError

    try:
        return [name for name in load_cuda_libraries(load_library()) if name != DRIVER]
    except PenguinError:  # told by the check of libraries
        return []


def _packages(machine: Machine) -> Iterator[Finding]:
    """Both packages write to the same files: the one that was installed last is what runs, and
    removing either breaks the other.
    """
    rivals = installed_rivals('onnxruntime')
    if len(rivals) < 2:
        return
    wanted = GPU_PACKAGE if machine.card is not None else 'onnxruntime'
    yield Finding(
        ORT_PACKAGES,
        State.FAULT,
        f'{" and ".join(rivals)} are both installed and write to the same files: what runs is the '
        'one that was installed last, or a mixture',
        f'Type: {replace_command(rivals, wanted)}',
    )


def _best(ways: list[Way]) -> Finding:
    """Says what auto takes; a card that is idle was told of before."""
    is_idle = ways[0] in (Way.TORCH_CPU, Way.ONNXRUNTIME_CPU)
    state = State.NOTE if is_idle else State.OK
    return Finding('model.backend auto', state, f'checkpoints run with {ways[0].value}')
