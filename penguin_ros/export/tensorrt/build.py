# SPDX-License-Identifier: Apache-2.0
"""The engines of a bundle, built on the machine that will run them, in the order of the steps.

An engine that still fits stays. A new one takes the place of an old one only after it has been
loaded; until then the old file and its entry in the manifest stay as they are, and what an
interrupted build leaves behind is named in no manifest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.backends.base.file_digests import file_spec
from penguin_ros.backends.base.manifest import DECODER, ENCODER, FileSpec
from penguin_ros.backends.cuda.versions import without_bindings
from penguin_ros.backends.tensorrt.cache import STEP
from penguin_ros.backends.tensorrt.decode_choice import BY_KERNELS
from penguin_ros.backends.tensorrt.engine_manifest import (
    FOLDER,
    FORMAT,
    KERNELS,
    MANIFEST,
    PENDING,
    BuildRecord,
    EngineManifest,
    EngineSpec,
    fitting_engine,
    gpu_spec,
    graph_digest,
    maker_of_engines,
    read_engine_manifest,
    write_engine_manifest,
)
from penguin_ros.backends.tensorrt.library import Library, require_tensorrt
from penguin_ros.board_facts import board_facts
from penguin_ros.errors import BuildError, BuildRefused, BundleError, CacheUnusable
from penguin_ros.export.tensorrt.memory_gate import build_room, check_memory
from penguin_ros.export.tensorrt.profiles import ProfileSizes
from penguin_ros.user_cache import user_cache

if TYPE_CHECKING:
    from penguin_ros.backends.cuda.device import CudaDevice
    from penguin_ros.export.tensorrt.builder import ProgressCallback
    from penguin_ros.export.tensorrt.candidates import Built

PARTS = (DECODER, ENCODER)
STAGING = '.new'
SUFFIX = '.plan'
"""The suffix of files of engines."""

SHARED_WORKSPACE_BYTES = 10**9
"""What one layer may use while it is built where the GPU shares the machine's memory."""


@dataclass(frozen=True)
class EngineOptions:
    """How engines are built: for `max_rows` tokens of one prefill run and `max_patches` of a frame
    (4 per visual token of a video); with the decoder's `variant`: auto, window or two_part; with
    `workspace_bytes` for one layer while building, 0 for no limit, None for SHARED_WORKSPACE_BYTES
    where the GPU shares the machine's memory and no limit elsewhere. `timing_cache` is a file, ''
    for none, None for one per TensorRT and GPU in the user's cache; TensorRT for RTX takes none.
    With `is_forced`, engines that fit are built again, too. `forms` are names of candidates by part
    that are tried first, in this order: those that were fastest on this board.
    """

    max_rows: int = 512
    max_patches: int = 4096
    variant: str = 'auto'
    workspace_bytes: int | None = None
    timing_cache: str | None = None
    is_forced: bool = False
    forms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def build_engines(
    folder: Path,
    options: EngineOptions | None = None,
    progress: ProgressCallback = lambda stage, done: None,
    parts: Sequence[str] = PARTS,
) -> EngineManifest:
    """Builds what is missing, stale or asked for otherwise of these parts, and returns the manifest
    of all engines of the bundle that are there.

    `progress` gets a stage and the fraction of it that is done, also on TensorRT's threads.
    BackendUnavailable without TensorRT, CUDA or a GPU; BuildRefused for a bundle or options that
    make no sense; NotEnoughSpace; BuildError with the reasons.
    """
    bundle = open_bundle(folder)
    _check_bundle(bundle)
    with fitting_machine(maker_of_engines(folder)) as (library, device):
        builder = EngineBuilder(bundle, options or EngineOptions(), library, device, progress)
        return builder.build(parts)


def finished(folder: Path) -> EngineManifest:
    """Returns the manifest of a bundle whose engines were built; BuildError when it has none."""
    manifest = read_engine_manifest(folder)
    if manifest is None:
        raise BuildError(f'{folder} has no engines', 'none was written')
    return manifest


