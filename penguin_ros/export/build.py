# SPDX-License-Identifier: Apache-2.0
"""Turns a checkpoint into a bundle: weights converted one piece at a time, graphs, embedding table,
tokenizer, manifest.

This file is the order of the steps, and says which graphs a bundle holds for its backend; each step
is a file of this room. Nothing here needs PyTorch.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from penguin_ros.atomic_folder import atomic_folder, entries
from penguin_ros.backends.base.bundle import TOKENIZER, write_manifest
from penguin_ros.backends.base.file_digests import file_spec
from penguin_ros.backends.base.manifest import (
    CONTRACT,
    DECODER,
    ENCODER,
    ENCODER_STAGE,
    FIXED_LENGTH,
    FULL,
    FUSED,
    MANIFEST,
    PLAIN,
    PLAIN_HALF,
    TWO_PART,
    FileSpec,
    GraphSpec,
    Manifest,
    PrecisionSpec,
    ScalingSpec,
    TableSpec,
)
from penguin_ros.backends.cuda.kernel_set import kernel_formats
from penguin_ros.checkpoint.calibration import CALIBRATION
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.checkpoint.json_file import is_file
from penguin_ros.checkpoint.safetensors_file import STORAGE, narrowed
from penguin_ros.checkpoint.tensor_names import EMBEDDING
from penguin_ros.checkpoint.tensors import widened
from penguin_ros.checkpoint.tokenizer import ADDED, MERGES, PUBLISHED, SETTINGS, VOCABULARY
from penguin_ros.errors import BuildError, BuildRefused, NotEnoughSpace, system_reason
from penguin_ros.export.cuda.kernel_files import KernelOrder, add_kernels
from penguin_ros.export.cuda.network import NetworkOrder, write_network
from penguin_ros.export.decoder_graph import decoder_graph
from penguin_ros.export.encoder_graph import encoder_graph, stage_graphs
from penguin_ros.export.graph import Graph
from penguin_ros.export.precision import (
    BuildChoice,
    MatrixPlan,
    MatrixPlanner,
    PrecisionPlan,
    check_kernels,
    doubts,
    plan_precision,
)
from penguin_ros.export.resources import (
    HASH_NANOSECONDS,
    NANOSECONDS,
    Estimate,
    check_resources,
    estimate,
)
from penguin_ros.export.scaling import scaled, scaling_of
from penguin_ros.export.weight_conversion import Conversion, WeightConverter
from penguin_ros.export.weight_file import WeightFile
from penguin_ros.kernels.network import network_of

DECODERS = {'onnxruntime': (FULL, TWO_PART), 'tensorrt': (FIXED_LENGTH, TWO_PART)}
"""The decoder's graphs by backend, the best first; the last runs on older versions of the
backend.
"""

ENCODERS = {'onnxruntime': (FUSED,), 'tensorrt': (FUSED, PLAIN_HALF, PLAIN)}
STAGES = {'onnxruntime': (FUSED,), 'tensorrt': ()}
BEST = (FULL, FIXED_LENGTH, FUSED)
"""The variants that stand for their part: files of the others carry the name of the variant."""

DEFAULT_MAX_LENGTH = 4096
HEAD_PARTS = 2
TABLE = 'token_table.bin'
ENCODER_WEIGHTS, DECODER_WEIGHTS = 'vision.onnx.data', 'decoder.onnx.data'
TABLE_ROWS = 4096
"""Rows of the embedding table that are copied at once."""

ProgressCallback = Callable[[str, float], None]
"""Gets a stage, and the share of all work that is done: about 1 at the end."""


@dataclass(frozen=True)
class BuildOrder:
    """What to build: `max_length` positions per KV slot, the head in `head_parts` products, with
    `threads` for the conversion, 0 for all cores; `command` is what the manifest names for building
    it again. Parts named in `scaling` compute smaller numbers. With `has_maxima`, whole graphs give
    the largest magnitudes, too, and no runtime takes them. `kernels` is for the backend cuda, and
    for TensorRT where `decode` is kernels or both.
    """

    choice: BuildChoice = BuildChoice()
    max_length: int = DEFAULT_MAX_LENGTH
    head_parts: int = HEAD_PARTS
    threads: int = 0
    command: str = ''
    scaling: Mapping[str, ScalingSpec] = field(default_factory=dict)
    has_maxima: bool = False
    kernels: KernelOrder = KernelOrder()
    decode: str = ''


class WorkMeter:
    """Adds up the work that is done, in the unit of Estimate.work, and reports its share of all."""

    def __init__(self, total: float, progress: ProgressCallback) -> None:
        self._total = total
        self._progress = progress
        self._done = 0.0

    def add(self, stage: str, work: float) -> None:
        """Takes what was done of a stage since the last call."""
        self._done += work
        self._progress(stage, self._done / self._total)


class BundleBuilder:
    """Builds one bundle. `estimate` and `max_length`, which the model's context limits, are known
    before anything is written. BuildRefused when the order makes no sense.
    """

    def __init__(self, checkpoint: Checkpoint, order: BuildOrder) -> None:
        self._checkpoint = checkpoint
        self._order = order
        self._backend = order.choice.backend
        self._scaling = scaling_of(checkpoint.shape, order.scaling)
        self._precision: PrecisionPlan = plan_precision(order.choice)
        has_lengths = order.max_length >= 1 and order.threads >= 0
        if not has_lengths or not 1 <= order.head_parts <= checkpoint.shape.vocabulary_size // 2:
            raise BuildRefused(
                f'max_length {order.max_length}, head parts {order.head_parts}, '
                f'threads {order.threads}',
                'lengths and parts start at 1, threads at 0 for all cores',
            )
        self.max_length = min(order.max_length, checkpoint.shape.max_positions)
        self._threads = order.threads or min(os.cpu_count() or 1, 16)
        planner = MatrixPlanner(checkpoint.shape, self._precision, self._backend)
        self._encoder = planner.encoder()
        self._decoder = planner.decoder(1 if self._backend == 'cuda' else order.head_parts)
        self._plans = self._encoder + self._decoder
        kernel_planner = MatrixPlanner(checkpoint.shape, self._precision, 'cuda')
        self._of_kernels = kernel_planner.decoder(1) if order.decode else []
        if order.decode:
            check_kernels(self._precision)

    @property
    def doubts(self) -> list[str]:
        """What should be known of the formats before they are built; see `precision.doubts`."""
        return doubts(self._precision, self._backend)

    @property
    def estimate(self) -> Estimate:
        """Disk, memory and work."""
        shape, tensors = self._checkpoint.shape, self._checkpoint.tensors
        row_bytes = shape.llm.hidden_size * STORAGE[tensors.dtype(EMBEDDING)].itemsize
        table_bytes = shape.vocabulary_size * row_bytes
        plans = self._plans + self._of_kernels
        return estimate(plans, self._precision.compute, table_bytes, self._threads)

    def build(
        self,
        folder: Path,
        progress: ProgressCallback = lambda stage, share: None,
        finish: Callable[[Path], None] = lambda staging: None,
    ) -> Path:
        """Builds the bundle in `folder`, which appears whole at the end; an older bundle there is
        replaced.

        `finish` gets the complete bundle under its temporary name, and may add to it.
        NotEnoughSpace when disk or memory would not do, before anything is written or when it runs
        out on the way.
        """
        needed = self.estimate
        check_resources(Path(os.path.realpath(folder)), needed)
        meter = WorkMeter(needed.work, progress)
        try:
            check_target(folder)
            with atomic_folder(folder) as staging:
                graphs = self._write_graphs(staging, meter)
                table = self._write_table(staging, meter)
                self._copy_files(staging)
                files = _files(staging, meter)
                write_manifest(staging, self._manifest(graphs, table, files, folder))
                finish(staging)
        except MemoryError as error:
            raise NotEnoughSpace(
                f'{folder} could not be written', 'memory ran out', 'Free memory and build again'
            ) from error
        except OSError as error:
            kind = NotEnoughSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else BuildError
            why, fix = system_reason(error)
            fix = f'{fix}. Another place is given with --out'
            raise kind(f'{folder} could not be written', why, fix) from error
        return folder

    def _write_graphs(self, folder: Path, meter: WorkMeter) -> list[GraphSpec]:
        if self._backend == 'cuda':
            self._write_network(folder, meter, self._plans)
            return []
        graphs = self._write_encoders(folder, meter) + self._write_decoders(folder, meter)
        if self._order.decode:
            self._write_network(folder, meter, self._of_kernels)
        return graphs

    def _write_network(self, folder: Path, meter: WorkMeter, plans: list[MatrixPlan]) -> None:
        """Writes weights as kernels read them, and the kernels."""
        is_whole = self._backend == 'cuda'
        order = NetworkOrder(
            plans, self._precision.compute, self.max_length, self._threads, is_whole
        )
        write_network(self._checkpoint, order, folder, meter.add)
        formats = kernel_formats(self._precision_spec(), self._checkpoint.tensors.dtype(EMBEDDING))
        add_kernels(
            folder,
            network_of(self._checkpoint.shape, formats),
            replace(self._order.kernels, is_decoding=not is_whole),
            lambda stage: meter.add(stage, 0.0),
        )

    def _write_encoders(self, folder: Path, meter: WorkMeter) -> list[GraphSpec]:
        """Writes encoder and projector, whole and in stages, in each variant of the backend."""
        compute = self._precision.encoder_compute
        with WeightFile(folder / ENCODER_WEIGHTS) as file:
            conversion = self._conversion(file, compute, 'encoder', meter)
            weights = WeightConverter(conversion, self._encoder).encoder(self._checkpoint.shape)
        whole = [
            self._write_whole(folder, encoder_graph(weights, variant, compute), ENCODER, variant)
            for variant in ENCODERS[self._backend]
            # In float32 the two plain forms would be one.
            if (variant, compute) != (PLAIN_HALF, 'float32')
        ]
        return whole + [
            _write(folder, graph, ENCODER_STAGE, variant, index)
            for variant in STAGES[self._backend]
            for index, graph in enumerate(stage_graphs(weights, variant, compute))
        ]

    def _write_decoders(self, folder: Path, meter: WorkMeter) -> list[GraphSpec]:
        """Writes the LLM in each variant of the backend."""
        compute, length = self._precision.compute, self.max_length
        with WeightFile(folder / DECODER_WEIGHTS) as file:
            conversion = self._conversion(file, compute, 'LLM', meter)
            converter = WeightConverter(conversion, self._decoder)
            weights = converter.decoder(self._checkpoint.shape, length)
        return [
            self._write_whole(
                folder, decoder_graph(weights, variant, compute, length), DECODER, variant
            )
            for variant in DECODERS[self._backend]
        ]

    def _write_whole(self, folder: Path, graph: Graph, part: str, variant: str) -> GraphSpec:
        if self._order.has_maxima:
            graph.show_maxima()
        return _write(folder, graph, part, variant)

    def _conversion(
        self, file: WeightFile, compute: str, part: str, meter: WorkMeter
    ) -> Conversion:
        kinds = {plan.name: plan.kind for plan in self._plans}

        def note(name: str, elements: int) -> None:
            meter.add(f'{part}: {name}', elements * NANOSECONDS.get(kinds.get(name, ''), 0.0))

        return Conversion(
            self._checkpoint.tensors, file, compute, self._threads, note, self._scaling
        )

    def _write_table(self, folder: Path, meter: WorkMeter) -> TableSpec:
        """Writes the embedding in the format of the checkpoint: exact, and read a few rows at a
        time.
        """
        dtype, values = self._checkpoint.tensors.read_raw(EMBEDDING)
        with (folder / TABLE).open('wb') as file:
            for start in range(0, len(values), TABLE_ROWS):
                rows = values[start : start + TABLE_ROWS]
                if exponent := self._scaling.of(EMBEDDING):
                    rows = narrowed(dtype, scaled(widened(dtype, rows), exponent))[1]
                file.write(rows.tobytes())
                meter.add('embedding table', 0.0)
        return TableSpec(TABLE, dtype, *values.shape)

    def _copy_files(self, folder: Path) -> None:
        """Copies the tokenizer, and what was fitted for the probabilities of answers."""
        (folder / TOKENIZER).mkdir()
        for name in (PUBLISHED, VOCABULARY, MERGES, SETTINGS, ADDED):
            if is_file(self._checkpoint.path / name):
                shutil.copyfile(self._checkpoint.path / name, folder / TOKENIZER / name)
        if is_file(self._checkpoint.path / CALIBRATION):
            shutil.copyfile(self._checkpoint.path / CALIBRATION, folder / CALIBRATION)

    def _precision_spec(self) -> PrecisionSpec:
        precision = self._precision
        return PrecisionSpec(
            compute=precision.compute,
            linears=precision.linears,
            head=precision.head,
            vision=precision.encoder,
            block_size=precision.block_size,
            exceptions={plan.name: f'{plan.kind}: {plan.why}' for plan in self._plans if plan.why},
            scaling=self._order.scaling,
            cache=self._order.kernels.cache,
        )

    def _manifest(
        self, graphs: list[GraphSpec], table: TableSpec, files: dict[str, FileSpec], folder: Path
    ) -> Manifest:
        return Manifest(
            contract=CONTRACT,
            model_name=self._checkpoint.name,
            model_digest=self._checkpoint.digest,
            backend=self._backend,
            max_length=self.max_length,
            precision=self._precision_spec(),
            shape=self._checkpoint.shape,
            table=table,
            graphs=tuple(graphs),
            files=files,
            parameters=self._checkpoint.parameter_counts,
            versions=_versions(),
            command=self._order.command or f'penguin build {self._checkpoint.path} --out {folder}',
            decode=self._order.decode,
        )


def build_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    order: BuildOrder,
    progress: ProgressCallback = lambda stage, share: None,
) -> Path:
    """Builds the bundle of a checkpoint in `folder` and returns it; see BundleBuilder."""
    return BundleBuilder(checkpoint, order).build(folder, progress)


def check_target(folder: Path) -> None:
    """Raises BuildRefused when a bundle put there would overwrite something that is none."""
    if not folder.exists() or (folder / MANIFEST).is_file():
        return
    if not folder.is_dir() or entries(folder):
        raise BuildRefused(
            f'{folder} exists and is no bundle',
            'nothing but a bundle is replaced',
            'Name another with --out',
        )


def _write(
    folder: Path, graph: Graph, part: str, variant: str, index: int | None = None
) -> GraphSpec:
    name = part if variant in BEST else f'{part}_{variant}'
    file = f'{name}.onnx' if index is None else f'{name}_{index:02}.onnx'
    (folder / file).write_bytes(graph.model().SerializeToString())
    return GraphSpec(
        part=part,
        variant=variant,
        index=index or 0,
        file=file,
        opset=graph.opset,
        needs=tuple(sorted(graph.files)),
        quantised=graph.quantised,
        inputs=tuple(graph.inputs),
        outputs=tuple(graph.outputs),
    )


def _files(folder: Path, meter: WorkMeter) -> dict[str, FileSpec]:
    found = sorted(path for path in folder.rglob('*') if path.is_file())
    return {
        path.relative_to(folder).as_posix(): file_spec(
            path, lambda done: meter.add('checksums', done * HASH_NANOSECONDS)
        )
        for path in found
    }


def _versions() -> dict[str, str]:
    """Returns the versions of what writes the bundle."""
    found = {}
    for name in ('penguin_ros', 'onnx', 'numpy'):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
            continue
    return found
