# SPDX-License-Identifier: Apache-2.0
"""A whole Penguin-VL on one device: it turns frames into features and chunks into logits.

Every method runs without gradients, and what torch raises leaves as a named error. Where passes can
be recorded, which is on CUDA, they run with fixed shapes and are replayed; where that fails, and on
a CPU, they run plainly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from penguin_ros.backends.base.backend import (
    PREFILL_CHUNK,
    BackendStats,
    GreedyToken,
    Logits,
    Result,
)
from penguin_ros.backends.base.slot_backend import Append
from penguin_ros.backends.torch import decoder
from penguin_ros.backends.torch.attention import CUDNN_ATTENTION
from penguin_ros.backends.torch.buckets import LengthBuckets
from penguin_ros.backends.torch.cache import KeyValueCache
from penguin_ros.backends.torch.cuda_recorder import CudaRecorder
from penguin_ros.backends.torch.decoder_passes import (
    DecoderPasses,
    FeatureRows,
    Network,
    greedy_choices,
)
from penguin_ros.backends.torch.device import choose_device, choose_precision, idle_card, inference
from penguin_ros.backends.torch.encoder import Encoded, encode_frame
from penguin_ros.backends.torch.encoder_passes import EncoderPasses
from penguin_ros.backends.torch.graphs import PassCache, Recorder
from penguin_ros.backends.torch.layers import position_table
from penguin_ros.backends.torch.warm_up import ENCODE_PATCHES, StepSizes, measured_sizes
from penguin_ros.backends.torch.weights import WeightLoader
from penguin_ros.checkpoint.checkpoint import Checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.errors import OutOfMemory
from penguin_ros.model_inputs import FramePatches

_SPARE_POSITIONS = 16  # the last one is needed; so many keep rows of the cache aligned


@dataclass(frozen=True)
class Recording:
    """How passes are recorded: `make` gives the recorder of a session, `smallest_length` is the
    first bucket of lengths, `clock_ns` measures passes when the model is loaded.
    """

    make: Callable[[], Recorder] = CudaRecorder
    smallest_length: int = 256
    clock_ns: Callable[[], int] = time.perf_counter_ns


class TorchSession:
    """The weights, and the cache with `max_length` positions per slot. `recording` is given where
    passes are to be recorded on a device that is not CUDA.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: ModelConfig,
        max_length: int,
        recording: Recording | None = None,
    ) -> None:
        with inference('loading the model'):
            device = choose_device(config.device)
            self._idle_card = idle_card() if config.device == 'auto' else ''
            self.device = device.type
            self.precision = choose_precision(config.precision, device)
            if config.threads:
                torch.set_num_threads(config.threads)
            loader = WeightLoader(checkpoint, device, getattr(torch, self.precision))
            self._encoder = loader.encoder()
            self._decoder = loader.decoder()
        if recording is None and self.device == 'cuda' and config.cuda_graphs:
            recording = Recording()
        self._max_length = max_length
        with inference(f'allocating KV slots of {max_length} positions'):
            self._allocate(checkpoint, config, recording)
        self.slots = self._cache.slots
        self.slot_bytes = self._cache.slot_bytes
        self.element_bytes = self._decoder.embedding.itemsize
        if self.device == 'cuda':
            CUDNN_ATTENTION.keep_off()
        self._can_fall_back = False  # sizes that do not fit are what the measurement looks for
        self._fit_to_device(config, recording)
        self._can_fall_back = True

    def _allocate(
        self, checkpoint: Checkpoint, config: ModelConfig, recording: Recording | None
    ) -> None:
        like, llm = self._decoder.embedding, checkpoint.shape.llm
        self._graphs: PassCache | None = None
        self._passes: DecoderPasses | None = None
        self._encoder_passes: EncoderPasses | None = None
        self._positions = position_table(llm, self._max_length, like)
        if recording is None:
            self._cache = KeyValueCache(llm, config, self._max_length, like)
            return
        buckets = LengthBuckets(self._max_length, recording.smallest_length)
        self._cache = KeyValueCache(llm, config, buckets.ceiling + _SPARE_POSITIONS, like)
        self._graphs = PassCache(recording.make())
        network = Network(self._decoder, self._cache, self._positions, buckets)
        self._passes = DecoderPasses(network, self._graphs)
        self._encoder_passes = EncoderPasses(self._encoder, self._graphs)

    def _fit_to_device(self, config: ModelConfig, recording: Recording | None) -> None:
        """Sets the sizes of steps: those of the settings, else what the device takes, which is
        measured where passes are recorded.
        """
        self._rows_per_slice = ENCODE_PATCHES[0]
        sizes = StepSizes(PREFILL_CHUNK, ENCODE_PATCHES[0])
        if recording is not None and not (config.prefill_chunk and config.encode_patches):
            patch_values = self._encoder.patches[0].shape[1]
            sizes = measured_sizes(self, self._max_length, patch_values, recording.clock_ns)
        self.prefill_chunk = config.prefill_chunk or sizes.prefill_chunk
        self._rows_per_slice = config.encode_patches or sizes.encode_patches

    def wait(self) -> None:
        """Returns when all that was asked of the device is done."""
        if self.device == 'cuda':
            torch.cuda.synchronize()

    def close(self) -> None:
        """Frees weights and cache; the object is dead afterwards."""
        if self._graphs is not None:
            self._graphs.close()
        del self._encoder, self._decoder, self._cache, self._positions
        del self._graphs, self._passes, self._encoder_passes
        if self.device == 'cuda':
            CUDNN_ATTENTION.give_back()
            torch.cuda.empty_cache()

    @property
    def way(self) -> str:
        """How passes run, in words."""
        can_record = self._graphs is not None and self._graphs.can_record
        passes = 'CUDA graphs' if can_record else 'passes launched one by one'
        if self.device == 'cuda':
            return f'{passes}, {torch.cuda.get_device_name()}'
        return passes if can_record else f'CPU, {torch.get_num_threads()} threads'

    def stats(self) -> BackendStats:
        """Returns what is known of recorded passes; on any thread."""
        graphs: PassCache | None = getattr(self, '_graphs', None)
        return BackendStats(slowdown=self._idle_card) if graphs is None else graphs.stats()

    def encode_frame(self, frame: FramePatches) -> Generator[None, None, Encoded]:
        """Encodes a frame, as one pass where that can be recorded and the frame has no more patches
        than a slice, else as `encoder.encode_frame` does.
        """
        passes = self._encoder_passes
        if passes is not None and self._records and len(frame.values) <= self._rows_per_slice:
            whole = self._recorded('encoding a frame', lambda: passes.encode(frame))
            if whole is not None:
                yield
                return whole
        slices = encode_frame(self._encoder, frame, self._rows_per_slice)
        while True:
            # Gradient mode belongs to the thread: it must not stay switched while the generator is
            # suspended.
            with inference('encoding a frame'):
                try:
                    next(slices)
                except StopIteration as end:
                    result: Encoded = end.value
                    return result
            yield

    def append(self, append: Append, features: Sequence[FeatureRows]) -> Logits:
        """Writes a chunk, with visual features in their places; returns the logits asked for."""
        passes, what = self._passes, 'appending a chunk'
        if passes is not None and self._records:
            found = self._recorded(what, lambda: _to_numpy(passes.append(append, features)))
            if found is not None:
                return found
        with inference(what):
            return _to_numpy(self._append(append, features))

    def append_greedy(self, append: Append, features: Sequence[FeatureRows]) -> list[GreedyToken]:
        """Does the same and returns the most probable tokens; the device moves two numbers for
        each.
        """
        passes, what = self._passes, 'appending a chunk'
        if passes is not None and self._records:
            found = self._recorded(what, lambda: passes.append_greedy(append, features))
            if found is not None:
                return found
        with inference(what):
            return greedy_choices(self._append(append, features))

    def append_branches(self, append: Append) -> Logits:
        """Reads the rows of a tree in one plain pass and clears what it wrote; returns the logits
        asked for.
        """
        table, past = self._decoder.embedding, append.past
        with inference('reading branches'):
            try:
                ids = torch.tensor(append.chunk.token_ids, dtype=torch.int64, device=table.device)
                hidden = decoder.append_tree(
                    self._decoder, self._cache, self._positions, append, F.embedding(ids, table)
                )
                return _to_numpy(decoder.logits(self._decoder, hidden, append.wanted))
            finally:
                self._cache.clear(append.index, past, past + append.num_tokens)

    def _append(self, append: Append, features: Sequence[FeatureRows]) -> torch.Tensor:
        """Appends plainly; returns (len(wanted), vocabulary_size) float32 on the device."""
        ids = torch.tensor(
            append.chunk.token_ids, dtype=torch.int64, device=self._decoder.embedding.device
        )
        embeddings = F.embedding(ids, self._decoder.embedding)
        for offset, rows in features:
            embeddings[offset : offset + len(rows)] = rows
        place = (append.index, append.past)
        hidden = decoder.append(self._decoder, self._cache, self._positions, place, embeddings)
        return decoder.logits(self._decoder, hidden, append.wanted)

    @property
    def _records(self) -> bool:
        return self._graphs is not None and self._graphs.can_record

    def _recorded(self, what: str, run: Callable[[], Result]) -> Result | None:
        """Runs something on passes that are recorded. Where memory runs out in it, all of them and
        their pool are dropped, and it returns None: whoever calls takes the plain way, which writes
        the same to the same places.
        """
        try:
            with inference(what):
                return run()
        except OutOfMemory as error:
            if not self._can_fall_back:
                raise
            why = f'{error.what}: {error.why}'
        # Here the error is gone, and with it the memory that its frames held.
        with inference(what):
            if self._graphs is not None and self._passes is not None:
                self._passes.release()
                self._graphs.give_up(why)
        return None

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of one slot to another."""
        with inference('copying a KV slot'):
            if self._passes is not None:
                self._passes.copy(source, target, length)
            else:
                self._cache.copy(source, target, length)

    def to_numpy(self, tensor: torch.Tensor) -> NDArray[np.float32]:
        """Copies a tensor to the host."""
        with inference('reading features'):
            return _to_numpy(tensor).copy()


def _to_numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = tensor.float().cpu().numpy()
    return values