def note_memory(folder: Path, part: str, peak_bytes: int, least_available_bytes: int) -> None:
    """Keeps with the engine of a part what its build took of memory."""
    for name in (MANIFEST, PENDING):
        manifest = read_engine_manifest(folder, name)
        engine = manifest.engine(part) if manifest else None
        if manifest is not None and engine is not None:
            record = replace(
                engine.record, peak_bytes=peak_bytes, least_available_bytes=least_available_bytes
            )
            noted = replace(engine, record=record)
            write_engine_manifest(folder, manifest.with_engine(noted), name)
            return


@contextmanager
def fitting_machine(made_by: str = '') -> Iterator[tuple[Library, CudaDevice]]:
    """Gives the TensorRT that builds (see `require_tensorrt`) and the open device, when they go
    together; BackendUnavailable otherwise.
    """
    library = require_tensorrt(made_by)
    try:
        from penguin_ros.backends.cuda.device import CudaDevice
    except (ImportError, OSError) as error:
        raise without_bindings('engines cannot be built', error) from error
    device = CudaDevice()
    try:
        if library.is_rtx:
            from penguin_ros.export.tensorrt.gpu_check import check_gpu

            check_gpu(device, library)
        yield library, device
    finally:
        device.close()


def _check_bundle(bundle: Bundle) -> None:
    folder, length = bundle.path, bundle.manifest.max_length
    if bundle.manifest.backend != 'tensorrt':
        raise BuildRefused(
            f'{folder} holds no graphs for TensorRT',
            f'it was built for {bundle.manifest.backend}',
            'Build the checkpoint again with --backend tensorrt',
        )
    if length % STEP:
        raise BuildRefused(
            f'{folder} has KV slots of {length} positions',
            f'TensorRT needs a multiple of {STEP}',
            f'Build the checkpoint again with --max-length {-(-length // STEP) * STEP}',
        )


