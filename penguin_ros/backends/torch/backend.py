# SPDX-License-Identifier: Apache-2.0
"""Runs a published checkpoint with PyTorch, on a CPU or with CUDA.

Importing this file needs no torch; `open` imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import (
    BackendDescription,
    BackendStats,
    GreedyToken,
    Logits,
    Result,
)
from penguin_ros.backends.base.slot_backend import (
    BRANCH_LOGITS,
    BRANCH_ROWS,
    Append,
    BranchLimits,
    SlotBackend,
    StagedFeatures,
)
from penguin_ros.config import ModelConfig
from penguin_ros.errors import BackendUnavailable
from penguin_ros.libraries import prepare, remedy
from penguin_ros.model_inputs import FramePatches

if TYPE_CHECKING:
    import torch

    from penguin_ros.backends.torch.decoder_passes import FeatureRows
    from penguin_ros.backends.torch.session import Recording, TorchSession
    from penguin_ros.checkpoint.checkpoint import Checkpoint

    TorchFeatures = StagedFeatures[torch.Tensor]


class TorchBackend(SlotBackend['TorchSession', 'TorchFeatures']):
    """Penguin-VL in plain PyTorch. A slot is at most as long as the model's context; truncating one
    costs nothing. On CUDA passes are recorded and replayed, and a slice of an encode is a frame. A
    slice elsewhere, and of a frame with more than `encode_patches` patches, is one layer of one
    frame, or so many rows of it.
    """

    NAME = 'torch'

    def __init__(
        self, checkpoint: Checkpoint, config: ModelConfig, recording: Recording | None = None
    ) -> None:
        """`recording` is for tests, see TorchSession."""
        super().__init__(checkpoint.shape.patch_values)
        self._checkpoint = checkpoint
        self._config = config
        self._recording = recording

    def _open(self) -> tuple[TorchSession, BackendDescription]:
        prepare('torch')
        try:
            from penguin_ros.backends.torch.session import TorchSession
        except (ImportError, OSError) as error:
            raise BackendUnavailable(
                'backend torch is not available',
                f'importing torch failed ({error})',
                remedy(error, 'torch'),
            ) from error
        shape = self._checkpoint.shape
        length = min(self._config.max_length, shape.max_positions)
        session = TorchSession(self._checkpoint, self._config, length, self._recording)
        return session, BackendDescription(
            name=self.NAME,
            device=session.device,
            precision=session.precision,
            model_name=self._checkpoint.name,
            model_digest=self._checkpoint.digest,
            hidden_size=shape.llm.hidden_size,
            vocabulary_size=shape.vocabulary_size,
            max_length=length,
            slots=session.slots,
            slot_bytes=session.slot_bytes,
            feature_bytes_per_token=(shape.llm.hidden_size + shape.encoder.hidden_size)
            * session.element_bytes,
            way=session.way,
            prefill_chunk=session.prefill_chunk,
        )

    def stats(self) -> BackendStats:
        """See Backend."""
        session = self._session
        return BackendStats() if session is None else session.stats()

    def _close(self, session: TorchSession) -> None:
        session.close()

    def time_on_device(self, work: Callable[[], Result]) -> tuple[Result, float | None]:
        """See Backend; told by events of CUDA, and not on a CPU."""
        if self._opened().device == 'cpu':
            return work(), None
        from penguin_ros.backends.torch.device import cuda_timed

        return cuda_timed(work)

    def _encode_frame(
        self, session: TorchSession, frame: FramePatches
    ) -> Generator[None, None, TorchFeatures]:
        return StagedFeatures(*(yield from session.encode_frame(frame)))

    def _read(
        self, session: TorchSession, features: TorchFeatures, stage: str
    ) -> NDArray[np.float32]:
        return session.to_numpy(features.stages[stage])

    def _append(self, session: TorchSession, append: Append) -> Logits:
        return session.append(append, self._feature_rows(append))

    def _append_greedy(self, session: TorchSession, append: Append) -> list[GreedyToken]:
        return session.append_greedy(append, self._feature_rows(append))

    def _branch_limits(self, session: TorchSession) -> BranchLimits:
        return BranchLimits(BRANCH_ROWS, BRANCH_LOGITS)

    def _append_branches(self, session: TorchSession, append: Append) -> Logits:
        return session.append_branches(append)

    def _copy(self, session: TorchSession, source: int, target: int, length: int) -> None:
        session.copy(source, target, length)

    def _feature_rows(self, append: Append) -> list[FeatureRows]:
        return [
            (
                span.offset,
                self._own(span.features).stages['projected'][span.first : span.first + span.count],
            )
            for span in append.chunk.spans
        ]
