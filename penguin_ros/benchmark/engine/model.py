# SPDX-License-Identifier: Apache-2.0
"""Opens the target of a benchmark: its bundle or checkpoint, its settings and its backend.

Nothing is measured here but the time that takes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.onnxruntime.backend import OnnxBackend
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.benchmark.engine.weights import bytes_per_token, decoder_variant_of, plan_bytes
from penguin_ros.benchmark.tasks import ONNXRUNTIME, Target
from penguin_ros.config import ModelConfig, PenguinConfig
from penguin_ros.console import status_line
from penguin_ros.errors import BundleMismatch, SettingError
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.requests.loaded_model import Model, open_model
from penguin_ros.settings import with_values


@dataclass(frozen=True, eq=False)
class Opened:
    """A target that is ready to be measured. `load_s` is the time from its folder to the open
    backend; the digest of every file is compared on the way.
    """

    config: PenguinConfig
    model: Model
    backend: Backend
    load_s: float

    def preprocessor(self, max_visual_tokens: int = 0) -> Preprocessor:
        """A preprocessor with the settings of the target, or with another budget of visual
        tokens.
        """
        visual = self.config.visual
        visual = (
            replace(visual, max_visual_tokens=max_visual_tokens) if max_visual_tokens else visual
        )
        return Preprocessor(self.model.shape, self.model.tokenizer, visual)

    def facts(self) -> dict[str, Any]:
        """What does not change from round to round, as plain values."""
        opened = self.backend.description
        variant = (
            decoder_variant_of(self.model, opened.name) if isinstance(self.model, Bundle) else ''
        )
        read, how = bytes_per_token(self.model, opened, variant)
        plans = (
            plan_bytes(self.model)
            if isinstance(self.model, Bundle) and opened.name == 'tensorrt'
            else 0
        )
        return {
            **vars(opened),
            'variant': variant,
            'read_bytes_per_token': read,
            'read_bytes_from': how,
            'plan_bytes': plans,
        }


def open_target(target: Target) -> Opened:
    """Opens the target with one KV slot; raises the errors of the backend, the bundle or the
    checkpoint.

    A checkpoint runs on PyTorch. Where there is no PyTorch, a bundle for ONNX Runtime is built of
    it first.
    """
    config = with_values(PenguinConfig(), {**target.settings, 'model.kv_slots': 1})
    if target.is_bundle:
        model = replace(config.model, bundle=target.source, checkpoint='', precision='auto')
    else:
        model = with_bundle(replace(config.model, bundle='', checkpoint=target.source))
    start = time.perf_counter()
    source = open_model(model, status_line)
    _ = source.tokenizer
    backend = _onnxruntime(source, model) if target.graphs_in else make_backend(model, source)
    try:
        backend.open()
        return Opened(replace(config, model=model), source, backend, time.perf_counter() - start)
    except BaseException:
        backend.close()
        raise


def _onnxruntime(source: Model, model: ModelConfig) -> Backend:
    """Runs the graphs of a TensorRT bundle in ONNX Runtime: the form of the decoder that both can
    run, and the encoder in one piece.
    """
    if not isinstance(source, Bundle):
        raise SettingError(
            f'--against {ONNXRUNTIME}',
            f'{model.checkpoint} is a checkpoint, which has no graphs',
            'Build it first, and name both bundles',
        )
    if source.manifest.backend == ONNXRUNTIME:
        raise BundleMismatch(
            f'{source.path} is a bundle for ONNX Runtime',
            'it would be compared with itself',
            'Name another bundle or the checkpoint, e.g. one in float32: '
            '--against engines/NAME_float32',
        )
    return OnnxBackend(source, replace(model, device='cpu', provider='auto'), 'two_part')
