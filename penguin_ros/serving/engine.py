# SPDX-License-Identifier: Apache-2.0
"""A pipeline under an event loop: the pieces of an answer as they come, then the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import Inactive
from penguin_ros.pipeline import Pipeline
from penguin_ros.pipeline_status import ModelDescription, PipelineStatus
from penguin_ros.request import Answer, Request, TextPiece

STUCK_PERIOD_S = 0.5

Event = TextPiece | Answer


class ServedEngine:
    """Used on the thread of one loop. What waits for a client that reads slowly is bounded by the
    tokens of its answer.
    """

    def __init__(self, config: PenguinConfig, pipeline: Pipeline) -> None:
        self.config = config
        self._pipeline = pipeline
        self._model: ModelDescription | None = None

    def load(self) -> ModelDescription:
        """Loads the model, and takes requests from then on; on any thread."""
        model = self._pipeline.open()
        self._pipeline.activate()
        self._model = model
        return model

    async def open(self) -> ModelDescription:
        """Loads the model on a thread beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(None, self.load)

    async def close(self) -> None:
        """Ends what still waits or runs, and frees the model."""
        self._model = None
        await asyncio.get_running_loop().run_in_executor(None, self._pipeline.close)

    @property
    def model(self) -> ModelDescription:
        """What is served; Inactive while it is being loaded, and when it was lost."""
        if self._model is None:
            raise Inactive('the model is not ready', 'it is being loaded, or closed')
        failure = self._pipeline.status().worker.failure
        if failure is not None:
            raise Inactive('the model is lost', str(failure), 'Start the server again')
        return self._model

    def status(self) -> PipelineStatus:
        """Returns a snapshot of the pipeline."""
        return self._pipeline.status()

    async def events(self, request: Request) -> AsyncGenerator[Event, None]:
        """Yields the pieces of an answer, then the answer. Whoever stops reading cancels the
        request. Raises at once what Pipeline.submit raises.
        """
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Event]()

        def put(event: Event) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(queue.put_nowait, event)

        ticket = self._pipeline.submit(request, put, put)
        is_over = False
        try:
            while not is_over:
                event = await queue.get()
                is_over = isinstance(event, Answer)
                yield event
        finally:
            if not is_over:
                self._pipeline.cancel(ticket.id)

    async def watch(self) -> None:
        """Ends requests whose time is over while the model hangs; runs until it is cancelled."""
        while True:
            await asyncio.sleep(STUCK_PERIOD_S)
            self._pipeline.end_stuck()
