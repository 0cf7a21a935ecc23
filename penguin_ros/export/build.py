# SPDX-License-Identifier: Apache-2.0
"""A checkpoint to a bundle: weights converted one piece at a time, graphs, token table, tokenizer, manifest.

Knows the order of the steps; each step is a file of this room. Nothing here needs PyTorch.
"""
from __future__ import annotations

import importlib.metadata
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.backends.bundle import TOKENIZER, file_spec, write_manifest
from penguin_ros.backends.bundle_manifest import CONTRACT, FileSpec, GraphSpec, Manifest, PrecisionSpec, TableSpec
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.checkpoint.json_file import is_file
from penguin_ros.checkpoint.tensor_names import EMBEDDING, HEAD
from penguin_ros.checkpoint.tokenizer_file import ADDED, MERGES, PUBLISHED, SETTINGS, VOCABULARY
from penguin_ros.export.graph_files import write_decoders, write_visions
from penguin_ros.export.precision import BuildChoice, PrecisionPlan, plan_precision
from penguin_ros.export.weight_conversion import WeightConverter
from penguin_ros.export.weight_file import WeightFile

DEFAULT_MAX_LENGTH = 4096
HEAD_PARTS = 2
TABLE, VISION_WEIGHTS, DECODER_WEIGHTS = 'token_table.bin', 'vision.onnx.data', 'decoder.onnx.data'
BLOCK_SIZE = 128

Show = Callable[[str, float], None]
"""(stage, work done since the last call in elements)."""


@dataclass(frozen=True)
class BuildOrder:
    """What to build: `max_length` positions per KV slot, `command` that the manifest names for building it again."""

    choice: BuildChoice = BuildChoice()
    max_length: int = DEFAULT_MAX_LENGTH
    head_parts: int = HEAD_PARTS
    command: str = ''


def build_bundle(checkpoint: Checkpoint, folder: Path, order: BuildOrder, show: Show = lambda stage, done: None) -> Path:
    """Builds the bundle in `folder`."""
    plan = plan_precision(order.choice)
    folder.mkdir(parents=True)
    length = min(order.max_length, checkpoint.shape.max_positions)
    graphs = _write_graphs(checkpoint, folder, order, plan, length, show)
    table = _write_table(checkpoint, folder, show)
    _copy_tokenizer(checkpoint, folder)
    write_manifest(folder, Manifest(
        contract=CONTRACT, model_name=checkpoint.name, model_digest=checkpoint.digest, backend=order.choice.backend,
        max_length=length, precision=PrecisionSpec(plan.compute, plan.linears, plan.head, plan.vision, BLOCK_SIZE),
        shape=checkpoint.shape, table=table, graphs=tuple(graphs), files=_files(folder, show), parameters=_parameters(checkpoint),
        versions=_versions(), command=order.command or f'penguin build {checkpoint.path} --out {folder}'))
    return folder


def _write_graphs(checkpoint: Checkpoint, folder: Path, order: BuildOrder, plan: PrecisionPlan, length: int,
                  show: Show) -> list[GraphSpec]:
    with WeightFile(folder / VISION_WEIGHTS) as file:
        converter = WeightConverter(checkpoint.tensors, file, plan.vision_compute, show)
        graphs = write_visions(folder, converter.vision(checkpoint.shape), plan, order.choice.backend)
    with WeightFile(folder / DECODER_WEIGHTS) as file:
        converter = WeightConverter(checkpoint.tensors, file, plan.compute, show)
        language = converter.language(checkpoint.shape, order.head_parts)
        return graphs + write_decoders(folder, language, plan, order.choice.backend, length)


def _write_table(checkpoint: Checkpoint, folder: Path, show: Show) -> TableSpec:
    """The embedding in the format of the checkpoint: exact, and read a few rows at a time."""
    dtype, values = checkpoint.tensors.read_raw(EMBEDDING)
    with (folder / TABLE).open('wb') as file:
        for start in range(0, len(values), 4096):
            file.write(values[start:start + 4096].tobytes())
            show('token table', values[start:start + 4096].size)
    return TableSpec(TABLE, dtype, *values.shape)


def _copy_tokenizer(checkpoint: Checkpoint, folder: Path) -> None:
    (folder / TOKENIZER).mkdir()
    for name in (PUBLISHED, VOCABULARY, MERGES, SETTINGS, ADDED):
        if is_file(checkpoint.path / name):
            shutil.copyfile(checkpoint.path / name, folder / TOKENIZER / name)


def _files(folder: Path, show: Show) -> dict[str, FileSpec]:
    found = sorted(path for path in folder.rglob('*') if path.is_file())
    return {path.relative_to(folder).as_posix(): file_spec(path) for path in found}


def _parameters(checkpoint: Checkpoint) -> dict[str, int]:
    sizes = {name: math.prod(checkpoint.tensors.shape(name)) for name in checkpoint.tensors.names()
             if not (checkpoint.shape.is_tied and name == HEAD)}
    language = sum(size for name, size in sizes.items() if name.startswith('llm.'))
    return {'language': language, 'vision': sum(sizes.values()) - language}


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ('onnx', 'numpy')}
