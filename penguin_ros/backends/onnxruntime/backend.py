# SPDX-License-Identifier: Apache-2.0
"""Runs a bundle with ONNX Runtime: slots, handles and checks around `onnx_decoder` and
`onnx_encoder`. Needs no torch.

Importing this file needs no onnxruntime; `open` does.
"""

from __future__ import annotations

import weakref
from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import (
    Backend,
    BackendDescription,
    Chunk,
    Features,
    FeatureSpan,
    Logits,
)
from penguin_ros.backends.base.bundle import Bundle
from penguin_ros.backends.base.input_checks import check_chunk, check_frames, logit_indices
from penguin_ros.backends.base.slots import SlotTable
from penguin_ros.backends.onnxruntime.decoder import OnnxDecoder
from penguin_ros.backends.onnxruntime.encoder import Encoded, OnnxEncoder, Slices
from penguin_ros.backends.onnxruntime.library import decoder_variant, load_library
from penguin_ros.backends.onnxruntime.providers import choose_placement, usable_cores
from penguin_ros.backends.onnxruntime.session import SessionMaker
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendError
from penguin_ros.model_inputs import FramePatches


class OnnxFeatures(Features):
    """Features of one frame on the host; empty once the backend that made them is closed. Both
    stages are kept.
    """

    def __init__(self, encoded: NDArray[np.floating], projected: NDArray[np.floating]) -> None:
        self.stages = {'encoded': encoded, 'projected': projected}
        self.tokens, self.nbytes = len(projected), encoded.nbytes + projected.nbytes


