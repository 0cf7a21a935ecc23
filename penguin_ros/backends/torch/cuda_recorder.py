# SPDX-License-Identifier: Apache-2.0
"""Records passes as CUDA graphs and replays them. All of them share one pool of memory: a pass
leaves nothing in it, so what one computes in between may lie where another's did.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from penguin_ros.backends.torch.graphs import Work


class CudaRecorder:
    """A stream to record on, and the pool."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What the device had less of after each recording, summed up; other programs on the card
        blur it.
        """
        return self._held_bytes

    def rehearse(self, work: Work) -> None:
        """Runs work on the stream of recordings, so that what libraries set up for a stream is
        there.
        """
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Work) -> Callable[[], None]:
        """Records work; torch's RuntimeError leaves as it is, and the stream can be used again."""
        torch.cuda.synchronize()
        free_bytes = torch.cuda.mem_get_info()[0]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._stream):
            # Calls of other threads do not break a recording that belongs to this one.
            graph.capture_begin(pool=self._pool, capture_error_mode='thread_local')
            try:
                work()
            except BaseException:
                _end_quietly(graph)
                raise
            graph.capture_end()
        self._held_bytes += max(0, free_bytes - torch.cuda.mem_get_info()[0])
        replay: Callable[[], None] = graph.replay
        return replay

    def release(self) -> None:
        """Gives back what dropped graphs held."""
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        self._held_bytes = 0


def _end_quietly(graph: torch.cuda.CUDAGraph) -> None:
    """Ends a recording that has failed; that it did is told by its first error."""
    try:
        graph.capture_end()
    except RuntimeError:
        pass
