# SPDX-License-Identifier: Apache-2.0
"""The inputs of the LLM's engine for one run, in memory that host and device share. Knows the
graph's contract, no slots.

Written while the stream is idle, so no earlier run still reads them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import GreedyToken
from penguin_ros.backends.base.embedding_table import EmbeddingTable
from penguin_ros.backends.tensorrt.buffers import HostBuffer
from penguin_ros.backends.tensorrt.chunks import Rows
from penguin_ros.backends.tensorrt.library import SAFETENSORS, STORAGE
from penguin_ros.checkpoint.safetensors_file import narrowed

if TYPE_CHECKING:
    from penguin_ros.backends.tensorrt.device import CudaDevice

Shape = tuple[int, ...]


@dataclass(frozen=True)
class DecoderSizes:
    """What an engine takes at most in one run, and how its tensors are stored: `dtypes` by name, as
    TensorRT calls them.
    """

    hidden: int
    vocabulary: int
    max_rows: int
    max_wanted: int
    max_length: int
    is_in_place: bool
    dtypes: Mapping[str, str]

    def byte_counts(self) -> dict[str, int]:
        """Of a buffer for each input, for the logits and for what was chosen of them, at their
        largest.
        """
        rows = self.max_rows
        counts = {
            'inputs_embeds': rows * self.hidden,
            'position_ids': rows,
            'logits_indices': self.max_wanted,
            'attention_mask': rows * self.mask_columns(self.max_length, rows),
            'logits': self.max_wanted * self.vocabulary,
            'best_token': self.max_wanted,
            'best_logit': self.max_wanted,
            'logit_sum': self.max_wanted,
        }
        if self.is_in_place:
            counts['write_indices'] = 1
        return {name: count * STORAGE[self.dtypes[name]].itemsize for name, count in counts.items()}

    def mask_columns(self, length: int, count: int) -> int:
        """The cache, and behind it the new rows where the cache does not hold them yet."""
        return length if self.is_in_place else length + count


class DecoderInputs:
    """Pinned buffers for the inputs, and for the outputs that the host reads."""

    def __init__(self, device: CudaDevice, sizes: DecoderSizes, table: EmbeddingTable) -> None:
        self.sizes, self._device, self._table = sizes, device, table
        self._buffers: dict[str, HostBuffer] = {
            name: device.allocate_host(byte_count)
            for name, byte_count in sizes.byte_counts().items()
        }

    def addresses(self) -> dict[str, int]:
        """For the device, by tensor name."""
        return {name: buffer.address for name, buffer in self._buffers.items()}

    def shapes(self, length: int, count: int, wanted: int) -> dict[str, Shape]:
        """Of the inputs for `count` rows over a cache of `length`."""
        return {
            'inputs_embeds': (1, count, self.sizes.hidden),
            'position_ids': (1, count),
            'logits_indices': (wanted,),
            'attention_mask': (1, 1, count, self.sizes.mask_columns(length, count)),
        }

    def fill(
        self,
        past: int,
        length: int,
        token_ids: NDArray[np.int64],
        rows: Sequence[Rows],
        wanted: Sequence[int],
    ) -> None:
        """Positions `past` and on; features are copied on the device, where the run will wait for
        them.
        """
        count = len(token_ids)
        self._embed(token_ids, rows)
        self._view('position_ids', (count,))[:] = np.arange(past, past + count)
        self._view('logits_indices', (len(wanted),))[:] = wanted
        mask = self._view('attention_mask', (count, self.sizes.mask_columns(length, count)))
        mask[:, :past], mask[:, past:] = True, False
        new = past if self.sizes.is_in_place else length
        mask[:, new : new + count] = np.tri(count, dtype=bool)
        if self.sizes.is_in_place:
            self._view('write_indices', (1,))[:] = past

    def logits(self, count: int) -> NDArray[np.float32]:
        """A copy of what the last run left, (count, vocabulary)."""
        return self._view('logits', (count, self.sizes.vocabulary)).copy()

    def best(self, count: int) -> list[GreedyToken]:
        """What the last run chose at each of the `count` positions that were wanted."""
        token_ids, logits, totals = (
            self._view(name, (count,)).tolist()
            for name in ('best_token', 'best_logit', 'logit_sum')
        )
        return [
            GreedyToken(int(token_id), float(logit) if math.isfinite(total) else math.nan)
            for token_id, logit, total in zip(token_ids, logits, totals, strict=True)
        ]

    def _embed(self, token_ids: NDArray[np.int64], rows: Sequence[Rows]) -> None:
        dtype = self.sizes.dtypes['inputs_embeds']
        values = self._view('inputs_embeds', (len(token_ids), self.sizes.hidden))
        is_text = np.ones(len(token_ids), bool)
        for span in rows:
            is_text[span.offset : span.offset + span.count] = False
        values[is_text] = narrowed(SAFETENSORS[dtype], self._table.read(token_ids[is_text]))[1]
        start = self._buffers['inputs_embeds'].address
        for span in rows:
            self._device.copy(
                start + span.offset * span.row_bytes, span.address, span.count * span.row_bytes
            )

    def _view(self, name: str, shape: Shape) -> NDArray[Any]:
        return self._buffers[name].view(STORAGE[self.sizes.dtypes[name]], shape)
