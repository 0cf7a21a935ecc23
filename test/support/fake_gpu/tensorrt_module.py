# SPDX-License-Identifier: Apache-2.0
"""A module `tensorrt` or `tensorrt_rtx` of a given version over a FakeGpu: builder, parser and
runtime as far as the code uses them.

test_api_contract holds the code against the real bindings, so a name that only exists here would be
found there.
"""

from __future__ import annotations

import enum
import os
import types
from typing import Any

from support.fake_gpu.engine import BuiltEngine, FakeEngine, Shape, onnx, tensors_of
from support.fake_gpu.engine_layers import unpacked_bytes
from support.fake_gpu.memory import FakeGpu
from support.fake_gpu.rtx import RtxConfig, compute_capability
from support.fake_gpu.rtx_kernels import RtxEngine

from penguin_ros.backends.tensorrt.library import Library

LAYERS = {
    'DequantizeLinear': 'DEQUANTIZE',
    'TRT_INT4DequantizeLinear': 'DEQUANTIZE',
    'TensorScatter': 'KV_CACHE_UPDATE',
    'TopK': 'TOPK',
}
FUSED = {'Attention', 'RMSNormalization', 'RotaryEmbedding', 'TensorScatter'}


class Severity(enum.IntEnum):
    """The names and values of TensorRT."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    """A base class of the code's own."""

    Severity = Severity


class IProgressMonitor:
    """A base class of the code's own."""


