# SPDX-License-Identifier: Apache-2.0
"""Runs a bundle with engines of TensorRT, or of TensorRT for RTX, on an NVIDIA GPU such as a
Jetson's. It needs neither torch nor ONNX.

Importing this file needs no inference library; `open` imports TensorRT and CUDA's bindings.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import (
    BackendDescription,
    BackendStats,
    Logits,
)
from penguin_ros.backends.base.slot_backend import (
    BRANCH_LOGITS,
    BRANCH_ROWS,
    Append,
    BranchLimits,
)
from penguin_ros.backends.cuda.device_backend import DeviceBackend
from penguin_ros.backends.cuda.features import DeviceFeatures
from penguin_ros.backends.cuda.versions import without_bindings
from penguin_ros.backends.tensorrt.engine_manifest import maker_of_engines
from penguin_ros.backends.tensorrt.library import require_tensorrt
from penguin_ros.config import ModelConfig
from penguin_ros.model_inputs import FramePatches

if TYPE_CHECKING:
    from penguin_ros.backends.base.bundle import Bundle
    from penguin_ros.backends.tensorrt.session import TensorrtSession

OUTPUTS = {'projected': 'image_embeds', 'encoded': 'encoded'}
"""The output of the encoder's engine for each stage of features."""


class TensorrtBackend(DeviceBackend['TensorrtSession']):
    """Penguin-VL in TensorRT engines. A slot is at most as long as the engine's cache; truncating
    one costs nothing. A slice of an encode is one frame: the engine runs a whole one in a single
    call.
    """

    NAME = 'tensorrt'

    def __init__(self, bundle: Bundle, config: ModelConfig) -> None:
        super().__init__(bundle.shape.patch_values)
        self._bundle = bundle
        self._config = config

    def stats(self) -> BackendStats:
        """See Backend; what became of decoding as CUDA graphs."""
        session = self._session
        return BackendStats() if session is None else session.stats()

    def _open(self) -> tuple[TensorrtSession, BackendDescription]:
        """BackendUnavailable without TensorRT, CUDA or a GPU; BundleNotFound, BundleOutdated or
        BundleCorrupt when there are no engines for this machine; OutOfMemory.
        """
        library = require_tensorrt(maker_of_engines(self._bundle.path))
        try:
            from penguin_ros.backends.tensorrt.session import TensorrtSession
        except (ImportError, OSError) as error:
            raise without_bindings('backend tensorrt is not available', error) from error
        manifest = self._bundle.manifest
        length = min(self._config.max_length, manifest.max_length)
        session = TensorrtSession(self._bundle, library, self._config, length)
        return session, BackendDescription(
            name=self.NAME,
            device=session.gpu.name,
            precision=manifest.precision.linears,
            model_name=self._bundle.name,
            model_digest=self._bundle.digest,
            hidden_size=manifest.shape.llm.hidden_size,
            vocabulary_size=manifest.shape.vocabulary_size,
            max_length=length,
            slots=session.slots,
            slot_bytes=session.decoder.cache.shape.slot_bytes,
            feature_bytes_per_token=sum(session.encoder.token_bytes.values()),
            way=session.way(library),
            greedy_steps=session.decoder.greedy_steps,
            decoded_by='own kernels' if session.decoder.kernels is not None else '',
        )

    def _encode_frame(
        self, session: TensorrtSession, frame: FramePatches
    ) -> Generator[None, None, DeviceFeatures]:
        features = session.encoder.encode(frame, session.features)
        yield
        return features

    def _read(
        self, session: TensorrtSession, features: DeviceFeatures, stage: str
    ) -> NDArray[np.float32]:
        values = session.encoder.read(features, OUTPUTS[stage])
        if stage == 'projected':
            values *= np.float32(self._bundle.manifest.precision.feature_scale)
        return values

    def _branch_limits(self, session: TensorrtSession) -> BranchLimits:
        sizes = session.decoder.sizes
        return BranchLimits(
            min(BRANCH_ROWS, sizes.max_tokens), min(BRANCH_LOGITS, sizes.max_wanted)
        )

    def _append_branches(self, session: TensorrtSession, append: Append) -> Logits:
        return session.decoder.append_branches(append)

    def _row_bytes(self, session: TensorrtSession) -> int:
        return session.encoder.token_bytes['image_embeds']
