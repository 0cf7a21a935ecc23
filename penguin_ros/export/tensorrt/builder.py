# SPDX-License-Identifier: Apache-2.0
"""Turns one graph into one engine with TensorRT's parser and builder, or with those of TensorRT for
RTX.

Importing this file needs tensorrt. Every object of the library stands in a variable whose type is
known, so that a type checker can hold each call against the bindings of each supported version.
What a version may lack is asked for by `hasattr`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from penguin_ros.backends.base.manifest import TensorSpec
from penguin_ros.backends.tensorrt.bindings import trt
from penguin_ros.backends.tensorrt.log import LOG, failed
from penguin_ros.errors import BackendError
from penguin_ros.export.tensorrt.profiles import Profile, input_shapes

ProgressCallback = Callable[[str, float], None]
"""Gets a stage, and the fraction of it that is done; also on threads of TensorRT."""

MAX_ERRORS = 4


@dataclass(frozen=True)
class BuilderSettings:
    """`timing_cache` is a file that makes the next build faster; intermediate values of one layer
    take `workspace_bytes` at most, 0 for whatever there is. `target` is a compute capability
    ('SM86') to build for, with TensorRT for RTX only; '' is the choice of the library. With
    `is_detailed`, the engine tells about each of its layers.
    """

    timing_cache: Path | None = None
    workspace_bytes: int = 0
    target: str = ''
    is_detailed: bool = False


@dataclass(frozen=True)
class BuildInput:
    """A graph: `model` as TensorRT is to see it, the `path` beside which its weights lie, its
    inputs and the profiles. With `has_one_copy`, a second profile may not have weights laid out
    for itself.
    """

    model: onnx.ModelProto
    path: Path
    inputs: tuple[TensorSpec, ...]
    profiles: tuple[Profile, ...]
    has_one_copy: bool = False


def has_cache_updates() -> bool:
    """Returns whether this TensorRT updates caches in place, which came together with fused
    attention, norm and rotation.
    """
    return hasattr(trt.INetworkDefinition, 'add_kv_cache_update')


class Network:
    """A parsed graph; BackendError when the parser does not understand it."""

    def __init__(self, graph: BuildInput) -> None:
        LOG.clear()
        self._graph = graph
        self._builder: trt.Builder = trt.Builder(LOG)
        self._network: trt.INetworkDefinition = self._builder.create_network(
            1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        )
        # The parser's weights live as long as the parser does.
        self._parser: trt.OnnxParser = trt.OnnxParser(self._network, LOG)
        if not self._parser.parse(graph.model.SerializeToString(), str(graph.path)):
            raise BackendError(
                f'{graph.path.name} was not understood',
                '; '.join(self._parser_errors()) or LOG.reason(),
            )

    def layers(self) -> dict[str, int]:
        """Returns how many layers there are of each kind."""
        network: trt.INetworkDefinition = self._network
        kinds: dict[str, int] = {}
        for index in range(network.num_layers):
            layer: trt.ILayer = network.get_layer(index)
            kind: trt.LayerType = layer.type
            kinds[kind.name] = kinds.get(kind.name, 0) + 1
        return kinds

    def inputs(self) -> list[str]:
        """Returns the names of the inputs."""
        network: trt.INetworkDefinition = self._network
        names: list[str] = []
        for index in range(network.num_inputs):
            tensor: trt.ITensor = network.get_input(index)
            names.append(tensor.name)
        return names

    def build(self, settings: BuilderSettings, path: Path, show: Callable[[float], None]) -> None:
        """Builds the engine and writes it to `path`. BackendError when there is no way to run the
        graph, or TensorRT would ignore one of its inputs.
        """
        config: trt.IBuilderConfig = self._builder.create_builder_config()
        for index, sizes in enumerate(self._graph.profiles):
            profile = self._profile(sizes)
            if index and self._graph.has_one_copy:
                profile.extra_memory_target = 0.0
            config.add_optimization_profile(profile)
        # Branches on streams of their own would each want memory, and more of a captured graph.
        config.max_aux_streams = 0
        if settings.workspace_bytes:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
        if settings.target:
            _set_target(config, settings.target)
        if settings.is_detailed:
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if hasattr(trt.BuilderFlag, 'REQUIRE_USER_ALLOCATION'):
            # Else an engine may allocate while it runs, and such a run cannot be captured.
            config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
        cache = _load_timing_cache(config, settings.timing_cache)
        monitor = Monitor(show)
        config.progress_monitor = monitor
        with interrupts_to(monitor.cancel):
            content: trt.IHostMemory | None = self._builder.build_serialized_network(
                self._network, config
            )
        monitor.raise_error()
        if content is None:
            raise failed(f'{self._graph.path.name} was not built')
        if LOG.ignored_inputs:
            raise BackendError(
                f'{self._graph.path.name} would be wrong', '; '.join(LOG.ignored_inputs)
            )
        with path.open('wb') as file:
            file.write(content)
        if cache is not None and settings.timing_cache is not None:
            _save_timing_cache(config, settings.timing_cache)

    def _profile(self, sizes: Profile) -> trt.IOptimizationProfile:
        profile: trt.IOptimizationProfile = self._builder.create_optimization_profile()
        for tensor in self._graph.inputs:
            shapes = input_shapes(tensor, sizes)
            if shapes is not None:
                low, best, high = (trt.Dims(list(shape)) for shape in shapes)
                profile.set_shape(tensor.name, low, best, high)
        return profile

    def _parser_errors(self) -> Sequence[str]:
        parser: trt.OnnxParser = self._parser
        found: list[str] = []
        for index in range(min(parser.num_errors, MAX_ERRORS)):
            error: trt.ParserError = parser.get_error(index)
            found.append(f'{error.node_operator()} {error.node_name()}: {error.desc()}')
        return found


class Monitor(trt.IProgressMonitor):
    """Turns TensorRT's nested phases into one fraction. TensorRT calls it on its own threads; an
    exception of `show` ends the build.
    """

    def __init__(self, show: Callable[[float], None]) -> None:
        trt.IProgressMonitor.__init__(self)
        self._show = show
        self._error: BaseException | None = None
        self._phases: dict[str, tuple[int, int]] = {}

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Notes that a phase begins, inside another or at the outside."""
        self._phases[phase_name] = (0, num_steps)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Notes that a step is done; returns whether to go on."""
        if phase_name in self._phases:
            self._phases[phase_name] = (step + 1, self._phases[phase_name][1])
        fraction, share = 0.0, 1.0
        for done, steps in self._phases.values():
            fraction, share = fraction + share * done / max(steps, 1), share / max(steps, 1)
        try:
            self._show(min(fraction, 1.0))
        except BaseException as error:  # must not unwind through TensorRT
            self._error = error
        return self._error is None

    def phase_finish(self, phase_name: str) -> None:
        """Notes that a phase ends."""
        self._phases.pop(phase_name, None)

    def cancel(self) -> None:
        """Ends the build at its next step, as if it had been interrupted."""
        self._error = self._error or KeyboardInterrupt()

    def raise_error(self) -> None:
        """Raises what `show` raised, or the interruption."""
        if self._error is not None:
            raise self._error


@contextmanager
def interrupts_to(cancel: Callable[[], None]) -> Iterator[None]:
    """Makes Ctrl-C call `cancel` for the time of a build: an exception in the middle of a callback
    would end the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: cancel())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _set_target(config: trt.IBuilderConfig, target: str) -> None:
    if not hasattr(trt, 'ComputeCapability') or not hasattr(config, 'set_compute_capability'):
        raise BackendError(
            f'no engine for {target}', 'this TensorRT builds for the GPU that it runs on'
        )
    if hasattr(config, 'num_compute_capabilities'):
        config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.__members__[target], 0)


def _load_timing_cache(config: trt.IBuilderConfig, file: Path | None) -> trt.ITimingCache | None:
    """Returns the cache of the file, or a new one where the file is absent or from another GPU."""
    if file is None:
        return None
    for content in (file.read_bytes() if file.is_file() else b'', b''):
        cache: trt.ITimingCache = config.create_timing_cache(content)
        if config.set_timing_cache(cache, False):
            return cache
    return None


def _save_timing_cache(config: trt.IBuilderConfig, file: Path) -> None:
    cache: trt.ITimingCache = config.get_timing_cache()
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_suffix('.new')
    staging.write_bytes(cache.serialize())
    staging.replace(file)
