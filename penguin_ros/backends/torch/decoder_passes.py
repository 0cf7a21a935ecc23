# SPDX-License-Identifier: Apache-2.0
"""The LLM's passes with fixed shapes and addresses, so that a recorded one can be replayed: the
numbers of a pass lie in device memory, keys and values are written by index, and attention runs
over the length rounded up, behind a mask.

Rows that a pass has too many write to the last position of their slot, which nobody reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from penguin_ros.backends.base.backend import GreedyToken
from penguin_ros.backends.base.slot_backend import Append
from penguin_ros.backends.torch import decoder
from penguin_ros.backends.torch.buckets import (
    MAX_ROWS,
    MOST_DECODE_ROWS,
    LengthBuckets,
    row_bucket,
)
from penguin_ros.backends.torch.cache import KeyValueCache
from penguin_ros.backends.torch.graphs import PassCache
from penguin_ros.backends.torch.layers import position_mask, rope_of
from penguin_ros.backends.torch.weights import DecoderWeights

FeatureRows = tuple[int, torch.Tensor]
"""The offset in a chunk, and the rows (count, hidden_size) of visual features that stand there."""


@dataclass(frozen=True, eq=False)
class Network:
    """What every pass reads. `positions` is the rotary table, see `layers.position_table`."""

    weights: DecoderWeights
    cache: KeyValueCache
    positions: torch.Tensor
    buckets: LengthBuckets


class Numbers:
    """Token ids, positions and places in the cache of the rows of a pass, in one tensor."""

    def __init__(self, rows: int, like: torch.Tensor) -> None:
        self._all = torch.zeros((3, rows), dtype=torch.int64, device=like.device)
        self.token_ids, self.positions, self.places = self._all

    def load(self, token_ids: np.ndarray, past: int, spare_place: int) -> None:
        """Writes the numbers of len(token_ids) rows behind `past` positions, and of spare ones."""
        count = len(token_ids)
        numbers = np.zeros(self._all.shape, np.int64)
        numbers[0, :count] = token_ids
        numbers[1, :count] = numbers[2, :count] = np.arange(past, past + count)
        numbers[2, count:] = spare_place
        self._all.copy_(torch.from_numpy(numbers))


class TextRows:
    """Memory of a pass over text: its logits (rows, vocabulary_size) float32, and the most probable
    tokens with their logits, NaN where any is not finite, as (2, rows) float64, which holds both
    exactly.
    """

    def __init__(self, rows: int, weights: DecoderWeights) -> None:
        like = weights.embedding
        self.numbers = Numbers(rows, like)
        self.logits = torch.zeros((rows, len(weights.head)), device=like.device)
        self.choices = torch.zeros((2, rows), dtype=torch.float64, device=like.device)


class EmbeddedRows:
    """Memory of a pass over embeddings (rows, hidden_size): theirs, and that of the last hidden
    states.
    """

    def __init__(self, rows: int, weights: DecoderWeights) -> None:
        like = weights.embedding
        self.numbers = Numbers(rows, like)
        self.embeddings = like.new_zeros((rows, like.shape[1]))
        self.hidden = like.new_zeros((rows, like.shape[1]))


@dataclass(frozen=True, eq=False)
class TextPass:
    """Appends text to the slot `index` and chooses the tokens after each position, with attention
    over `length` positions.
    """

    network: Network
    rows: TextRows
    index: int
    length: int

    def work(self) -> None:
        """See `graphs.Pass`."""
        rows, weights = self.rows, self.network.weights
        x = F.embedding(rows.numbers.token_ids, weights.embedding)
        hidden = _hidden(self.network, rows.numbers, (self.index, self.length), x)
        logits = decoder.head(weights, hidden)
        best, choices = logits.max(dim=-1)
        is_finite = logits.isfinite().all(dim=-1)
        rows.logits.copy_(logits)
        rows.choices[0].copy_(choices)
        rows.choices[1].copy_(torch.where(is_finite, best, torch.nan))


@dataclass(frozen=True, eq=False)
class EmbeddedPass:
    """Appends embeddings to the slot `index`, with attention over `length` positions."""

    network: Network
    rows: EmbeddedRows
    index: int
    length: int

    def work(self) -> None:
        """See `graphs.Pass`."""
        x = self.rows.embeddings.clone()
        place = (self.index, self.length)
        self.rows.hidden.copy_(_hidden(self.network, self.rows.numbers, place, x))


def _hidden(
    network: Network, numbers: Numbers, place: tuple[int, int], x: torch.Tensor
) -> torch.Tensor:
    index, length = place
    stack = network.weights.stack
    rope = rope_of(network.positions[numbers.positions])
    mask = position_mask(numbers.positions, length, stack.shape.heads // stack.shape.kv_heads, x)

    def store(layer: int, new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = network.cache.place(index, layer, numbers.places, new)
        return keys[:, :length], values[:, :length]

    return decoder.run_layers(stack, x, rope, mask, store)


class DecoderPasses:
    """Appends chunks by passes of `graphs`. Passes over equally many rows share the memory of their
    inputs and outputs.
    """

    def __init__(self, network: Network, graphs: PassCache) -> None:
        self._network = network
        self._graphs = graphs
        self._text_rows: dict[int, TextRows] = {}
        self._embedded_rows: dict[int, EmbeddedRows] = {}
        self._unproven: dict[int, int] = {}
        """By slot: positions up to here may hold NaN or infinity; what lies behind is finite."""

    def append(self, append: Append, features: Sequence[FeatureRows]) -> torch.Tensor:
        """Writes a chunk; returns logits (len(wanted), vocabulary_size) float32 on the device."""
        self._make_finite(append)
        wanted = torch.tensor(append.wanted, dtype=torch.int64)
        if self._is_text(append, features):
            logits = self._run_text(append).rows.logits
            found = logits[wanted.to(logits.device)]
        else:
            hidden = self._run_embedded(append, features)
            found = decoder.head(self._network.weights, hidden[wanted.to(hidden.device)])
        if append.num_tokens - 1 in append.wanted:
            self._note_last(
                append, bool(found[append.wanted.index(append.num_tokens - 1)].isfinite().all())
            )
        return found

    def append_greedy(self, append: Append, features: Sequence[FeatureRows]) -> list[GreedyToken]:
        """Writes a chunk; returns the most probable tokens. The device moves two numbers for each
        row.
        """
        if not self._is_text(append, features):
            return greedy_choices(self.append(append, features))
        self._make_finite(append)
        choices, logits = self._run_text(append).rows.choices.tolist()
        self._note_last(append, math.isfinite(logits[append.num_tokens - 1]))
        return [GreedyToken(int(choices[row]), logits[row]) for row in append.wanted]

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of one slot to another."""
        cache = self._network.cache
        cache.clear(target, 0, self._unproven.pop(target, 0))
        cache.copy(source, target, length)
        self._unproven[target] = min(length, self._unproven.get(source, 0))

    def release(self) -> None:
        """Drops the memory of inputs and outputs; that of passes goes with them."""
        self._text_rows.clear()
        self._embedded_rows.clear()

    def _is_text(self, append: Append, features: Sequence[FeatureRows]) -> bool:
        return not features and append.num_tokens <= MOST_DECODE_ROWS

    def _make_finite(self, append: Append) -> None:
        """Zeroes what lies behind a slot's positions and may not be finite, as something that was
        computed, seen to be bad and forgotten leaves it. Finite logits of the last position prove
        that all before it are.
        """
        end = self._unproven.get(append.index, 0)
        if end > append.past:
            self._network.cache.clear(append.index, append.past, end)
        self._unproven[append.index] = append.past + append.num_tokens

    def _note_last(self, append: Append, is_finite: bool) -> None:
        if is_finite:
            self._unproven.pop(append.index, None)

    def _run_text(self, append: Append) -> TextPass:
        count = append.num_tokens
        rows = row_bucket(count)
        length = self._network.buckets.of(append.past + count)

        def make() -> TextPass:
            if rows not in self._text_rows:
                self._text_rows[rows] = TextRows(rows, self._network.weights)
            return TextPass(self._network, self._text_rows[rows], append.index, length)

        return self._graphs.run(
            ('text', rows, length, append.index),
            make,
            lambda made: self._load(made.rows.numbers, append.chunk.token_ids, append.past),
        )

    def _run_embedded(self, append: Append, features: Sequence[FeatureRows]) -> torch.Tensor:
        """Returns the last hidden states (S, hidden_size), a copy."""
        ids = torch.from_numpy(np.array(append.chunk.token_ids, np.int64))
        embedding = self._network.weights.embedding
        embeddings = F.embedding(ids.to(embedding.device), embedding)
        for offset, rows in features:
            embeddings[offset : offset + len(rows)] = rows
        parts = [
            self._run_part(append.index, append.past + start, part).rows.hidden[: len(part)].clone()
            for start, part in zip(
                range(0, len(ids), MAX_ROWS), torch.split(embeddings, MAX_ROWS), strict=True
            )
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _run_part(self, index: int, past: int, embeddings: torch.Tensor) -> EmbeddedPass:
        count = len(embeddings)
        rows = row_bucket(max(count, MOST_DECODE_ROWS))
        length = self._network.buckets.of(past + count)

        def make() -> EmbeddedPass:
            if rows not in self._embedded_rows:
                self._embedded_rows[rows] = EmbeddedRows(rows, self._network.weights)
            return EmbeddedPass(self._network, self._embedded_rows[rows], index, length)

        def load(made: EmbeddedPass) -> None:
            made.rows.embeddings[:count].copy_(embeddings)
            self._load(made.rows.numbers, np.zeros(count, np.int64), past)

        return self._graphs.run(('embedded', rows, length, index), make, load)

    def _load(self, numbers: Numbers, token_ids: np.ndarray, past: int) -> None:
        numbers.load(token_ids, past, self._network.cache.capacity - 1)


def greedy_choices(logits: torch.Tensor) -> list[GreedyToken]:
    """Returns the most probable token of each row of (n, vocabulary_size); two numbers for each
    leave the device.
    """
    best, choices = logits.max(dim=-1)
    best = torch.where(logits.isfinite().all(dim=-1), best, torch.nan)
    return [
        GreedyToken(int(token_id), float(logit))
        for token_id, logit in zip(choices.tolist(), best.tolist(), strict=True)
    ]
