# SPDX-License-Identifier: Apache-2.0
"""Which variants of a graph are tried, the best first, until one becomes an engine of a sensible
size.

Importing this file needs tensorrt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.manifest import (
    DECODER,
    ENCODER,
    FIXED_LENGTH,
    FUSED,
    PLAIN,
    TWO_PART,
    GraphSpec,
)
from penguin_ros.backends.tensorrt.log import LOG
from penguin_ros.errors import BackendError, BuildError, BuildRefused, OutOfMemory
from penguin_ros.export.tensorrt.builder import (
    BuilderSettings,
    BuildInput,
    Network,
    ProgressCallback,
    has_cache_updates,
)
from penguin_ros.export.tensorrt.graph import Constants, tensorrt_copy, weight_bytes
from penguin_ros.export.tensorrt.memory_gate import remedy
from penguin_ros.export.tensorrt.operators import problems
from penguin_ros.export.tensorrt.profiles import (
    SHARED_DECODE_TOKENS,
    Profile,
    ProfileSizes,
    decoder_profiles,
    encoder_profiles,
)

NEW_OPERATORS = {DECODER: FIXED_LENGTH, ENCODER: FUSED}
OLD_OPERATORS = {DECODER: TWO_PART, ENCODER: PLAIN}
VARIANTS = ('auto', FIXED_LENGTH, TWO_PART)
INTEGERS = ('int8', 'int4')

OLDEST, WITH_FUSED = (10, 3), (10, 15)
"""The versions whose rules for graphs are applied, by what the library can do."""

MAX_SHOWN = 4
MAX_SIZE_RATIO = 1.3
KERNEL_BYTES = 64 * 1024 * 1024
"""Bytes of an engine for what is no weight: kernels and tables."""


@dataclass(frozen=True)
class Candidate:
    """One attempt: a variant, whether attention may be taken apart, and the most tokens of the
    decoding profile (0 for the encoder).
    """

    part: str
    variant: str
    is_decomposable: bool
    decode_tokens: int = 0

    def __str__(self) -> str:
        text = f'{self.part}: {self.variant}'
        if self.is_decomposable:
            text += ', decomposable'
        if self.decode_tokens > 1:
            text += f', decoding 1 to {self.decode_tokens} tokens'
        return text


@dataclass(frozen=True)
class EngineOrder:
    """What is built from: a graph of `bundle` for `sizes`; how: with `settings`; and where to:
    `path`. `progress` gets the candidate and the fraction of its build that is done.
    """

    bundle: Bundle
    sizes: ProfileSizes
    settings: BuilderSettings
    path: Path
    progress: ProgressCallback


@dataclass(frozen=True)
class Built:
    """An engine that was written: how, from which graph, and what was tried in vain before."""

    candidate: Candidate
    graph: GraphSpec
    profiles: tuple[Profile, ...]
    weight_bytes: int
    failures: tuple[str, ...]


def candidates(part: str, precision: str, choice: str = 'auto') -> list[Candidate]:
    """Returns what is tried for a part whose weights are stored as `precision`, the best first;
    BuildRefused when this TensorRT cannot do `choice`.
    """
    if choice not in VARIANTS:
        raise BuildRefused(f'variant {choice!r} is unknown', f'there are {", ".join(VARIANTS)}')
    is_new = has_cache_updates()
    if choice == FIXED_LENGTH and not is_new:
        raise BuildRefused(
            f'the variant {choice} cannot be built',
            'it needs TensorRT 10.15 or later',
            'Leave the variant to be chosen, or upgrade to JetPack 7.2',
        )
    decode_tokens = _decode_tokens(part, precision)
    found: list[Candidate] = []
    if is_new and choice != TWO_PART:
        new = NEW_OPERATORS[part]
        found += [Candidate(part, new, False, count) for count in decode_tokens]
        found += [Candidate(part, new, True, decode_tokens[-1])]
    if choice != FIXED_LENGTH or part == ENCODER:
        found += [Candidate(part, OLD_OPERATORS[part], False, count) for count in decode_tokens]
    return found


def preferred(tried: Sequence[Candidate], forms: Sequence[str]) -> list[Candidate]:
    """Returns the candidates in the order of `forms`, their names; those that are not named come
    behind, in the order that they had.
    """
    places = {name: place for place, name in enumerate(forms)}
    return sorted(tried, key=lambda candidate: places.get(str(candidate), len(places)))


def _decode_tokens(part: str, precision: str) -> list[int]:
    """Integer weights are shared between profiles; float weights only when both profiles have a
    range of tokens.
    """
    if part == ENCODER:
        return [0]
    return [1, SHARED_DECODE_TOKENS] if precision in INTEGERS else [SHARED_DECODE_TOKENS]


def build_first(tried: Sequence[Candidate], order: EngineOrder) -> Built:
    """Tries one candidate after the other until an engine is written; BuildError with all reasons
    when none is.
    """
    failures: list[str] = []
    for candidate in tried:
        try:
            return _attempt(candidate, order, tuple(failures))
        except BackendError as error:
            failures.append(f'{candidate}: {error.what}: {error.why}')
            order.path.unlink(missing_ok=True)
            if LOG.lacked_memory or isinstance(error, OutOfMemory):
                raise BuildError(
                    f'memory ran out while building {candidate}',
                    f'{" | ".join(failures)}; the forms after it take no less and are not tried',
                    remedy(),
                ) from error
    raise BuildError(
        f'no variant of the {tried[0].part} could be built',
        ' | '.join(failures),
        'If memory ran out, see the hints on memory in docs/engines.md; else please report this',
    )


def prepared(bundle: Bundle, candidate: Candidate, sizes: ProfileSizes) -> BuildInput:
    """Returns the graph of a candidate as TensorRT gets it, and its profiles."""
    manifest = bundle.manifest
    graph = bundle.graph(candidate.part, candidate.variant)
    path = bundle.file(graph.file)
    if candidate.part == ENCODER:
        features = manifest.precision.compute
        profiles = encoder_profiles(sizes)
    else:
        features = ''
        profiles = decoder_profiles(sizes, manifest.max_length, candidate.decode_tokens)
    model = tensorrt_copy(path, candidate.is_decomposable, features)
    return BuildInput(model, path, graph.inputs, profiles)


def _attempt(candidate: Candidate, order: EngineOrder, failures: tuple[str, ...]) -> Built:
    order.progress(str(candidate), 0.0)
    graph = prepared(order.bundle, candidate, order.sizes)
    version = WITH_FUSED if has_cache_updates() else OLDEST
    known = problems(graph.model, version, Constants(graph.model, graph.path.parent))
    if known:
        raise BackendError(
            f'{graph.path.name} is not for this TensorRT', '; '.join(known[:MAX_SHOWN])
        )
    expected = weight_bytes(graph.model)
    spec = order.bundle.graph(candidate.part, candidate.variant)
    network = Network(graph)
    check_network(network.inputs(), network.layers(), spec)
    network.build(
        order.settings, order.path, lambda fraction: order.progress(str(candidate), fraction)
    )
    check_size(order.path.stat().st_size, expected)
    return Built(candidate, spec, graph.profiles, expected, failures)


def check_network(inputs: Sequence[str], layers: Mapping[str, int], graph: GraphSpec) -> None:
    """Raises BackendError when the parser left out an input, unpacked weights or lost an update of
    the cache.
    """
    lost = sorted({tensor.name for tensor in graph.inputs} - set(inputs))
    updates = sum(tensor.name.startswith('present_') for tensor in graph.outputs)
    for kind, expected in (('DEQUANTIZE', graph.quantised), ('KV_CACHE_UPDATE', updates)):
        if layers.get(kind, 0) < expected:
            lost.append(f'{expected - layers.get(kind, 0)} of {expected} {kind} layers')
    if lost:
        raise BackendError(f'{graph.file} was not understood', f'the parser lost {", ".join(lost)}')


def check_size(engine_bytes: int, expected: int) -> None:
    """Raises BackendError when an engine is much larger than its weights: they were unpacked, or
    are there twice.
    """
    if engine_bytes > MAX_SIZE_RATIO * expected + KERNEL_BYTES:
        raise BackendError(
            'the engine is too large',
            f'{engine_bytes / 1e6:.1f} MB for {expected / 1e6:.1f} MB of weights',
        )