class OnnxBackend(Backend):
    """Penguin-VL in ONNX Runtime; all threads but the one that opened it keep away.

    `variant`: the graph of the LLM, full or two_part; empty takes the best that the installed
    version runs.
    """

    def __init__(self, bundle: Bundle, config: ModelConfig, variant: str = '') -> None:
        self._bundle, self._config, self._variant = bundle, config, variant
        self._network: tuple[OnnxEncoder, OnnxDecoder] | None = None
        self._description: BackendDescription | None = None
        self._slots = SlotTable(0, 0)
        self._features: weakref.WeakSet[OnnxFeatures] = weakref.WeakSet()
        self._encodes: weakref.WeakSet[Slices] = weakref.WeakSet()

    def open(self) -> BackendDescription:
        """Loads the graphs and allocates the slots; harmless when open. A slot is at most as long
        as the bundle was built for.

        BackendUnavailable without onnxruntime or the provider asked for, BundleMismatch when this
        version cannot run the bundle.
        """
        if self._description is not None:
            return self._description
        library = load_library()
        manifest, config = self._bundle.manifest, self._config
        placement = choose_placement(library, config, manifest.precision.compute)
        maker = SessionMaker(library, self._bundle, placement, config.threads or usable_cores())
        length = min(config.max_length, manifest.max_length)
        decoder = OnnxDecoder(maker, self._variant or decoder_variant(library), config, length)
        encoder = OnnxEncoder(maker, config.encode_patches)
        self._network, self._slots = (encoder, decoder), SlotTable(decoder.slots, length)
        shape, item_bytes = manifest.shape, decoder.cache.shape.dtype.itemsize
        self._description = BackendDescription(
            'onnxruntime',
            placement.device,
            manifest.precision.linears,
            self._bundle.name,
            self._bundle.digest,
            shape.llm.hidden_size,
            shape.vocabulary_size,
            length,
            decoder.slots,
            decoder.cache.shape.slot_bytes,
            (shape.llm.hidden_size + shape.encoder.hidden_size) * item_bytes,
        )
        return self._description

    def close(self) -> None:
        """Frees sessions, slots, features and running encodes."""
        self._network, self._description, self._slots = None, None, SlotTable(0, 0)
        for slices in list(self._encodes):
            slices.close()
        for features in list(self._features):
            features.stages.clear()

    @property
    def description(self) -> BackendDescription:
        """See Backend."""
        if self._description is None:
            raise _not_open()
        return self._description

    def encode(self, frames: Sequence[FramePatches]) -> Generator[None, None, list[Features]]:
        """See Backend. A slice is `encode_patches` rows of one layer of one frame, 512 at most; on
        a GPU it is a frame.
        """
        encoder, _ = self._opened()
        check_frames(frames, self._bundle.shape.patch_values)
        return self._encode(frames, encoder)

    def _encode(
        self, frames: Sequence[FramePatches], encoder: OnnxEncoder
    ) -> Generator[None, None, list[Features]]:
        done: list[Features] = []
        for frame in frames:
            if self._network is None or self._network[0] is not encoder:
                raise _not_open()
            slices = encoder.encode(frame)
            self._encodes.add(slices)
            done.append(self._kept((yield from slices)))
        return done

    def _kept(self, encoded: Encoded | None) -> OnnxFeatures:
        """A handle that `close` will find; BackendError for None, which is what a closed encode
        returns.
        """
        if encoded is None:
            raise _not_open()
        features = OnnxFeatures(*encoded)
        self._features.add(features)
        return features

    def read_features(self, features: Features, stage: str = 'projected') -> NDArray[np.float32]:
        """See Backend; both stages are kept."""
        self._opened()
        if stage not in ('projected', 'encoded'):
            raise BackendError(
                f'unknown stage {stage!r} of features', "there are 'projected' and 'encoded'"
            )
        return self._stage(features, stage).astype(np.float32)

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
        """See Backend; what is forgotten is cleared, see onnx_cache."""
        _, decoder = self._opened()
        self._slots.require_length(slot, length)
        decoder.cache.forget(self._slots.place(slot), length, self._slots.length(slot))
        self._slots.set_length(slot, length)

    def fork(self, slot: int, length: int) -> int:
        """See Backend; copies."""
        _, decoder = self._opened()
        self._slots.require_length(slot, length)
        copy = self._slots.take(length)
        try:
            decoder.copy(self._slots.place(slot), self._slots.place(copy), length)
        except BackendError:
            self._slots.release(copy)
            raise
        return copy

    def forward(self, slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> Logits:
        """See Backend; the slot is as long as before when anything is raised."""
        _, decoder = self._opened()
        check_chunk(chunk, self._bundle.shape.vocabulary_size)
        count = len(chunk.token_ids)
        wanted = logit_indices(logits_indices, count)
        self._slots.require_room(slot, count)
        past = self._slots.length(slot)
        logits = decoder.append(self._slots.place(slot), past, self._embeddings(chunk), wanted)
        self._slots.set_length(slot, past + count)
        return logits

    def _embeddings(self, chunk: Chunk) -> NDArray[np.float32]:
        """(rows, hidden_size) of the tokens, visual features in their places."""
        features = [(span, self._stage(span.features, 'projected')) for span in chunk.spans]
        embeddings = self._bundle.embedding_table.read(chunk.token_ids)
        for span, rows in features:
            embeddings[_place(span)] = rows[span.first : span.first + span.count]
        return embeddings

    def _stage(self, features: Features, stage: str) -> NDArray[np.floating]:
        if (
            not isinstance(features, OnnxFeatures)
            or features not in self._features
            or not features.stages
        ):
            raise BackendError(
                'these features cannot be used',
                'another backend made them, or theirs was closed',
                'Encode the frames again',
            )
        return features.stages[stage]

    def _opened(self) -> tuple[OnnxEncoder, OnnxDecoder]:
        if self._network is None:
            raise _not_open()
        return self._network


def _place(span: FeatureSpan) -> slice:
    return slice(span.offset, span.offset + span.count)


def _not_open() -> BackendError:
    return BackendError(
        'the onnxruntime backend is not open', 'it was closed, or never opened', 'Call open first'
    )
