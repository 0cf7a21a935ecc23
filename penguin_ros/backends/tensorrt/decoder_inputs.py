# SPDX-License-Identifier: Apache-2.0
"""The inputs of the LLM's engine for one run, and its outputs that the host reads.

Small ones lie in memory that host and device share, which a Jetson's GPU does not cache. So what
the GPU reads again and again lies in its own memory: logits, which are copied to the host only
when somebody asks for them, and the mask of a prefill, which every layer reads.

Inputs are written while the stream is idle, so no earlier run still reads them.
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
from penguin_ros.backends.base.slot_backend import Append
from penguin_ros.backends.cuda.buffers import HostBuffer
from penguin_ros.backends.cuda.chunks import FeatureRows
from penguin_ros.backends.tensorrt.library import SAFETENSORS, STORAGE
from penguin_ros.checkpoint.safetensors_file import narrowed

if TYPE_CHECKING:
    from penguin_ros.backends.cuda.device import CudaDevice

Shape = tuple[int, ...]


@dataclass(frozen=True)
class DecoderSizes:
    """What an engine takes at most in one run, and how its tensors are stored: `dtypes` by name, as
    TensorRT calls them.
    """

    hidden: int
    vocabulary: int
    max_tokens: int
    max_wanted: int
    max_length: int
    is_in_place: bool
    dtypes: Mapping[str, str]

    def byte_counts(self) -> dict[str, int]:
        """Returns the bytes of a buffer for each input, for what is chosen of the logits, and for
        one row of these, at their largest.
        """
        tokens = self.max_tokens
        counts = {
            'inputs_embeds': tokens * self.hidden,
            'position_ids': tokens,
            'logits_indices': self.max_wanted,
            'attention_mask': tokens * self.mask_columns(self.max_length, tokens),
            'logits': self.vocabulary,
            'best_token': self.max_wanted,
            'best_logit': self.max_wanted,
            'logit_sum': self.max_wanted,
        }
        if self.is_in_place:
            counts['write_indices'] = 1
        return {name: count * STORAGE[self.dtypes[name]].itemsize for name, count in counts.items()}

    def mask_columns(self, length: int, num_tokens: int) -> int:
        """Returns the columns of the mask: the cache, and behind it the new positions where the
        cache does not hold them yet.
        """
        return length if self.is_in_place else length + num_tokens


class DecoderInputs:
    """The buffers of inputs and outputs: pinned ones, and in device memory logits and the mask of a
    prefill.
    """

    def __init__(self, device: CudaDevice, sizes: DecoderSizes, table: EmbeddingTable) -> None:
        self.sizes = sizes
        self._device = device
        self._table = table
        self._buffers: dict[str, HostBuffer] = {
            name: device.allocate_host(byte_count)
            for name, byte_count in sizes.byte_counts().items()
        }
        self._row_bytes = len(self._buffers['logits'].bytes)
        self._logits = device.allocate(sizes.max_wanted * self._row_bytes)
        self._prefill_mask = device.allocate(len(self._buffers['attention_mask'].bytes))

    def addresses(self, num_tokens: int) -> dict[str, int]:
        """Returns the device's addresses by tensor name, for a run of `num_tokens` positions."""
        addresses = {name: buffer.address for name, buffer in self._buffers.items()}
        addresses['logits'] = self._logits
        if num_tokens > 1:
            addresses['attention_mask'] = self._prefill_mask
        return addresses

    def shapes(self, length: int, num_tokens: int, num_wanted: int) -> dict[str, Shape]:
        """Returns the shapes of the inputs for `num_tokens` positions over a cache of `length`."""
        return {
            'inputs_embeds': (1, num_tokens, self.sizes.hidden),
            'position_ids': (1, num_tokens),
            'logits_indices': (num_wanted,),
            'attention_mask': (1, 1, num_tokens, self.sizes.mask_columns(length, num_tokens)),
        }

    def fill(self, part: Append, length: int, features: Sequence[FeatureRows]) -> None:
        """Writes the inputs for the positions of `part` over a cache of `length`; features, and the
        mask of a prefill, are copied on the device, where the run will wait for them.
        """
        num_tokens, past, layout = part.num_tokens, part.past, part.layout
        offsets = np.arange(num_tokens) if layout is None else layout.offsets
        self._embed(part.chunk.token_ids, features)
        self._view('position_ids', (num_tokens,))[:] = past + offsets
        self._view('logits_indices', (len(part.wanted),))[:] = part.wanted
        columns = self.sizes.mask_columns(length, num_tokens)
        mask = self._view('attention_mask', (num_tokens, columns))
        mask[:, :past] = True
        mask[:, past:] = False
        new = past if self.sizes.is_in_place else length
        own = np.tri(num_tokens, dtype=bool) if layout is None else layout.sees
        mask[:, new : new + num_tokens] = own
        if num_tokens > 1:
            self._device.copy(
                self._prefill_mask, self._buffers['attention_mask'].address, mask.nbytes
            )
        if self.sizes.is_in_place:
            self._view('write_indices', (1,))[:] = past

    def logits(self, num_wanted: int) -> NDArray[np.float32]:
        """Returns a copy of what the last run left, (num_wanted, vocabulary); row by row, so that
        little pinned memory is needed.
        """
        rows = np.empty((num_wanted, self.sizes.vocabulary), np.float32)
        for index, row in enumerate(rows):
            source = self._logits + index * self._row_bytes
            self._device.copy(self._buffers['logits'].address, source, self._row_bytes)
            self._device.synchronize()
            row[:] = self._view('logits', row.shape)
        return rows

    def greedy(self, num_wanted: int) -> list[GreedyToken]:
        """Returns what the last run chose after each of the positions that were wanted."""
        token_ids, logits, totals = (
            self._view(name, (num_wanted,)).tolist()
            for name in ('best_token', 'best_logit', 'logit_sum')
        )
        return [
            GreedyToken(int(token_id), float(logit) if math.isfinite(total) else math.nan)
            for token_id, logit, total in zip(token_ids, logits, totals, strict=True)
        ]

    def _embed(self, token_ids: NDArray[np.int64], features: Sequence[FeatureRows]) -> None:
        dtype = self.sizes.dtypes['inputs_embeds']
        values = self._view('inputs_embeds', (len(token_ids), self.sizes.hidden))
        is_text = np.ones(len(token_ids), bool)
        for rows in features:
            is_text[rows.offset : rows.offset + rows.count] = False
        values[is_text] = narrowed(SAFETENSORS[dtype], self._table.read(token_ids[is_text]))[1]
        start = self._buffers['inputs_embeds'].address
        for rows in features:
            self._device.copy(
                start + rows.offset * rows.row_bytes, rows.address, rows.count * rows.row_bytes
            )

    def _view(self, name: str, shape: Shape) -> NDArray[Any]:
        return self._buffers[name].view(STORAGE[self.sizes.dtypes[name]], shape)
