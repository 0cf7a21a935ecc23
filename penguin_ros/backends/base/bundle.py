# SPDX-License-Identifier: Apache-2.0
"""A folder that `penguin build` wrote, opened and checked: graphs, weights, embedding table,
tokenizer.

One backend takes a `Bundle` where another takes a `Checkpoint`: name, digest, shape, parameter
counts and tokenizer are there under the same names.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from penguin_ros.backends.base.embedding_table import EmbeddingTable
from penguin_ros.backends.base.file_digests import FileDigests
from penguin_ros.backends.base.manifest import (
    CONTRACT,
    MANIFEST,
    GraphSpec,
    Manifest,
)
from penguin_ros.checkpoint.calibration import AnswerTemperatures, read_answer_temperatures
from penguin_ros.checkpoint.safetensors_file import STORAGE
from penguin_ros.checkpoint.shapes import CheckpointShape
from penguin_ros.checkpoint.tokenizer import PenguinTokenizer
from penguin_ros.errors import (
    BundleCorrupt,
    BundleError,
    BundleMismatch,
    BundleNotFound,
    BundleOutdated,
    system_reason,
)
from penguin_ros.plain_values import PlainFormat, from_plain, to_plain

TOKENIZER = 'tokenizer'
DEFAULT_COMMAND = 'penguin build CHECKPOINT --out {folder}'
PLAIN_FORMAT = PlainFormat(has_defaults=True)
"""Bundles from before a field had a default name none."""

MAX_MANIFEST_BYTES = 16 * 1024 * 1024
HASH_THREADS = 2


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: `path` is its folder, `manifest` what it says of itself."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The name of the checkpoint it was built from, as people call it."""
        return self.manifest.model_name

    @property
    def digest(self) -> str:
        """The digest of that checkpoint."""
        return self.manifest.model_digest

    @property
    def shape(self) -> CheckpointShape:
        """All numbers of the model."""
        return self.manifest.shape

    @property
    def parameter_counts(self) -> Mapping[str, int]:
        """Parameters by part: 'language' and 'vision', see Checkpoint.parameter_counts."""
        return self.manifest.parameters

    @cached_property
    def tokenizer(self) -> PenguinTokenizer:
        """The tokenizer, read on first use."""
        return PenguinTokenizer(self.path / TOKENIZER)

    @cached_property
    def answer_temperatures(self) -> AnswerTemperatures:
        """The temperatures that were fitted for it, see Checkpoint."""
        return read_answer_temperatures(self.path)

    @cached_property
    def embedding_table(self) -> EmbeddingTable:
        """The embedding table, mapped on first use."""
        return EmbeddingTable(self.path, self.manifest.table)

    def graph(self, part: str, variant: str) -> GraphSpec:
        """Returns a graph; BundleMismatch when this bundle was built without it."""
        found = self.manifest.graph(part, variant)
        if found is None:
            raise BundleMismatch(
                f'{self.path} has no {part} graph of the variant {variant}',
                f'it was built for {self.manifest.backend}',
                rebuild(self.manifest, self.path),
            )
        return found

    def file(self, name: str) -> Path:
        """Returns the path of a file of the bundle."""
        return self.path / name


def open_bundle(folder: str | Path, *, is_thorough: bool = False) -> Bundle:
    """Opens a bundle and compares every file with the manifest: its size and sha256. A file that
    was found right before and has not changed since is read again only when `is_thorough`.

    BundleNotFound, BundleCorrupt and BundleOutdated carry the command that builds it again.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    _check_files(path, manifest, is_thorough)
    return Bundle(path, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest alone and checks it in itself; no other file is looked at."""
    plain = _read_plain(folder)
    command = plain.get('command')
    if not isinstance(command, str) or not command.strip():
        command = DEFAULT_COMMAND.format(folder=folder)
    command = _moved(command, folder)
    if plain.get('contract') != CONTRACT:
        raise BundleOutdated(
            f'{folder} was built for contract {plain.get("contract")!r}',
            f'this version of penguin_ros runs contract {CONTRACT}',
            f'Type: {command}',
        )
    try:
        manifest: Manifest = from_plain(Manifest, plain, 'manifest', PLAIN_FORMAT)
        _check_consistency(manifest)
    except (ValueError, TypeError) as error:
        raise BundleCorrupt(
            f'{folder / MANIFEST} is damaged', str(error), f'Type: {command}'
        ) from error
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes bundle.yaml."""
    import yaml

    text = yaml.safe_dump(
        to_plain(manifest), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None
    )
    (folder / MANIFEST).write_text(text, encoding='utf-8')


def rebuild(manifest: Manifest, folder: Path | None = None) -> str:
    """Returns what to type to build the bundle again; in the folder where it is now, which need not
    be the one where it was built.
    """
    return f'Type: {_moved(manifest.command, folder)}'


def _moved(command: str, folder: Path | None) -> str:
    """The command with another folder behind --out."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if folder is None or '--out' not in words[:-1]:
        return command
    words[words.index('--out') + 1] = str(folder)
    return shlex.join(words)