class EngineBuilder:
    """Builds the engines of one bundle on an open `device`."""

    def __init__(
        self,
        bundle: Bundle,
        options: EngineOptions,
        library: Library,
        device: CudaDevice,
        progress: ProgressCallback,
    ) -> None:
        self._bundle = bundle
        self._options = options
        self._library = library
        self._device = device
        self._progress = progress
        self._gpu = gpu_spec(device.gpu, board_facts())
        self._folder = bundle.path / FOLDER

    def build(self, parts: Sequence[str] = PARTS) -> EngineManifest:
        """Builds what does not fit, part by part, and removes engines that are named no more.
        Engines of which not all are there yet are noted as pending; the next build goes on there.
        """
        self._folder.mkdir(exist_ok=True)
        manifest, name = self._begun()
        for part in parts:
            if self._options.is_forced or not self._fits(part, manifest, name):
                manifest = manifest.with_engine(self._build(part))
                is_whole = {one.part for one in manifest.engines} == set(PARTS)
                name = MANIFEST if is_whole else PENDING
                write_engine_manifest(self._bundle.path, manifest, name)
        if {one.part for one in manifest.engines} == set(PARTS):
            (self._folder / PENDING).unlink(missing_ok=True)
            self._remove_others(manifest)
        return manifest

    def _begun(self) -> tuple[EngineManifest, str]:
        """Returns the engines for this machine that are there, and where they are noted."""
        for name in (MANIFEST, PENDING):
            try:
                old = read_engine_manifest(self._bundle.path, name)
            except BundleError:
                continue
            if old is not None and (old.made_by, old.gpu) == (self._library, self._gpu):
                return old, name
        library = self._library
        return EngineManifest(FORMAT, library.version, self._gpu, (), library.module), PENDING

    def _fits(self, part: str, manifest: EngineManifest, name: str) -> bool:
        engine = manifest.engine(part)
        if engine is None or engine.request != self._request(part):
            return False
        try:
            return fitting_engine(self._bundle, part, self._library, self._gpu, name) == engine
        except BundleError:
            return False

    def _build(self, part: str) -> EngineSpec:
        # Late: these files need tensorrt.
        from penguin_ros.backends.tensorrt.engine import Engine
        from penguin_ros.backends.tensorrt.log import LOG
        from penguin_ros.export.tensorrt.builder import BuilderSettings
        from penguin_ros.export.tensorrt.candidates import (
            EngineOrder,
            build_first,
            candidates,
            preferred,
            prepared,
        )
        from penguin_ros.export.tensorrt.graph import weight_bytes

        options = self._options
        tried = candidates(part, self._bundle.manifest, options.variant)
        tried = preferred(tried, options.forms.get(part, ()))
        sizes = ProfileSizes(options.max_rows, options.max_patches)
        first = prepared(self._bundle, tried[0], sizes)
        is_shared = self._device.gpu.is_integrated or self._library.is_rtx
        room = build_room(*self._device.memory(), is_shared)
        check_memory(part, weight_bytes(first.model), self._bundle, sizes, room, self._library)
        settings = BuilderSettings(self._timing_cache(), self._workspace(), self._target())
        staging = self._folder / f'{part}{STAGING}'
        order = EngineOrder(self._bundle, sizes, settings, staging, self._device, self._progress)
        try:
            built = build_first(tried, order)
            record = BuildRecord(warnings=tuple(LOG.warnings), memory_lines=tuple(LOG.memory_lines))
            LOG.show_warnings(f'building the {part}')
            engine = Engine(staging, self._device)  # one that does not load replaces nothing
            scratch_bytes = engine.workspace_bytes()
            engine.close()
            content = file_spec(staging)
            name = f'{part}-{content.sha256[:12]}{SUFFIX}'
            os.replace(staging, self._folder / name)
        finally:
            staging.unlink(missing_ok=True)
        spec = self._spec(built, name, content)
        return replace(spec, scratch_bytes=scratch_bytes, record=record)

    def _spec(self, built: Built, file: str, content: FileSpec) -> EngineSpec:
        candidate = built.candidate
        return EngineSpec(
            part=candidate.part,
            variant=candidate.variant,
            is_decomposable=candidate.is_decomposable,
            graph=graph_digest(self._bundle, built.graph),
            profiles=built.profiles,
            weight_bytes=built.weight_bytes,
            file=file,
            content=content,
            request=self._request(candidate.part),
            failures=built.failures,
        )

    def _request(self, part: str) -> str:
        """Returns what the options ask of a part, as text that the manifest keeps."""
        options = self._options
        forms = options.forms.get(part, ())
        first = f' first={"; ".join(forms)}' if forms else ''
        if part == ENCODER:
            return f'max_patches={options.max_patches}{first}'
        decode = ' decode=kernels' if self._bundle.manifest.decode == BY_KERNELS else ''
        return f'max_rows={options.max_rows} variant={options.variant}{decode}{first}'

    def _workspace(self) -> int:
        asked = self._options.workspace_bytes
        if asked is not None:
            return asked
        return SHARED_WORKSPACE_BYTES if self._device.gpu.is_integrated else 0

    def _target(self) -> str:
        if not self._library.is_rtx:
            return ''
        from penguin_ros.export.tensorrt.gpu_check import target_for

        return target_for(self._device.gpu)

    def _timing_cache(self) -> Path | None:
        if self._library.is_rtx:  # nothing is timed while it builds
            return None
        if self._options.timing_cache is not None:
            return Path(self._options.timing_cache) if self._options.timing_cache else None
        gpu = self._gpu
        name = f'{self._library.version}-{gpu.name}-sm{gpu.compute}-{gpu.sm_count}x'
        name += f'-{gpu.memory_gb}gb-{gpu.release}-{gpu.power_mode}'.rstrip('-')
        try:
            return user_cache() / f'tensorrt-{re.sub("[^0-9A-Za-z.]+", "-", name)}.timing'
        except CacheUnusable:  # the build then only takes longer
            return None

    def _remove_others(self, manifest: EngineManifest) -> None:
        kept = {Path(engine.file).stem for engine in manifest.engines}
        for suffix in (SUFFIX, KERNELS):
            for path in self._folder.glob(f'*{suffix}'):
                if path.stem not in kept:
                    path.unlink()
