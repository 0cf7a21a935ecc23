# SPDX-License-Identifier: Apache-2.0
"""Which variants of a graph are tried, the best first, until one becomes an engine of a sensible
size.

Importing this file needs tensorrt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.manifest import (
    DECODER,
    ENCODER,
    FIXED_LENGTH,
    FUSED,
    PLAIN,
    PLAIN_HALF,
    TWO_PART,
    GraphSpec,
    Manifest,
)
from penguin_ros.backends.cuda.device import CudaDevice
from penguin_ros.backends.tensorrt.decode_choice import BY_KERNELS
from penguin_ros.backends.tensorrt.log import LOG
from penguin_ros.errors import BackendError, BuildError, BuildRefused, OutOfMemory
from penguin_ros.export.tensorrt.agreement import check_agreement
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
from penguin_ros.export.tensorrt.shallow import shallow_graph

NEW_OPERATORS = {DECODER: FIXED_LENGTH, ENCODER: FUSED}
OLD_OPERATORS = {DECODER: (TWO_PART,), ENCODER: (PLAIN_HALF, PLAIN)}
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
    decoding profile (0 for the encoder, and where there is none). With `has_one_copy`, prefill may
    not have weights laid out for itself; without `has_zero_points`, int4 weights stand before
    TensorRT's own operator.
    """

    part: str
    variant: str
    is_decomposable: bool = False
    decode_tokens: int = 0
    has_one_copy: bool = False
    has_zero_points: bool = True

    def __str__(self) -> str:
        text = f'{self.part}: {self.variant}'
        if self.is_decomposable:
            text += ', decomposable'
        if self.has_one_copy:
            text += ', one copy of the weights'
        if not self.has_zero_points:
            text += ', without zero points'
        if self.decode_tokens > 1:
            text += f', decoding 1 to {self.decode_tokens} tokens'
        return text


@dataclass(frozen=True)
class EngineOrder:
    """What is built from: a graph of `bundle` for `sizes`; how: with `settings`; and where to:
    `path`. On `device`, engines of two layers are compared. `progress` gets the candidate and the
    fraction of its build that is done.
    """

    bundle: Bundle
    sizes: ProfileSizes
    settings: BuilderSettings
    path: Path
    device: CudaDevice
    progress: ProgressCallback


@dataclass(frozen=True)
class Built:
    """An engine that was written: how, from which graph, and what was tried in vain before."""

    candidate: Candidate
    graph: GraphSpec
    profiles: tuple[Profile, ...]
    weight_bytes: int
    failures: tuple[str, ...]


