# SPDX-License-Identifier: Apache-2.0
"""Runs a bundle with TensorRT engines: slots, handles and checks around `tensorrt_session`. Needs
neither torch nor ONNX.

Importing this file needs no inference library; `open` does.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import (
    Backend,
    BackendDescription,
    Chunk,
    Features,
    FeatureSpan,
    GreedyToken,
    Logits,
)
from penguin_ros.backends.base.input_checks import check_chunk, check_frames, logit_indices
from penguin_ros.backends.base.slots import SlotTable
from penguin_ros.backends.tensorrt.chunks import Rows
from penguin_ros.backends.tensorrt.features import TensorrtFeatures
from penguin_ros.backends.tensorrt.library import require_tensorrt
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendError, BackendUnavailable
from penguin_ros.model_inputs import FramePatches

if TYPE_CHECKING:
    from penguin_ros.backends.base.bundle import Bundle
    from penguin_ros.backends.tensorrt.session import TensorrtSession

OUTPUTS = {'projected': 'image_embeds', 'encoded': 'encoded'}
"""Stages of features to outputs of the encoder."""


class TensorrtBackend(Backend):
    """Penguin-VL on an NVIDIA GPU, a Jetson's for one; all threads but the one that opened it keep
    away.
    """

    def __init__(self, bundle: Bundle, config: ModelConfig) -> None:
        self._bundle, self._config = bundle, config
        self._session: TensorrtSession | None = None
        self._description: BackendDescription | None = None
        self._slots = SlotTable(0, 0)

    def open(self) -> BackendDescription:
        """Loads the engines and allocates the slots; harmless when open. A slot is at most as long
        as the engine's cache.

        BackendUnavailable without TensorRT, CUDA or a GPU; BundleNotFound, BundleOutdated or
        BundleCorrupt when there are no engines for this machine; OutOfMemory.
        """
        if self._description is not None:
            return self._description
        version = require_tensorrt()
        try:
            from penguin_ros.backends.tensorrt.session import TensorrtSession
        except (ImportError, OSError) as error:
            raise BackendUnavailable(
                'backend tensorrt is not available',
                f'an import failed ({error})',
                'Type: pip install cuda-bindings, in the version of your CUDA',
            ) from error
        manifest, config = self._bundle.manifest, self._config
        length = min(config.max_length, manifest.max_length)
        session = TensorrtSession(self._bundle, version, config, length)
        self._session, self._slots = session, SlotTable(session.slots, length)
        self._description = BackendDescription(
            'tensorrt',
            session.gpu.name,
            manifest.precision.linears,
            self._bundle.name,
            self._bundle.digest,
            manifest.shape.llm.hidden_size,
            manifest.shape.vocabulary_size,
            length,
            session.slots,
            session.decoder.cache.shape.slot_bytes,
            sum(session.encoder.token_bytes.values()),
        )
        return self._description

    def close(self) -> None:
        """Frees engines, slots and features; running encodes end when they are asked for more."""
        session, self._session, self._description = self._session, None, None
        self._slots = SlotTable(0, 0)
        if session is not None:
            session.close()

    @property
    def description(self) -> BackendDescription:
        """See Backend."""
        if self._description is None:
            raise _not_open()
        return self._description

    def encode(self, frames: Sequence[FramePatches]) -> Generator[None, None, list[Features]]:
        """See Backend. A slice is one frame: the engine runs a whole one in a single call."""
        session = self._opened()
        check_frames(frames, self._bundle.shape.patch_values)
        for frame in frames:
            session.encoder.check(frame)
        return self._encode(frames, session)

    def _encode(
        self, frames: Sequence[FramePatches], session: TensorrtSession
    ) -> Generator[None, None, list[Features]]:
        done: list[Features] = []
        for frame in frames:
            if self._session is not session:
                raise _not_open()
            done.append(session.encoder.encode(frame, session.features))
            yield
        if self._session is not session:
            raise _not_open()
        return done

    def read_features(self, features: Features, stage: str = 'projected') -> NDArray[np.float32]:
        """See Backend; both stages are kept."""
        session = self._opened()
        if stage not in OUTPUTS:
            raise BackendError(
                f'unknown stage {stage!r} of features', "there are 'projected' and 'encoded'"
            )
        return session.encoder.read(self._own(features), OUTPUTS[stage])

    def new_slot(self) -> int:
        """See Backend."""
        self._opened()
        return self._slots.take()

    def free_slot(self, slot: int) -> None:
        """See Backend."""
        self._opened()
        self._slots.release(slot)

    def slot_length(self, slot: int) -> int:
        """See Backend."""
        self._opened()
        return self._slots.length(slot)

    def truncate(self, slot: int, length: int) -> None:
        """See Backend; costs nothing."""
        self._opened()
        self._slots.require_length(slot, length)
        self._slots.set_length(slot, length)

    def fork(self, slot: int, length: int) -> int:
        """See Backend; copies inside the device."""
        session = self._opened()
        self._slots.require_length(slot, length)
        copy = self._slots.take(length)
        try:
            session.decoder.copy(self._slots.place(slot), self._slots.place(copy), length)
        except BackendError:
            self._slots.release(copy)
            raise
        return copy

    def forward(self, slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> Logits:
        """See Backend; the slot is as long as before when anything is raised. Any S: long chunks
        run in several parts.
        """
        session, rows = self._checked(slot, chunk)
        count, past = len(chunk.token_ids), self._slots.length(slot)
        wanted = logit_indices(logits_indices, count)
        logits = session.decoder.append(
            self._slots.place(slot), past, chunk.token_ids, rows, wanted
        )
        self._slots.set_length(slot, past + count)
        return logits

    def forward_greedy_each(
        self, slot: int, chunk: Chunk, logits_indices: Sequence[int]
    ) -> list[GreedyToken]:
        """See Backend; the device chooses, and the host does not look at the logits."""
        session, rows = self._checked(slot, chunk)
        count, past = len(chunk.token_ids), self._slots.length(slot)
        wanted = logit_indices(logits_indices, count)
        best = session.decoder.append_greedy(
            self._slots.place(slot), past, chunk.token_ids, rows, wanted
        )
        self._slots.set_length(slot, past + count)
        return best

    def _checked(self, slot: int, chunk: Chunk) -> tuple[TensorrtSession, list[Rows]]:
        """The session, and where the chunk's features lie; BackendError or CacheOverflow when the
        slot cannot take it.
        """
        session = self._opened()
        check_chunk(chunk, self.description.vocabulary_size)
        self._slots.require_room(slot, len(chunk.token_ids))
        row_bytes = session.encoder.token_bytes['image_embeds']
        return session, [self._rows(span, row_bytes) for span in chunk.spans]

    def _rows(self, span: FeatureSpan, row_bytes: int) -> Rows:
        features = self._own(span.features)
        return Rows(
            span.offset, features.projected_address + span.first * row_bytes, span.count, row_bytes
        )

    def _own(self, features: Features) -> TensorrtFeatures:
        session = self._opened()
        if not isinstance(features, TensorrtFeatures) or features.pool is not session.features:
            raise BackendError(
                'these features cannot be used',
                'another backend made them, or theirs was closed',
                'Encode the frames again',
            )
        return features

    def _opened(self) -> TensorrtSession:
        if self._session is None:
            raise _not_open()
        return self._session


def _not_open() -> BackendError:
    return BackendError(
        'the tensorrt backend is not open', 'it was closed, or never opened', 'Call open first'
    )
