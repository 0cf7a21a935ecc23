# SPDX-License-Identifier: Apache-2.0
"""The action `~/summarise`: a penguin node tells what happened in an interval, from its captions.

What it costs is known before the first prompt, and it can be cancelled at any time. Everything runs
on the executor's thread, the reading of captions apart.
"""

from __future__ import annotations

import time
from typing import Any

from penguin_msgs.action import Summarise
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from penguin_ros.errors import InvalidRequest, RequestCancelled
from penguin_ros.frame import NANOSECONDS
from penguin_ros.memory.entry import Entry, Kind
from penguin_ros.memory.filter import Filter
from penguin_ros.memory.store import Store
from penguin_ros.recollection.spread import spread
from penguin_ros.recollection.summary import Line, SummaryLimits, cost_of, lines_of, summary
from penguin_ros.ros.conversions.memory_messages import checked_interval, entry_message
from penguin_ros.ros.memory_node.background import Background
from penguin_ros.ros.memory_node.parameters import LookConfig, SummaryConfig
from penguin_ros.ros.memory_node.penguin_client import Asked, Cancellation, PenguinClient
from penguin_ros.ros.memory_node.recall_endpoint import ENTRY_QOS, Report, note_failure

PAGE = 5000
MAX_CAPTIONS = 100_000
ENTRIES_TOLD = 200
"""Entries in the result, spread evenly over those that the summary rests on."""


class SummariseEndpoint:
    """Serves the action from the store, through the client of the penguin nodes."""

    def __init__(
        self,
        node: Node,
        store: Store,
        client: PenguinClient,
        background: Background,
        config: tuple[SummaryConfig, LookConfig],
        report: Report,
    ) -> None:
        self._store = store
        self._client = client
        self._background = background
        self._config, self._look = config
        self._report = report
        self._cancellations: dict[bytes, Cancellation] = {}
        self._action = ActionServer(
            node,
            Summarise,
            '~/summarise',
            self._on_goal,
            cancel_callback=self._on_cancel,
            callback_group=ReentrantCallbackGroup(),
            goal_service_qos_profile=ENTRY_QOS,
            result_service_qos_profile=ENTRY_QOS,
            cancel_service_qos_profile=ENTRY_QOS,
        )

    def close(self) -> None:
        """Destroys the action server, which the node does not do by itself."""
        self._action.destroy()

    def _on_cancel(self, goal: Any) -> CancelResponse:
        cancellation = self._cancellations.get(bytes(goal.goal_id.uuid))
        if cancellation is not None:
            cancellation.request()
        return CancelResponse.ACCEPT

    async def _on_goal(self, goal: Any) -> Summarise.Result:
        result = Summarise.Result()
        key = bytes(goal.goal_id.uuid)
        cancellation = self._cancellations[key] = Cancellation(self._background)
        error: Exception | None = None
        try:
            if goal.is_cancel_requested:
                cancellation.request()
            await self._summarise(goal, result, cancellation)
            result.success = True
        except Exception as failure:
            error = failure
            note_failure(result, failure, self._report, '~/summarise')
        finally:
            del self._cancellations[key]
        # Nothing may wait between the state and the result, see question_endpoints.py.
        if error is None:
            goal.succeed()
        elif isinstance(error, RequestCancelled) and goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return result

    async def _summarise(
        self, goal: Any, result: Summarise.Result, cancellation: Cancellation
    ) -> None:
        request = goal.request
        lines = await self._background.run(lambda: self._lines(request))
        limits = SummaryLimits(self._config.prompt_characters, self._config.max_tokens)
        entries = [entry for line in lines for entry in line.entries]
        cost = cost_of(lines, request.focus, limits)
        result.captions = len(entries)
        result.entries = [entry_message(entry) for entry in spread(entries, ENTRIES_TOLD)]
        result.prompts, result.prompt_tokens = cost.prompts, cost.prompt_tokens
        self._refuse_cost(cost.prompts, int(request.max_prompts))
        if request.is_dry_run or not lines:
            return
        result.prompts = result.prompt_tokens = 0
        steps = summary(lines, request.focus, limits)
        preferred = entries[-1].node
        try:
            prompt = next(steps)
            while True:
                text = await self._told(prompt, preferred, cancellation, result)
                if not goal.is_cancel_requested:
                    goal.publish_feedback(
                        Summarise.Feedback(
                            prompts_done=result.prompts, prompts_needed=cost.prompts, text=text
                        )
                    )
                prompt = steps.send(text)
        except StopIteration as end:
            result.text = end.value

    async def _told(
        self, prompt: str, preferred: str, cancellation: Cancellation, result: Summarise.Result
    ) -> str:
        """Returns what the model makes of one prompt, and counts it."""
        if cancellation.is_requested:
            raise RequestCancelled('the client cancelled the request')
        deadline_ns = time.monotonic_ns() + round(self._look.deadline * NANOSECONDS)
        asked = Asked(prompt, max_tokens=self._config.max_tokens)
        answer = await self._client.ask(asked, deadline_ns, preferred, cancellation)
        result.prompts += 1
        result.prompt_tokens += answer.evidence.prompt_tokens
        return str(answer.text)

    def _refuse_cost(self, prompts: int, wanted: int) -> None:
        most = wanted or self._config.max_prompts
        if prompts > most:
            raise InvalidRequest(
                f'the summary would take {prompts} prompts',
                f'{most} are allowed (max_prompts of the goal, summary.max_prompts)',
                'Take a shorter interval, or allow more',
            )

    def _lines(self, request: Summarise.Goal) -> list[Line]:
        """Reads the captions of the interval."""
        interval = checked_interval(request.start, request.end)
        entries: list[Entry] = []
        page = ''
        while True:
            asked = Filter(
                interval=interval,
                camera=request.camera,
                kinds=(Kind.CAPTION, Kind.EVENT),
                is_newest_first=True,
                limit=PAGE,
                page=page,
            )
            found = self._store.recall(asked)
            entries += [hit.entry for hit in found.hits]
            page = found.next_page
            if not page:
                return lines_of(entries)
            if len(entries) >= MAX_CAPTIONS:
                raise InvalidRequest(
                    f'the interval has more than {MAX_CAPTIONS} captions',
                    'they would take more memory than this node may have',
                    'Take a shorter interval',
                )
