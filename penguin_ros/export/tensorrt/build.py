# SPDX-License-Identifier: Apache-2.0
"""The engines of a bundle, built on the machine that will run them. Knows the order of the steps;
each step is a file.

An engine that still fits stays. A new one takes the place of an old one only after it has been
loaded; until then the old file and its record stay as they are, and what an interrupted build
leaves behind is named in no record.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from penguin_ros.backends.base.bundle import Bundle, file_spec, open_bundle
from penguin_ros.backends.tensorrt.cache import STEP
from penguin_ros.backends.tensorrt.engine_manifest import (
    FOLDER,
    FORMAT,
    EngineManifest,
    EngineSpec,
    GpuSpec,
    fitting_engine,
    graph_digest,
    read_engine_manifest,
    write_engine_manifest,
)
from penguin_ros.backends.tensorrt.library import require_tensorrt
from penguin_ros.errors import BackendUnavailable, BuildRefused, BundleError

if TYPE_CHECKING:
    from penguin_ros.backends.tensorrt.device import CudaDevice
    from penguin_ros.export.tensorrt.builder import Progress

PARTS = ('decoder', 'vision')
DRAFT = '.new'


@dataclass(frozen=True)
class EngineOptions:
    """`max_rows` of one prefill run, `max_patches` of a frame (4 per visual token of a video);
    `variant` of the decoder: auto, window or two_part; `workspace_bytes` for one layer while
    building, 0: no limit; `timing_cache`: a file, '' for none, None for one per TensorRT and GPU in
    the user's cache; `is_forced`: build what fits, too.
    """

    max_rows: int = 512
    max_patches: int = 4096
    variant: str = 'auto'
    workspace_bytes: int = 0
    timing_cache: str | None = None
    is_forced: bool = False


def build_engines(
    folder: Path,
    options: EngineOptions | None = None,
    progress: Progress = lambda stage, done: None,
) -> EngineManifest:
    """Builds what is missing, stale or asked for otherwise, and returns the record of all engines
    of the bundle.

    `progress` gets a stage and the fraction of it that is done, also on TensorRT's threads.
    BackendUnavailable without TensorRT, CUDA or a GPU; BuildRefused for a bundle or options that
    make no sense; NotEnoughSpace; BuildError with the reasons.
    """
    options = options or EngineOptions()
    bundle = open_bundle(folder)
    if bundle.manifest.backend != 'tensorrt':
        raise BuildRefused(
            f'{folder} holds no graphs for TensorRT',
            f'it was built for {bundle.manifest.backend}',
            'Build the checkpoint again with --backend tensorrt',
        )
    length = bundle.manifest.max_length
    if length % STEP:
        raise BuildRefused(
            f'{folder} has KV slots of {length} positions',
            f'TensorRT needs a multiple of {STEP}',
            f'Build the checkpoint again with --max-length {-(-length // STEP) * STEP}',
        )
    version = require_tensorrt()
    try:
        from penguin_ros.backends.tensorrt.device import CudaDevice
    except (ImportError, OSError) as error:
        raise BackendUnavailable(
            'engines cannot be built',
            f'an import failed ({error})',
            'Type: pip install cuda-bindings, in the version of your CUDA',
        ) from error
    device = CudaDevice()
    try:
        return _Build(bundle, options, version, device, progress).run()
    finally:
        device.close()


class _Build:
    """One call of build_engines."""

    def __init__(
        self,
        bundle: Bundle,
        options: EngineOptions,
        version: str,
        device: CudaDevice,
        progress: Progress,
    ) -> None:
        self._bundle, self._options, self._version = bundle, options, version
        self._device, self._progress, self._facts = device, progress, device.gpu
        self._gpu = GpuSpec(self._facts.name, self._facts.compute)
        self._folder = bundle.path / FOLDER

    def run(self) -> EngineManifest:
        self._folder.mkdir(exist_ok=True)
        record = EngineManifest(FORMAT, self._version, self._gpu, ())
        old = self._old_record()
        if old is not None and (old.tensorrt, old.gpu) == (self._version, self._gpu):
            record = old
        for part in PARTS:
            if self._options.is_forced or not self._fits(part, record):
                engine = self._build(part)
                others = tuple(one for one in record.engines if one.part != part)
                record = replace(record, engines=(*others, engine))
                if {one.part for one in record.engines} == set(PARTS):
                    write_engine_manifest(self._bundle.path, record)
        self._remove_others(record)
        return record

    def _old_record(self) -> EngineManifest | None:
        try:
            return read_engine_manifest(self._bundle.path)
        except BundleError:
            return None

    def _fits(self, part: str, record: EngineManifest) -> bool:
        engine = record.engine(part)
        try:
            return (
                engine is not None
                and engine.request == self._request(part)
                and fitting_engine(self._bundle, part, self._version, self._gpu) == engine
            )
        except BundleError:
            return False

    def _build(self, part: str) -> EngineSpec:
        # Late: these files need tensorrt.
        from penguin_ros.backends.tensorrt.engine import Engine
        from penguin_ros.export.tensorrt.builder import BuilderSettings
        from penguin_ros.export.tensorrt.candidates import (
            build_first,
            candidates,
            check_memory,
            prepared,
        )
        from penguin_ros.export.tensorrt.profiles import ProfileSizes

        precision, options = self._bundle.manifest.precision, self._options
        tried = candidates(
            part, precision.vision if part == 'vision' else precision.linears, options.variant
        )
        sizes = ProfileSizes(options.max_rows, options.max_patches)
        check_memory(
            part,
            prepared(self._bundle, tried[0], sizes).model,
            self._device.memory()[0],
            self._facts.is_integrated,
        )
        draft = self._folder / f'{part}{DRAFT}'
        try:
            built = build_first(
                self._bundle,
                tried,
                sizes,
                BuilderSettings(self._timing_cache(), options.workspace_bytes),
                draft,
                self._progress,
            )
            Engine(draft, self._device).close()  # a plan that does not load replaces nothing
            content = file_spec(draft)
            name = f'{part}-{content.sha256[:12]}.plan'
            os.replace(draft, self._folder / name)
        finally:
            draft.unlink(missing_ok=True)
        return EngineSpec(
            part,
            built.candidate.variant,
            built.candidate.is_decomposable,
            graph_digest(self._bundle, built.graph),
            built.profiles,
            built.weight_bytes,
            name,
            content,
            self._request(part),
            built.failures,
        )

    def _request(self, part: str) -> str:
        """What the options ask of a part, as text."""
        options = self._options
        if part == 'vision':
            return f'max_patches={options.max_patches}'
        return f'max_rows={options.max_rows} variant={options.variant}'

    def _timing_cache(self) -> Path | None:
        if self._options.timing_cache is not None:
            return Path(self._options.timing_cache) if self._options.timing_cache else None
        folder = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'penguin_ros'
        name = re.sub(
            '[^0-9A-Za-z.]+', '-', f'{self._version}-{self._gpu.name}-sm{self._gpu.compute}'
        )
        return folder / f'tensorrt-{name}.timing'

    def _remove_others(self, record: EngineManifest) -> None:
        kept = {engine.file for engine in record.engines}
        for path in self._folder.glob('*.plan'):
            if path.name not in kept:
                path.unlink()
