# SPDX-License-Identifier: Apache-2.0
"""What backends have in common whose features and slots lie in a GPU's memory: that of own kernels
and that of TensorRT. Importing this file needs no inference library.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from penguin_ros.backends.base.backend import GreedyToken, Logits
from penguin_ros.backends.base.slot_backend import Append, SlotBackend
from penguin_ros.backends.cuda.chunks import FeatureRows
from penguin_ros.backends.cuda.features import DeviceFeatures
from penguin_ros.model_inputs import FramePatches


class SlotDecoder(Protocol):
    """The LLM on slots."""

    def append(self, append: Append, features: Sequence[FeatureRows]) -> Logits:
        """Writes a chunk; returns the logits that are wanted."""

    def append_greedy(self, append: Append, features: Sequence[FeatureRows]) -> list[GreedyToken]:
        """Writes a chunk; returns what the device chose."""

    def append_greedy_run(self, append: Append, count: int) -> list[GreedyToken] | None:
        """Writes a token and those that the device chooses; None where it does not."""

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of a slot to another."""


class FrameEncoder(Protocol):
    """Encoder and projector."""

    def check(self, frame: FramePatches) -> None:
        """Raises BackendError for a frame that is too large."""


class DeviceSession(Protocol):
    """What is open."""

    @property
    def decoder(self) -> SlotDecoder:
        """The LLM."""

    @property
    def encoder(self) -> FrameEncoder:
        """The encoder."""

    def close(self) -> None:
        """Frees everything."""


Opened = TypeVar('Opened', bound=DeviceSession)


class DeviceBackend(SlotBackend[Opened, DeviceFeatures], Generic[Opened]):
    """A backend on one GPU; it says how many bytes the decoder reads of a visual token."""

    @abstractmethod
    def _row_bytes(self, session: Opened) -> int:
        """Returns the bytes of a row of projected features."""

    def _close(self, session: Opened) -> None:
        session.close()

    def _check_frame(self, session: Opened, frame: FramePatches) -> None:
        session.encoder.check(frame)

    def _append(self, session: Opened, append: Append) -> Logits:
        return session.decoder.append(append, self._feature_rows(session, append))

    def _append_greedy(self, session: Opened, append: Append) -> list[GreedyToken]:
        return session.decoder.append_greedy(append, self._feature_rows(session, append))

    def _append_greedy_run(
        self, session: Opened, append: Append, count: int
    ) -> list[GreedyToken] | None:
        return session.decoder.append_greedy_run(append, count)

    def _copy(self, session: Opened, source: int, target: int, length: int) -> None:
        session.decoder.copy(source, target, length)

    def _feature_rows(self, session: Opened, append: Append) -> list[FeatureRows]:
        """Returns where the chunk's features lie in device memory."""
        row_bytes = self._row_bytes(session)
        return [
            FeatureRows(
                span.offset,
                self._own(span.features).projected_address + span.first * row_bytes,
                span.count,
                row_bytes,
            )
            for span in append.chunk.spans
        ]
