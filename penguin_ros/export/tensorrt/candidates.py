# SPDX-License-Identifier: Apache-2.0
"""Which variants of a graph are tried, the best first, until one becomes a plan of a sensible size.
Knows no GPU.

Importing this file needs tensorrt.

Whether there is enough memory to build an engine, before hours are spent on it. Knows numbers, not
TensorRT.

The figures are estimates from reports of others, on the safe side of none that we could measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.manifest import GraphSpec
from penguin_ros.errors import BackendError, BuildError, BuildRefused, NotEnoughSpace
from penguin_ros.export.resources import free_memory
from penguin_ros.export.tensorrt.builder import (
    BuilderSettings,
    BuildInput,
    Network,
    Progress,
    has_cache_updates,
)
from penguin_ros.export.tensorrt.graph import Constants, largest_matrix, tensorrt_copy, weight_bytes
from penguin_ros.export.tensorrt.operators import problems
from penguin_ros.export.tensorrt.profiles import (
    SHARED_DECODE_ROWS,
    Profile,
    ProfileSizes,
    decoder_profiles,
    encoder_profiles,
)

BASE_BYTES = 600 * 1024 * 1024
"""TensorRT, CUDA and their contexts."""

TACTIC_RATIO = 1.75
"""Of the largest matrix in float16: 1.07 GB were reported for 2048 x 151,936 on an Orin Nano with
TensorRT 10.3.
"""

REMEDY = (
    'Run without a desktop (sudo systemctl isolate multi-user.target), stop other programs, boot with cma=950M on an Orin '
    'Nano, or build with a smaller --max-length or more parts of the head'
)


def needed_bytes(model: onnx.ModelProto) -> int:
    """Weights in the page cache, as many in the plan, the largest matrix while it is tried out, and
    the rest.
    """
    return 2 * weight_bytes(model) + int(TACTIC_RATIO * 2 * largest_matrix(model)) + BASE_BYTES


def check_memory(part: str, model: onnx.ModelProto, gpu_free_bytes: int, is_shared: bool) -> None:
    """NotEnoughSpace with the numbers and the remedy.

    `is_shared`: the GPU's memory is the machine's, as on a Jetson. What CUDA calls free there
    leaves out the page cache, which gives way; so the machine's own figure counts.
    """
    needed = needed_bytes(model)
    free = free_memory() if is_shared else gpu_free_bytes
    if free < needed:
        raise NotEnoughSpace(
            f'building the engine of the {part} needs about {needed / 1e9:.2f} GB of memory',
            f'{free / 1e9:.2f} GB are free',
            REMEDY,
            needed,
            free,
        )


FUSED = {'decoder': 'window', 'vision': 'fused'}
OLD_OPERATORS = {'decoder': 'two_part', 'vision': 'plain'}
VARIANTS = ('auto', 'window', 'two_part')
INTEGERS = ('int8', 'int4')

OLDEST, WITH_FUSED = (10, 3), (10, 15)
"""Versions whose rules for graphs are applied, by what the library can do."""

MAX_SHOWN = 4
MAX_SIZE_RATIO = 1.3
KERNEL_BYTES = 64 * 1024 * 1024
"""Of a plan, for what is no weight: kernels and tables."""


@dataclass(frozen=True)
class Candidate:
    """One attempt: a variant, whether attention may be taken apart, rows of the decoding profile
    (0: no decoder).
    """

    part: str
    variant: str
    is_decomposable: bool
    decode_rows: int = 0

    def __str__(self) -> str:
        rows = f', decoding 1 to {self.decode_rows} rows' if self.decode_rows > 1 else ''
        return (
            f'{self.part}: {self.variant}{", decomposable" if self.is_decomposable else ""}{rows}'
        )


@dataclass(frozen=True)
class Built:
    """A plan that was written: how, from which graph, and what was tried in vain before."""

    candidate: Candidate
    graph: GraphSpec
    profiles: tuple[Profile, ...]
    weight_bytes: int
    failures: tuple[str, ...]


def candidates(part: str, precision: str, choice: str = 'auto') -> list[Candidate]:
    """What is tried for a part whose weights are stored as `precision`; BuildRefused when this
    TensorRT cannot do `choice`.
    """
    if choice not in VARIANTS:
        raise BuildRefused(f'variant {choice!r} is unknown', f'there are {", ".join(VARIANTS)}')
    is_new = has_cache_updates()
    if choice == 'window' and not is_new:
        raise BuildRefused(
            'the variant window cannot be built',
            'it needs TensorRT 10.15 or later',
            'Leave the variant to be chosen, or upgrade to JetPack 7.2',
        )
    # Integer weights are shared between profiles; float ones only when both profiles have a range
    # of rows.
    rows = (
        [0]
        if part == 'vision'
        else [1, SHARED_DECODE_ROWS]
        if precision in INTEGERS
        else [SHARED_DECODE_ROWS]
    )
    found: list[Candidate] = []
    if is_new and choice != 'two_part':
        found += [Candidate(part, FUSED[part], False, count) for count in rows]
        found += [Candidate(part, FUSED[part], True, rows[-1])]
    if choice != 'window' or part == 'vision':
        found += [Candidate(part, OLD_OPERATORS[part], False, count) for count in rows]
    return found


def build_first(
    bundle: Bundle,
    tried: Sequence[Candidate],
    sizes: ProfileSizes,
    settings: BuilderSettings,
    plan: Path,
    progress: Progress,
) -> Built:
    """Tries one after the other until a plan is written; BuildError with all reasons when none is."""
    failures: list[str] = []
    for candidate in tried:
        try:
            return _attempt(bundle, candidate, sizes, settings, plan, progress, tuple(failures))
        except BackendError as error:
            failures.append(f'{candidate}: {error.what}: {error.why}')
            plan.unlink(missing_ok=True)
    raise BuildError(
        f'no variant of the {tried[0].part} could be built',
        ' | '.join(failures),
        'If memory ran out, see the hints on memory in docs/engines.md; else please report this',
    )


def prepared(bundle: Bundle, candidate: Candidate, sizes: ProfileSizes) -> BuildInput:
    """The graph of a rung as TensorRT gets it, and its profiles."""
    manifest = bundle.manifest
    graph = bundle.graph(candidate.part, candidate.variant)
    profiles = (
        encoder_profiles(sizes)
        if candidate.part == 'vision'
        else decoder_profiles(sizes, manifest.max_length, candidate.decode_rows)
    )
    features = manifest.precision.compute if candidate.part == 'vision' else ''
    path = bundle.file(graph.file)
    return BuildInput(
        tensorrt_copy(path, candidate.is_decomposable, features), path, graph.inputs, profiles
    )


def _attempt(
    bundle: Bundle,
    candidate: Candidate,
    sizes: ProfileSizes,
    settings: BuilderSettings,
    plan: Path,
    progress: Progress,
    failures: tuple[str, ...],
) -> Built:
    progress(str(candidate), 0.0)
    graph = prepared(bundle, candidate, sizes)
    known = problems(
        graph.model,
        WITH_FUSED if has_cache_updates() else OLDEST,
        Constants(graph.model, graph.path.parent),
    )
    if known:
        raise BackendError(
            f'{graph.path.name} is not for this TensorRT', '; '.join(known[:MAX_SHOWN])
        )
    expected, spec = weight_bytes(graph.model), bundle.graph(candidate.part, candidate.variant)
    network = Network(graph)
    check_network(network.inputs(), network.layers(), spec)
    network.build(settings, plan, lambda fraction: progress(str(candidate), fraction))
    check_size(plan.stat().st_size, expected)
    return Built(candidate, spec, graph.profiles, expected, failures)


def check_network(inputs: Sequence[str], layers: Mapping[str, int], graph: GraphSpec) -> None:
    """BackendError when the parser left out an input, unpacked weights or lost an update of the
    cache.
    """
    lost = sorted({tensor.name for tensor in graph.inputs} - set(inputs))
    updates = sum(tensor.name.startswith('present_') for tensor in graph.outputs)
    for kind, expected in (('DEQUANTIZE', graph.quantised), ('KV_CACHE_UPDATE', updates)):
        if layers.get(kind, 0) < expected:
            lost.append(f'{expected - layers.get(kind, 0)} of {expected} {kind} layers')
    if lost:
        raise BackendError(f'{graph.file} was not understood', f'the parser lost {", ".join(lost)}')


def check_size(plan_bytes: int, expected: int) -> None:
    """BackendError when a plan is much larger than its weights: they were unpacked, or are there
    twice.
    """
    if plan_bytes > MAX_SIZE_RATIO * expected + KERNEL_BYTES:
        raise BackendError(
            'the plan is too large',
            f'{plan_bytes / 1e6:.1f} MB for {expected / 1e6:.1f} MB of weights',
        )
