# SPDX-License-Identifier: Apache-2.0
"""What is known of the engines that lie beside a bundle's graphs, and whether they fit here.

Engines live in the folder `tensorrt` of a bundle, with `engines.json`: an engine runs only with the
library (TensorRT or TensorRT for RTX) and version and on the kind of GPU that it was built with,
and only while the graph is the one that it was built from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.file_digests import FileDigests
from penguin_ros.backends.base.manifest import FileSpec, GraphSpec
from penguin_ros.backends.tensorrt.library import MODULES, PLAIN, Library
from penguin_ros.errors import BundleCorrupt, BundleError, BundleNotFound, BundleOutdated
from penguin_ros.plain_values import PlainFormat, from_plain, to_plain

FOLDER, MANIFEST = 'tensorrt', 'engines.json'
FORMAT = 1
MAX_MANIFEST_BYTES = 1024 * 1024

PLAIN_FORMAT = PlainFormat(has_defaults=True, choices={'EngineManifest.library': MODULES})

Range = tuple[int, int, int]
"""Smallest, optimal, largest."""


@dataclass(frozen=True)
class GpuSpec:
    """The GPU that engines were built on; `compute` is its compute capability."""

    name: str
    compute: str


@dataclass(frozen=True)
class EngineSpec:
    """One engine: `part` and `variant` of the graph, whose digest is `graph`; `profiles` with the
    sizes of the named dimensions; `weight_bytes` as they lie in the graph. With `is_decomposable`,
    attention may be taken apart into plain operators. `request` holds the options it was built
    with, `failures` what was tried in vain before, and why.
    """

    part: str
    variant: str
    is_decomposable: bool
    graph: str
    profiles: tuple[Mapping[str, Range], ...]
    weight_bytes: int
    file: str
    content: FileSpec
    request: str
    failures: tuple[str, ...]


@dataclass(frozen=True)
class EngineManifest:
    """Everything in engines.json: `tensorrt` is the version of `library`, the module that built the
    engines. Files from before there were two name none.
    """

    format: int
    tensorrt: str
    gpu: GpuSpec
    engines: tuple[EngineSpec, ...]
    library: str = PLAIN

    @property
    def made_by(self) -> Library:
        """What built the engines."""
        return Library(self.library, self.tensorrt)

    def engine(self, part: str) -> EngineSpec | None:
        """Returns the engine of a part; None when there is none."""
        return next((engine for engine in self.engines if engine.part == part), None)


def rebuild_command(folder: Path) -> str:
    """Returns what to type to build the engines of a bundle again."""
    return f'penguin build {folder} --backend tensorrt'


def graph_digest(bundle: Bundle, graph: GraphSpec) -> str:
    """Returns the digest of a graph and the weights that it needs."""
    names = (graph.file, *sorted(graph.needs))
    return hashlib.sha256(
        ''.join(bundle.manifest.files[name].sha256 for name in names).encode()
    ).hexdigest()


def read_engine_manifest(folder: Path) -> EngineManifest | None:
    """Reads engines.json of a bundle; None when there is none. BundleCorrupt when it is damaged,
    BundleOutdated when it has another format.
    """
    path, fix = folder / FOLDER / MANIFEST, f'Type: {rebuild_command(folder)}'
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ValueError(f'it is larger than {MAX_MANIFEST_BYTES} bytes')
        plain = json.loads(path.read_text(encoding='utf-8'))
        if isinstance(plain, dict) and plain.get('format') != FORMAT:
            raise BundleOutdated(
                f'{path} has format {plain.get("format")!r}', f'this version reads {FORMAT}', fix
            )
        manifest: EngineManifest = from_plain(EngineManifest, plain, 'engines', PLAIN_FORMAT)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleCorrupt(f'{path} is damaged', str(error).partition('\n')[0], fix) from error
    return manifest


def maker_of_engines(folder: Path) -> str:
    """Returns the module of the library that built the engines of a bundle; '' when there are none,
    or engines.json cannot be read.
    """
    try:
        manifest = read_engine_manifest(folder)
    except BundleError:
        return ''
    return manifest.library if manifest else ''


def write_engine_manifest(folder: Path, manifest: EngineManifest) -> None:
    """Replaces engines.json in one step."""
    path = folder / FOLDER / MANIFEST
    staging = path.with_suffix('.new')
    staging.write_text(json.dumps(to_plain(manifest), indent=1) + '\n', encoding='utf-8')
    staging.replace(path)


def fitting_engine(bundle: Bundle, part: str, library: Library, gpu: GpuSpec) -> EngineSpec:
    """Returns the engine of a part that runs here.

    BundleNotFound when it was never built, BundleOutdated when it was built with another library or
    version, on another GPU or from another graph, BundleCorrupt when its file is not the one that
    was written. Each carries the command that helps.
    """
    fix = f'Type: {rebuild_command(bundle.path)}'
    manifest = read_engine_manifest(bundle.path)
    engine = manifest.engine(part) if manifest else None
    if manifest is None or engine is None:
        raise BundleNotFound(
            f'{bundle.path} has no TensorRT engine for the {part}',
            'engines are built on the machine that runs them',
            fix,
        )
    reasons = list(_differences(bundle, manifest, engine, library, gpu))
    if reasons:
        raise BundleOutdated(
            f'the TensorRT engines of {bundle.path} do not fit here', '; '.join(reasons), fix
        )
    digests = FileDigests(bundle.path, leaves_memory=True)
    problem = digests.problem(f'{FOLDER}/{engine.file}', engine.content)
    digests.save()
    if problem:
        raise BundleCorrupt(f'{bundle.path / FOLDER / engine.file} is damaged', problem, fix)
    return engine


def _differences(
    bundle: Bundle, manifest: EngineManifest, engine: EngineSpec, library: Library, gpu: GpuSpec
) -> list[str]:
    found = []
    if manifest.made_by != library:
        found.append(f'they were built with {manifest.made_by}, here is {library}')
    if manifest.gpu != gpu:
        found.append(
            f'they were built on {manifest.gpu.name} (SM {manifest.gpu.compute}), '
            f'here is {gpu.name} (SM {gpu.compute})'
        )
    if engine.graph != graph_digest(bundle, bundle.graph(engine.part, engine.variant)):
        found.append(f'the graph of the {engine.part} has changed since')
    return found