class Profile:
    """Stands in for IOptimizationProfile."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Shape, Shape, Shape]] = {}
        self.extra_memory_target = 1.0

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        low, best, high = tuple(min), tuple(opt), tuple(max)
        if not all(a <= b <= c for a, b, c in zip(low, best, high, strict=True)):
            raise ValueError(f'{input}: {low} {best} {high}')
        self.shapes[input] = low, best, high


class Network:
    """Stands in for INetworkDefinition; the parser fills it."""

    def __init__(self) -> None:
        self.model: onnx.ModelProto | None = None
        self.inputs: list[Any] = []
        self.layers: list[Any] = []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_input(self, index: int) -> Any:
        return self.inputs[index]

    def get_layer(self, index: int) -> Any:
        return self.layers[index]


class CachingNetwork(Network):
    """A network of TensorRT 10.15 and later."""

    def add_kv_cache_update(self) -> None:
        raise AssertionError('caches come from the parser')


class Config:
    """Stands in for IBuilderConfig."""

    def __init__(self) -> None:
        self.profiles: list[Profile] = []
        self.limits: dict[Any, int] = {}
        self.timing_cache: types.SimpleNamespace | None = None
        self.progress_monitor: Any = None
        self.flags: set[Any] = set()
        self.max_aux_streams = -1
        self.profiling_verbosity: Any = None

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag)

    def targets(self) -> tuple[int, ...]:
        return ()

    def add_optimization_profile(self, profile: Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self.limits[pool] = pool_size


class TimingConfig(Config):
    """With what only plain TensorRT has use for."""

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        content = bytes(serialized_timing_cache)
        return types.SimpleNamespace(content=content, serialize=lambda: content + b'.')

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self.timing_cache = cache
        return not cache.content.startswith(b'other')

    def get_timing_cache(self) -> Any:
        return self.timing_cache


class TargetConfig(RtxConfig, Config):
    """With what only TensorRT for RTX has."""

    def __init__(self) -> None:
        Config.__init__(self)
        RtxConfig.__init__(self)


def tensorrt_module(
    gpu: FakeGpu, library: Library, refuses: Any, built: list[onnx.ModelProto]
) -> types.ModuleType:
    """Makes the module. `refuses` says why a model cannot be built, '' when it can; `built`
    collects the models that were asked for.
    """
    version = library.version
    module = types.ModuleType(library.module)
    module.__version__ = version
    has_fused = library.is_rtx or tuple(map(int, version.split('.')[:2])) >= (10, 15)

    class OnnxParser:
        def __init__(self, network: Network, logger: Any) -> None:
            self.network, self.errors = network, []

        @property
        def num_errors(self) -> int:
            return len(self.errors)

        def get_error(self, index: int) -> Any:
            return types.SimpleNamespace(
                desc=lambda: self.errors[index], node_name=lambda: '', node_operator=lambda: ''
            )

        def parse(self, model: bytes, path: str | None = None) -> bool:
            proto = onnx.load_model_from_string(bytes(model))
            unknown = {node.op_type for node in proto.graph.node} & (set() if has_fused else FUSED)
            if unknown:
                self.errors.append(f'no importer for {sorted(unknown)[0]}')
                return False
            onnx.external_data_helper.load_external_data_for_model(
                proto, os.path.dirname(path or '')
            )
            self.network.model = proto
            self.network.inputs = [
                types.SimpleNamespace(name=tensor.name, shape=tensor.shape)
                for tensor in tensors_of(proto).values()
                if tensor.is_input
            ]
            kinds = (LAYERS.get(node.op_type, node.op_type.upper()) for node in proto.graph.node)
            self.network.layers = [
                types.SimpleNamespace(type=types.SimpleNamespace(name=kind)) for kind in kinds
            ]
            return True

    class Builder:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def create_network(self, flags: int = 0) -> Network:
            assert flags == 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
            return CachingNetwork() if has_fused else Network()

        def create_builder_config(self) -> Config:
            return TargetConfig() if library.is_rtx else TimingConfig()

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
            model = network.model
            assert model is not None
            for tensor in network.inputs:
                assert -1 not in tensor.shape or all(
                    tensor.name in one.shapes for one in config.profiles
                ), tensor.name
            built.append(model)
            why = refuses(model)
            if why:
                self.logger.log(Severity.ERROR, why)
                return None
            self.logger.log(Severity.INFO, 'Total Weights Memory: 1234 bytes')
            self.logger.log(Severity.INFO, 'Compiler backend is used during engine build.')
            for _ in range(2):
                self.logger.log(Severity.WARNING, 'Detected layernorm nodes in FP16.')
            monitor = config.progress_monitor
            if monitor is not None:
                monitor.phase_start('Building', None, 2)
                for step in range(2):
                    if not monitor.step_complete('Building', step):
                        return None
                monitor.phase_finish('Building')
            return BuiltEngine(
                library.module,
                version,
                gpu.name,
                model.SerializeToString(),
                [one.shapes for one in config.profiles],
                config.targets(),
                not library.is_rtx or module.BuilderFlag.REQUIRE_USER_ALLOCATION in config.flags,
                config.profiling_verbosity == module.ProfilingVerbosity.DETAILED,
                bytes(unpacked_bytes(model, gpu.unpacked)),
                [one.extra_memory_target for one in config.profiles],
                config.max_aux_streams,
            ).to_bytes()

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, serialized_engine: Any) -> FakeEngine | None:
            built_engine = BuiltEngine.of(bytes(serialized_engine))
            why = (
                built_engine.refusal(library.module, version, gpu)
                if built_engine
                else 'this is no engine'
            )
            if built_engine and gpu.used_bytes + gpu.page_cache.in_the_way_bytes > gpu.total_bytes:
                why = 'IExecutionContext: cudaMalloc: Error Code 1: Cuda Runtime (out of memory)'
                gpu.refused += 1
            if built_engine is None or why:
                self.logger.log(Severity.ERROR, why)
                return None
            kind = RtxEngine if library.is_rtx else FakeEngine
            return kind(
                built_engine,
                gpu,
                has_fused,
                lambda name, text: self.logger.log(Severity[name], text),
                module,
            )

    module.ILogger, module.IProgressMonitor, module.Dims = ILogger, IProgressMonitor, tuple
    module.INetworkDefinition = CachingNetwork if has_fused else Network
    module.OnnxParser, module.Builder, module.Runtime = OnnxParser, Builder, Runtime
    if library.is_rtx:
        module.ComputeCapability = compute_capability(version)
        module.DynamicShapesKernelSpecializationStrategy = enum.Enum(
            'DynamicShapesKernelSpecializationStrategy', 'LAZY EAGER NONE'
        )
    flags = 'DEBUG REFIT REQUIRE_USER_ALLOCATION' if library.is_rtx else 'DEBUG REFIT'
    for name, members in (
        ('BuilderFlag', flags),
        ('TensorIOMode', 'NONE INPUT OUTPUT'),
        ('MemoryPoolType', 'WORKSPACE'),
        ('ProfilingVerbosity', 'LAYER_NAMES_ONLY NONE DETAILED'),
        ('LayerInformationFormat', 'ONELINE JSON'),
        ('NetworkDefinitionCreationFlag', 'EXPLICIT_BATCH STRONGLY_TYPED'),
        ('ExecutionContextAllocationStrategy', 'STATIC USER_MANAGED'),
        ('DataType', 'FLOAT HALF INT64 INT32 BOOL UINT8 BF16'),
    ):
        setattr(module, name, enum.IntEnum(name, members.split(), start=0))
    return module
