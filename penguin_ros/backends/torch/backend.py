# SPDX-License-Identifier: Apache-2.0
"""Runs a published checkpoint with PyTorch, on a CPU or with CUDA: slots, handles and checks around
`torch_network`.

Importing this file needs no torch; `open` does.
"""

from __future__ import annotations

import os
import weakref
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
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendError, BackendUnavailable
from penguin_ros.model_inputs import FramePatches

if TYPE_CHECKING:
    import torch

    from penguin_ros.backends.torch.encoder import Encoded
    from penguin_ros.backends.torch.session import TorchNetwork
    from penguin_ros.checkpoint.checkpoint import Checkpoint


class TorchFeatures(Features):
    """Features of one frame on the device; empty once the backend that made them is closed.

    The encoder's output is kept beside the projector's, at `encoder size / hidden_size` of its
    memory, so that parity sees the very numbers that were used; `nbytes` counts both.
    """

    def __init__(self, encoded: torch.Tensor, projected: torch.Tensor) -> None:
        self.stages: dict[str, torch.Tensor] = {'encoded': encoded, 'projected': projected}
        self.tokens, self.nbytes = len(projected), encoded.nbytes + projected.nbytes


class TorchBackend(Backend):
    """Penguin-VL in plain PyTorch; all threads but the one that opened it keep away."""

    def __init__(self, checkpoint: Checkpoint, config: ModelConfig) -> None:
        self._checkpoint, self._config = checkpoint, config
        self._network: TorchNetwork | None = None
        self._description: BackendDescription | None = None
        self._slots = SlotTable(0, 0)
        self._features: weakref.WeakSet[TorchFeatures] = weakref.WeakSet()
        self._encodes: weakref.WeakSet[Generator[None, None, Encoded]] = weakref.WeakSet()

    def open(self) -> BackendDescription:
        """Loads the weights and allocates the slots; harmless when open. A slot is at most as long
        as the model's context.
        """
        if self._description is not None:
            return self._description
        # Torch reads this when it is first imported. Its threads otherwise spin while they wait for
        # each other, which on a robot whose cores are busy with other nodes made a clip take up to
        # ten times as long; on an idle machine nothing is lost.
        os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
        try:
            from penguin_ros.backends.torch.session import TorchNetwork
        except (ImportError, OSError) as error:
            raise BackendUnavailable(
                'backend torch is not available',
                f'importing torch failed ({error})',
                'Type: pip install torch',
            ) from error
        shape, config = self._checkpoint.shape, self._config
        length = min(config.max_length, shape.max_positions)
        network = TorchNetwork(self._checkpoint, config, length)
        self._network, self._slots = network, SlotTable(network.slots, length)
        self._description = BackendDescription(
            'torch',
            network.device,
            network.precision,
            self._checkpoint.name,
            self._checkpoint.digest,
            shape.llm.hidden_size,
            shape.vocabulary_size,
            length,
            network.slots,
            network.slot_bytes,
            (shape.llm.hidden_size + shape.encoder.hidden_size) * network.element_bytes,
        )
        return self._description

    def close(self) -> None:
        """Frees weights, slots, features and running encodes."""
        network, self._network, self._description = self._network, None, None
        self._slots = SlotTable(0, 0)
        for steps in list(self._encodes):
            steps.close()
        for features in list(self._features):
            features.stages.clear()
        if network is not None:
            network.close()

    @property
    def description(self) -> BackendDescription:
        """See Backend."""
        if self._description is None:
            raise _not_open()
        return self._description

    def encode(self, frames: Sequence[FramePatches]) -> Generator[None, None, list[Features]]:
        """See Backend. A slice is one layer of one frame, or `encode_patches` rows of it when the
        frame has more.

        Frames are not batched: each runs alone, so its features are the same bits in any company.
        """
        network = self._opened()
        check_frames(frames, self._checkpoint.shape.patch_values)
        return self._encode(frames, network)

    def _encode(
        self, frames: Sequence[FramePatches], network: TorchNetwork
    ) -> Generator[None, None, list[Features]]:
        done: list[Features] = []
        for frame in frames:
            if self._network is not network:
                raise _not_open()
            steps = network.encode_frame(frame)
            self._encodes.add(steps)
            # No name holds the tensors here: this frame may be suspended when `close` frees them.
            done.append(self._kept((yield from steps)))
        return done

    def _kept(self, stages: Encoded | None) -> TorchFeatures:
        """A handle that `close` will find; BackendError for None, which is what a closed encode
        returns.
        """
        if stages is None:
            raise _not_open()
        features = TorchFeatures(*stages)
        self._features.add(features)
        return features

    def read_features(self, features: Features, stage: str = 'projected') -> NDArray[np.float32]:
        """See Backend; both stages are kept."""
        network = self._opened()
        if stage not in ('projected', 'encoded'):
            raise BackendError(
                f'unknown stage {stage!r} of features', "there are 'projected' and 'encoded'"
            )
        return network.to_numpy(self._stage(features, stage))

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
        network = self._opened()
        self._slots.require_length(slot, length)
        copy = self._slots.take(length)
        try:
            network.copy(self._slots.place(slot), self._slots.place(copy), length)
        except BackendError:
            self._slots.release(copy)
            raise
        return copy

    def forward(self, slot: int, chunk: Chunk, logits_indices: Sequence[int] = ()) -> Logits:
        """See Backend; the slot is as long as before when anything is raised."""
        network, features = self._checked(slot, chunk)
        wanted, past = logit_indices(logits_indices, len(chunk.token_ids)), self._slots.length(slot)
        logits = network.append(self._slots.place(slot), past, chunk.token_ids, features, wanted)
        self._slots.set_length(slot, past + len(chunk.token_ids))
        return logits

    def forward_greedy_each(
        self, slot: int, chunk: Chunk, logits_indices: Sequence[int]
    ) -> list[GreedyToken]:
        """See Backend; chosen on the device."""
        network, features = self._checked(slot, chunk)
        wanted, past = logit_indices(logits_indices, len(chunk.token_ids)), self._slots.length(slot)
        best = network.append_greedy(
            self._slots.place(slot), past, chunk.token_ids, features, wanted
        )
        self._slots.set_length(slot, past + len(chunk.token_ids))
        return best

    def _checked(
        self, slot: int, chunk: Chunk
    ) -> tuple[TorchNetwork, list[tuple[int, torch.Tensor]]]:
        """The network, and the chunk's features by offset; BackendError or CacheOverflow when the
        slot cannot take it.
        """
        network = self._opened()
        check_chunk(chunk, self.description.vocabulary_size)
        self._slots.require_room(slot, len(chunk.token_ids))
        return network, [(span.offset, self._span_rows(span)) for span in chunk.spans]

    def _span_rows(self, span: FeatureSpan) -> torch.Tensor:
        return self._stage(span.features, 'projected')[span.first : span.first + span.count]

    def _stage(self, features: Features, stage: str) -> torch.Tensor:
        if (
            not isinstance(features, TorchFeatures)
            or features not in self._features
            or not features.stages
        ):
            raise BackendError(
                'these features cannot be used',
                'another backend made them, or theirs was closed',
                'Encode the frames again',
            )
        return features.stages[stage]

    def _opened(self) -> TorchNetwork:
        if self._network is None:
            raise _not_open()
        return self._network


def _not_open() -> BackendError:
    return BackendError(
        'the torch backend is not open', 'it was closed, or never opened', 'Call open first'
    )
