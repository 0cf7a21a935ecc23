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
from dataclasses import dataclass, replace
from pathlib import Path

from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.file_digests import FileDigests
from penguin_ros.backends.base.manifest import FileSpec, GraphSpec
from penguin_ros.backends.cuda.buffers import Gpu
from penguin_ros.backends.tensorrt.library import MODULES, PLAIN, Library
from penguin_ros.board_facts import BoardFacts
from penguin_ros.board_memory.board_classes import GIB, class_of
from penguin_ros.errors import BundleCorrupt, BundleError, BundleNotFound, BundleOutdated
from penguin_ros.plain_values import PlainFormat, from_plain, to_plain

FOLDER, MANIFEST = 'tensorrt', 'engines.json'
KERNELS = '.kernels'
"""The suffix of the file in which kernels of an engine are kept that were compiled when it ran."""
PENDING = 'engines.pending.json'
"""What is built of engines that are not all there yet, in the form of MANIFEST."""

FORMAT = 1
MAX_MANIFEST_BYTES = 1024 * 1024

PLAIN_FORMAT = PlainFormat(has_defaults=True, choices={'EngineManifest.library': MODULES})

Range = tuple[int, int, int]
"""Smallest, optimal, largest."""


@dataclass(frozen=True)
class GpuSpec:
    """The GPU that engines were built on: `compute` is its compute capability. All modules of a
    generation of Jetson have one name, so `sm_count` multiprocessors and the class of memory in
    gigabytes tell them apart; 0 where it was not recorded. `release` of Jetson Linux and
    `power_mode` are '' elsewhere: an engine runs under others too, only not as it was timed.
    """

    name: str
    compute: str
    sm_count: int = 0
    memory_gb: int = 0
    release: str = ''
    power_mode: str = ''

    def is_like(self, other: GpuSpec) -> bool:
        """Returns whether engines of one run on the other."""
        if (self.name, self.compute) != (other.name, other.compute):
            return False
        known = ((self.sm_count, other.sm_count), (self.memory_gb, other.memory_gb))
        return all(mine == theirs or not mine or not theirs for mine, theirs in known)

    def __str__(self) -> str:
        more = f', {self.sm_count} multiprocessors' if self.sm_count else ''
        memory = f', {self.memory_gb} GB' if self.memory_gb else ''
        return f'{self.name} (SM {self.compute}{more}{memory})'


@dataclass(frozen=True)
class BuildRecord:
    """What a build took and said: the highest resident memory of its process, and the least that
    was available on the machine meanwhile, in bytes, 0 where nobody looked; what TensorRT warned
    of, and its lines about memory.
    """

    peak_bytes: int = 0
    least_available_bytes: int = 0
    warnings: tuple[str, ...] = ()
    memory_lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineSpec:
    """One engine: `part` and `variant` of the graph, whose digest is `graph`; `profiles` with the
    sizes of the named dimensions; `weight_bytes` as they lie in the graph. With `is_decomposable`,
    attention may be taken apart into plain operators. `request` holds the options it was built
    with, `failures` what was tried in vain before, and why; `scratch_bytes` is what it needs for
    intermediate values at its largest shapes, 0 where that was not recorded.
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
    scratch_bytes: int = 0
    record: BuildRecord = BuildRecord()


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

    def with_engine(self, engine: EngineSpec) -> EngineManifest:
        """Returns the manifest with this engine in the place of the one of its part."""
        others = tuple(one for one in self.engines if one.part != engine.part)
        return replace(self, engines=(*others, engine))

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


def read_engine_manifest(folder: Path, name: str = MANIFEST) -> EngineManifest | None:
    """Reads engines.json of a bundle, or its PENDING; None when there is none. BundleCorrupt when
    it is damaged, BundleOutdated when it has another format.
    """
    path, fix = folder / FOLDER / name, f'Type: {rebuild_command(folder)}'
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


def write_engine_manifest(folder: Path, manifest: EngineManifest, name: str = MANIFEST) -> None:
    """Replaces engines.json, or PENDING, in one step."""
    path = folder / FOLDER / name
    staging = path.with_suffix('.new')
    staging.write_text(json.dumps(to_plain(manifest), indent=1) + '\n', encoding='utf-8')
    staging.replace(path)


def fitting_engine(
    bundle: Bundle, part: str, library: Library, gpu: GpuSpec, name: str = MANIFEST
) -> EngineSpec:
    """Returns the engine of a part that runs here, by engines.json or by PENDING.

    BundleNotFound when it was never built, BundleOutdated when it was built with another library or
    version, on another GPU or from another graph, BundleCorrupt when its file is not the one that
    was written. Each carries the command that helps.
    """
    fix = f'Type: {rebuild_command(bundle.path)}'
    manifest = read_engine_manifest(bundle.path, name)
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


def gpu_spec(gpu: Gpu, board: BoardFacts) -> GpuSpec:
    """Returns what engines that are built here are bound to."""
    gigabytes = round(gpu.total_bytes / GIB)
    if gpu.is_integrated:
        gigabytes = class_of(gpu.total_bytes).gigabytes
    mode = str(board.power_mode) if board.power_mode is not None else ''
    return GpuSpec(gpu.name, gpu.compute, gpu.sm_count, gigabytes, board.release, mode)


def slower_here(folder: Path, built: GpuSpec, here: GpuSpec) -> str:
    """Returns why engines that run here may be slower than new ones; '' when nothing says so."""
    reasons = [
        f'{what} {before}, here is {now or "none"}'
        for what, before, now in (
            ('Jetson Linux', built.release, here.release),
            ('power mode', built.power_mode, here.power_mode),
        )
        if before and before != now
    ]
    if not reasons:
        return ''
    return (
        f'the engines of {folder} were timed under {"; ".join(reasons)}: others may be faster '
        f'now. Type: {rebuild_command(folder)}'
    )


def _differences(
    bundle: Bundle, manifest: EngineManifest, engine: EngineSpec, library: Library, gpu: GpuSpec
) -> list[str]:
    found = []
    if manifest.made_by != library:
        found.append(f'they were built with {manifest.made_by}, here is {library}')
    if not manifest.gpu.is_like(gpu):
        found.append(f'they were built on {manifest.gpu}, here is {gpu}')
    if engine.graph != graph_digest(bundle, bundle.graph(engine.part, engine.variant)):
        found.append(f'the graph of the {engine.part} has changed since')
    return found