def _read_plain(folder: Path) -> dict[str, Any]:
    import yaml

    path, command = folder / MANIFEST, DEFAULT_COMMAND.format(folder=folder)
    try:
        if not folder.exists():
            raise BundleNotFound(
                f'there is no folder {folder}',
                'a bundle was moved, or was never built there',
                f'Name the folder where it is now, or type: {command}',
            )
        if not path.is_file():
            raise BundleNotFound(f'{folder} is no bundle', _contents(folder), f'Type: {command}')
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleCorrupt(
                f'{path} is damaged',
                f'it is larger than {MAX_MANIFEST_BYTES} bytes',
                f'Type: {command}',
            )
        # The C loader where PyYAML has it: ten times faster.
        plain = yaml.load(path.read_bytes(), getattr(yaml, 'CSafeLoader', yaml.SafeLoader))
    except OSError as error:
        why, fix = system_reason(error)
        raise BundleError(f'{path} cannot be read', why, fix) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise BundleCorrupt(
            f'{path} cannot be read', str(error).partition('\n')[0], f'Type: {command}'
        ) from error
    if not isinstance(plain, dict):
        raise BundleCorrupt(f'{path} is damaged', 'it holds no mapping', f'Type: {command}')
    return plain


def _contents(folder: Path) -> str:
    """Says what a folder without manifest holds instead."""
    if not folder.is_dir():
        return 'it is a file'
    below = [each for each in sorted(folder.iterdir()) if (each / MANIFEST).is_file()]
    if below:
        return f'there is no {MANIFEST} in it; the bundle is {below[0]}'
    if (folder / 'config.json').is_file():
        return f'there is no {MANIFEST} in it: it is a checkpoint, of which a bundle is built'
    return f'there is no {MANIFEST} in it'


def _check_consistency(manifest: Manifest) -> None:
    """Raises ValueError when parts of the manifest contradict each other or point outside the
    folder.
    """
    graphs = manifest.graphs
    named = {manifest.table.file}.union(*({graph.file, *graph.needs} for graph in graphs))
    named.discard(MANIFEST)
    for name in (*manifest.files, *named):
        if PurePosixPath(name).is_absolute() or '..' in PurePosixPath(name).parts:
            raise ValueError(f'{name!r} lies outside the bundle')
    absent = sorted(named - set(manifest.files))
    if absent:
        raise ValueError(f'files lacks {absent[0]}')
    table, shape = manifest.table, manifest.shape
    size = (shape.vocabulary_size, shape.llm.hidden_size)
    if (table.rows, table.columns) != size or table.dtype not in STORAGE:
        raise ValueError(f'the embedding table is {table.rows} x {table.columns} {table.dtype}')
    found = manifest.files[table.file].bytes
    if found != table.rows * table.columns * STORAGE[table.dtype].itemsize:
        raise ValueError(f'{table.file} has {found} bytes')
    if manifest.max_length < 1 or not (graphs or manifest.backend == 'cuda'):
        raise ValueError(f'max_length = {manifest.max_length}, {len(graphs)} graphs')


def _check_files(folder: Path, manifest: Manifest, is_thorough: bool) -> None:
    # The files of other backends are read again when they are loaded.
    leaves_memory = manifest.backend in ('tensorrt', 'cuda')
    digests = FileDigests(folder, not is_thorough, leaves_memory)
    with ThreadPoolExecutor(HASH_THREADS) as pool:
        found = pool.map(lambda item: digests.problem(*item), manifest.files.items())
        try:
            problems = [problem for problem in found if problem]
        except OSError as error:
            why, fix = system_reason(error)
            raise BundleError(f'{folder} cannot be read', why, fix) from error
    digests.save()
    if problems:
        raise BundleCorrupt(
            f'{folder} is damaged', '; '.join(problems[:4]), rebuild(manifest, folder)
        )