def candidates(part: str, manifest: Manifest, choice: str = 'auto') -> list[Candidate]:
    """Returns what is tried for a part of a bundle, the best first; where kernels of this project
    decode, without a profile for that. BuildRefused when this TensorRT cannot do `choice`.
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
    new = NEW_OPERATORS[part] if is_new and choice != TWO_PART else ''
    old = () if choice == FIXED_LENGTH and part == DECODER else OLD_OPERATORS[part]
    precision = manifest.precision.linears
    if part == ENCODER:
        found = _encoder_candidates(new, old)
    else:
        tokens = [(0, False)] if manifest.decode == BY_KERNELS else _decode_tokens(precision)
        found = _decoder_candidates(new, old, precision, tokens)
    # A bundle in float32 has no plain_half, nor has one that is older than that form.
    return [candidate for candidate in found if manifest.graph(part, candidate.variant)]


def _encoder_candidates(new: str, old: Sequence[str]) -> list[Candidate]:
    found = [Candidate(ENCODER, new), Candidate(ENCODER, new, True)] if new else []
    return [*found, *(Candidate(ENCODER, variant) for variant in old)]


def _decoder_candidates(
    new: str, old: Sequence[str], precision: str, decoding: Sequence[tuple[int, bool]]
) -> list[Candidate]:
    """Decoding one token comes before decoding up to some: kernels for one row are the faster ones,
    even where attention must be taken apart for them.
    """
    forms = [(new, False), (new, True)] if new else []
    found: list[Candidate] = []
    for group in (forms, [(variant, False) for variant in old]):
        for tokens, has_one_copy in decoding:
            found += [
                Candidate(DECODER, variant, is_apart, tokens, has_one_copy)
                for variant, is_apart in group
            ]
    if precision == 'int4':
        variants = [name for name in (new, *old) if name]
        tokens = decoding[0][0]
        found += [
            Candidate(DECODER, name, False, tokens, has_zero_points=False) for name in variants
        ]
    return found


def preferred(tried: Sequence[Candidate], forms: Sequence[str]) -> list[Candidate]:
    """Returns the candidates in the order of `forms`, their names; those that are not named come
    behind, in the order that they had.
    """
    places = {name: place for place, name in enumerate(forms)}
    return sorted(tried, key=lambda candidate: places.get(str(candidate), len(places)))


def _decode_tokens(precision: str) -> list[tuple[int, bool]]:
    """Returns tokens of the decoding profile, and whether prefill is kept from a copy of its own.
    Integer weights are shared between profiles; float weights lay in the engine twice when decoding
    was fixed at one token, and once when it had a range (TensorRT for RTX).
    """
    one_copy = [(1, True), (SHARED_DECODE_TOKENS, False)]
    return [(1, False), *one_copy] if precision in INTEGERS else one_copy


def build_first(tried: Sequence[Candidate], order: EngineOrder) -> Built:
    """Tries one candidate after the other, each on two layers first, until an engine is written;
    BuildError with all reasons when none is.
    """
    failures: list[str] = []
    for candidate in tried:
        try:
            _try_on_two_layers(candidate, order)
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
    model = tensorrt_copy(path, candidate.is_decomposable, features, candidate.has_zero_points)
    return BuildInput(model, path, graph.inputs, profiles, candidate.has_one_copy)


def _try_on_two_layers(candidate: Candidate, order: EngineOrder) -> None:
    """Raises BackendError when the candidate fails on the first two layers: a minute then shows
    what a quarter of an hour would. There, too, softmax without float32 is compared with softmax in
    float32.
    """
    is_compared = candidate.variant == PLAIN_HALF
    graph, spec, is_cut = _two_layers(candidate, order)
    if not is_cut and not is_compared:
        return
    _write(graph, spec, order, f'{candidate}, two layers')
    if not is_compared:
        return
    wide = replace(candidate, variant=PLAIN)
    beside = replace(order, path=order.path.with_suffix('.wide'))
    try:
        graph, spec, _ = _two_layers(wide, beside)
        _write(graph, spec, beside, f'{wide}, two layers')
        engines = order.path, beside.path
        check_agreement(order.device, order.bundle.shape, engines, order.sizes.max_patches)
    finally:
        beside.path.unlink(missing_ok=True)


def _two_layers(candidate: Candidate, order: EngineOrder) -> tuple[BuildInput, GraphSpec, bool]:
    """Returns the graph of a candidate cut to two layers, and whether there was more of it."""
    graph = prepared(order.bundle, candidate, order.sizes)
    spec = order.bundle.graph(candidate.part, candidate.variant)
    shallow = shallow_graph(graph.model, spec)
    if shallow is None:
        return graph, spec, False
    graph = replace(graph, model=shallow.model, inputs=shallow.spec.inputs)
    return graph, shallow.spec, True


def _attempt(candidate: Candidate, order: EngineOrder, failures: tuple[str, ...]) -> Built:
    graph = prepared(order.bundle, candidate, order.sizes)
    spec = order.bundle.graph(candidate.part, candidate.variant)
    expected = _write(graph, spec, order, str(candidate))
    return Built(candidate, spec, graph.profiles, expected, failures)


def _write(graph: BuildInput, spec: GraphSpec, order: EngineOrder, title: str) -> int:
    """Checks a graph, builds its engine and checks that; returns the bytes of its weights."""
    order.progress(title, 0.0)
    version = WITH_FUSED if has_cache_updates() else OLDEST
    known = problems(graph.model, version, Constants(graph.model, graph.path.parent))
    if known:
        raise BackendError(
            f'{graph.path.name} is not for this TensorRT', '; '.join(known[:MAX_SHOWN])
        )
    expected = weight_bytes(graph.model)
    network = Network(graph)
    check_network(network.inputs(), network.layers(), spec)
    network.build(order.settings, order.path, lambda fraction: order.progress(title, fraction))
    check_size(order.path.stat().st_size, expected)
    return expected


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
