# SPDX-License-Identifier: Apache-2.0
"""A checkpoint to a bundle: weights converted one piece at a time, graphs, token table, tokenizer,
manifest.

Knows the order of the steps; each step is a file of this room. Nothing here needs PyTorch.

Which graphs a bundle holds for its backend, written to files. Knows names and variants, not what is
in a graph.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.atomic_folder import atomic_folder
from penguin_ros.backends.base.bundle import TOKENIZER, file_spec, write_manifest
from penguin_ros.backends.base.manifest import (
    CONTRACT,
    MANIFEST,
    FileSpec,
    GraphSpec,
    Manifest,
    PrecisionSpec,
    TableSpec,
)
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.checkpoint.json_file import is_file
from penguin_ros.checkpoint.safetensors_file import STORAGE
from penguin_ros.checkpoint.tensor_names import EMBEDDING
from penguin_ros.checkpoint.tokenizer import ADDED, MERGES, PUBLISHED, SETTINGS, VOCABULARY
from penguin_ros.errors import BuildRefused, NotEnoughSpace
from penguin_ros.export import decoder_graph, encoder_graph
from penguin_ros.export.graph import Graph
from penguin_ros.export.network_weights import StoredDecoder, StoredEncoder
from penguin_ros.export.precision import (
    BuildChoice,
    MatrixPlan,
    MatrixPlanner,
    PrecisionPlan,
    plan_precision,
)
from penguin_ros.export.resources import (
    HASH_NANOSECONDS,
    NANOSECONDS,
    Estimate,
    check_resources,
    estimate,
)
from penguin_ros.export.weight_conversion import WeightConverter
from penguin_ros.export.weight_file import WeightFile

DECODERS = {'onnxruntime': ('full', 'two_part'), 'tensorrt': ('window', 'two_part')}
"""By backend, the best first, which is called decoder.onnx; the last runs on older versions of the
backend.
"""

ENCODERS = {'onnxruntime': ('fused',), 'tensorrt': ('fused', 'plain')}
STAGES = {'onnxruntime': ('fused',), 'tensorrt': ()}


def write_decoders(
    folder: Path, weights: StoredDecoder, plan: PrecisionPlan, backend: str, max_length: int
) -> list[GraphSpec]:
    """The LLM in each variant of the backend."""
    graphs = {
        variant: decoder_graph.decoder_graph(weights, variant, plan.compute, max_length)
        for variant in DECODERS[backend]
    }
    return [_write(folder, graph, decoder_graph.PART, variant) for variant, graph in graphs.items()]


def write_encoders(
    folder: Path, weights: StoredEncoder, plan: PrecisionPlan, backend: str
) -> list[GraphSpec]:
    """Encoder and projector whole and in stages."""
    compute = plan.vision_compute
    whole = [
        _write(
            folder,
            encoder_graph.encoder_graph(weights, variant, compute),
            encoder_graph.PART,
            variant,
        )
        for variant in ENCODERS[backend]
    ]
    return whole + [
        _write(folder, graph, encoder_graph.STAGE, variant, index)
        for variant in STAGES[backend]
        for index, graph in enumerate(encoder_graph.stage_graphs(weights, variant, compute))
    ]


def _write(
    folder: Path, graph: Graph, part: str, variant: str, index: int | None = None
) -> GraphSpec:
    is_best = variant in ('full', 'window', 'fused')
    name = (
        part
        + ('' if is_best else f'_{variant}')
        + ('' if index is None else f'_{index:02}')
        + '.onnx'
    )
    content = graph.model().SerializeToString()
    (folder / name).write_bytes(content)
    return GraphSpec(
        part,
        variant,
        index or 0,
        name,
        graph.opset,
        tuple(sorted(graph.files)),
        graph.quantised,
        tuple(graph.inputs),
        tuple(graph.outputs),
    )


DEFAULT_MAX_LENGTH = 4096
HEAD_PARTS = 2
TABLE, ENCODER_WEIGHTS, DECODER_WEIGHTS = (
    'token_table.bin',
    'vision.onnx.data',
    'decoder.onnx.data',
)
TABLE_ROWS = 4096

Show = Callable[[str, float], None]
"""(stage, work done since the last call, in the unit of Estimate.work)."""


@dataclass(frozen=True)
class BuildOrder:
    """What to build: `max_length` positions per KV slot, the head in `head_parts` products,
    `threads` 0 for all cores; `command` is what the manifest names for building it again.
    """

    choice: BuildChoice = BuildChoice()
    max_length: int = DEFAULT_MAX_LENGTH
    head_parts: int = HEAD_PARTS
    threads: int = 0
    command: str = ''


class BundleBuilder:
    """Builds one bundle; `estimate`, and `max_length` of which the model's context is the limit,
    are known before anything is written. BuildRefused when the order makes no sense.
    """

    def __init__(self, checkpoint: Checkpoint, order: BuildOrder) -> None:
        self._checkpoint, self._order = checkpoint, order
        self._precision: PrecisionPlan = plan_precision(order.choice)
        if (
            order.max_length < 1
            or order.threads < 0
            or not 1 <= order.head_parts <= checkpoint.shape.vocabulary_size // 2
        ):
            raise BuildRefused(
                f'max_length {order.max_length}, head parts {order.head_parts}, threads {order.threads}',
                'lengths and parts start at 1, threads at 0 for all cores',
            )
        self.max_length = min(order.max_length, checkpoint.shape.max_positions)
        self._threads = order.threads or min(os.cpu_count() or 1, 16)
        planner = MatrixPlanner(checkpoint.shape, self._precision, order.choice.backend)
        self._vision, self._decoder = planner.vision(), planner.decoder(order.head_parts)
        self._kinds = {plan.name: plan.kind for plan in self._plans}

    @property
    def _plans(self) -> list[MatrixPlan]:
        return self._vision + self._decoder

    @property
    def estimate(self) -> Estimate:
        """Disk, memory and work."""
        shape = self._checkpoint.shape
        table = (
            shape.vocabulary_size
            * shape.llm.hidden_size
            * STORAGE[self._checkpoint.tensors.dtype(EMBEDDING)].itemsize
        )
        return estimate(self._plans, self._precision.compute, table, self._threads)

    def build(
        self,
        folder: Path,
        show: Show = lambda stage, done: None,
        finish: Callable[[Path], None] = lambda staging: None,
    ) -> Path:
        """Builds the bundle in `folder`, which appears whole at the end; an older bundle there is
        replaced.

        `finish` gets the complete bundle under its temporary name, and may add to it.
        NotEnoughSpace when disk or memory would not do, before anything is written or when it runs
        out on the way.
        """
        check_resources(folder, self.estimate)
        try:
            check_target(folder)
            with atomic_folder(folder) as staging:
                graphs = self._write_graphs(staging, show)
                table = self._write_table(staging, show)
                self._copy_tokenizer(staging)
                write_manifest(
                    staging, self._manifest(graphs, table, _files(staging, show), folder)
                )
                finish(staging)
        except (OSError, MemoryError) as error:
            raise NotEnoughSpace(
                f'{folder} could not be written',
                str(error) or 'memory ran out',
                'Free disk or memory and build again',
            ) from error
        return folder

    def _write_graphs(self, folder: Path, show: Show) -> list[GraphSpec]:
        shape, tensors, backend = (
            self._checkpoint.shape,
            self._checkpoint.tensors,
            self._order.choice.backend,
        )
        with WeightFile(folder / ENCODER_WEIGHTS) as file:
            converter = WeightConverter(
                tensors,
                file,
                self._precision.vision_compute,
                self._vision,
                self._shown(show, 'encoder'),
                self._threads,
            )
            graphs = write_encoders(folder, converter.vision(shape), self._precision, backend)
        with WeightFile(folder / DECODER_WEIGHTS) as file:
            converter = WeightConverter(
                tensors,
                file,
                self._precision.compute,
                self._decoder,
                self._shown(show, 'LLM'),
                self._threads,
            )
            language = converter.language(shape, self.max_length)
            return graphs + write_decoders(
                folder, language, self._precision, backend, self.max_length
            )

    def _shown(self, show: Show, part: str) -> Callable[[str, int], None]:
        return lambda name, elements: show(
            f'{part}: {name}', elements * NANOSECONDS.get(self._kinds.get(name, ''), 0.0)
        )

    def _write_table(self, folder: Path, show: Show) -> TableSpec:
        """The embedding in the format of the checkpoint: exact, and read a few rows at a time."""
        dtype, values = self._checkpoint.tensors.read_raw(EMBEDDING)
        with (folder / TABLE).open('wb') as file:
            for start in range(0, len(values), TABLE_ROWS):
                file.write(values[start : start + TABLE_ROWS].tobytes())
                show('token table', 0.0)
        return TableSpec(TABLE, dtype, *values.shape)

    def _copy_tokenizer(self, folder: Path) -> None:
        (folder / TOKENIZER).mkdir()
        for name in (PUBLISHED, VOCABULARY, MERGES, SETTINGS, ADDED):
            if is_file(self._checkpoint.path / name):
                shutil.copyfile(self._checkpoint.path / name, folder / TOKENIZER / name)

    def _manifest(
        self, graphs: list[GraphSpec], table: TableSpec, files: dict[str, FileSpec], folder: Path
    ) -> Manifest:
        precision = self._precision
        exceptions = {plan.name: f'{plan.kind}: {plan.why}' for plan in self._plans if plan.why}
        return Manifest(
            contract=CONTRACT,
            model_name=self._checkpoint.name,
            model_digest=self._checkpoint.digest,
            backend=self._order.choice.backend,
            max_length=self.max_length,
            precision=PrecisionSpec(
                precision.compute,
                precision.linears,
                precision.head,
                precision.vision,
                precision.block_size,
                exceptions,
            ),
            shape=self._checkpoint.shape,
            table=table,
            graphs=tuple(graphs),
            files=files,
            parameters=self._checkpoint.parameter_counts,
            versions=_versions(),
            command=self._order.command or f'penguin build {self._checkpoint.path} --out {folder}',
        )


def build_bundle(
    checkpoint: Checkpoint, folder: Path, order: BuildOrder, show: Show = lambda stage, done: None
) -> Path:
    """See BundleBuilder."""
    return BundleBuilder(checkpoint, order).build(folder, show)


def _files(folder: Path, show: Show) -> dict[str, FileSpec]:
    found = sorted(path for path in folder.rglob('*') if path.is_file())
    return {
        path.relative_to(folder).as_posix(): file_spec(
            path, lambda done: show('checksums', done * HASH_NANOSECONDS)
        )
        for path in found
    }


def _versions() -> dict[str, str]:
    """Of what wrote the bundle."""
    found = {}
    for name in ('penguin_ros', 'onnx', 'numpy'):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
            continue
    return found


def check_target(folder: Path) -> None:
    """BuildRefused when a bundle put there would overwrite something that is none."""
    if (
        folder.exists()
        and not (folder / MANIFEST).is_file()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise BuildRefused(
            f'{folder} exists and is no bundle',
            'nothing but a bundle is replaced',
            'Name another with --out',
        )
