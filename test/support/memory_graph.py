# SPDX-License-Identifier: Apache-2.0
"""A running memory node, its clients, and what it hears: captions, answers and events as a penguin
node publishes them, transforms, and a penguin node's action with answers of the test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from penguin_msgs.action import AnswerQuestion, Summarise
from penguin_msgs.msg import Answer, Caption, Event, FrameRef
from penguin_msgs.srv import LastSeen, LookAgain, Recall
from rclpy.action import ActionServer, CancelResponse
from support.built_messages import messages_environment
from support.graph import Graph, NodeProcess

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.conversions.times import time_message

MODULE = 'penguin_ros.ros.memory_node.main'
START_SECONDS = 30.0
LEASE_SECONDS = 25.0


class MemoryGraph:
    """One memory node on a graph; `folder` holds its store."""

    def __init__(self, graph: Graph, folder: Path, penguin: str = '/penguin') -> None:
        self.graph = graph
        self.folder = folder
        self.penguin = penguin
        self.diagnostics: list[Any] = graph.collect(DiagnosticArray, '/diagnostics')
        self.process: NodeProcess | None = None
        self._answered: set[tuple[str, NodeProcess | None]] = set()
        self._answering: list[AnsweringNode] = []
        self._publishers: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}

    def start(
        self, parameters: Mapping[str, Any] | None = None, *, with_tf: bool = False, **more: Any
    ) -> NodeProcess:
        """Starts the node and waits until it remembers."""
        environment = {
            **(messages_environment('tf2_msgs') if with_tf else {}),
            **more.pop('environment', {}),
        }
        heard = {each: each.get_subscription_count() for each in self._publishers.values()}
        self.process = self.graph.start(
            MODULE,
            parameters={
                'folder': str(self.folder),
                'store.commit_seconds': 0.1,
                'nodes': [self.penguin],
                **(parameters or {}),
            },
            environment=environment,
            **more,
        )
        self.process.wait_for_log('remembers', START_SECONDS)
        end = time.monotonic() + LEASE_SECONDS
        for each, before in heard.items():  # a process that was killed seems to hear for a while
            self.graph.wait_for(
                lambda each=each, before=before: (
                    each.get_subscription_count() > before or time.monotonic() > end
                ),
                2 * LEASE_SECONDS,
            )
        return self.process

    def answering(self, answer: Callable[[Any], Answer]) -> AnsweringNode:
        """Returns a penguin node's action, which is there until `close`."""
        self._answering.append(AnsweringNode(self.graph, answer, self.penguin))
        return self._answering[-1]

    def close(self) -> None:
        """Takes the actions away: the graph of the next test would still find them."""
        for each in self._answering:
            each.close()

    # --- what it hears ----------------------------------------------------------------------------

    def publisher(self, kind: type, topic: str) -> Any:
        """Returns a publisher of the penguin node's topic that the memory node has found."""
        if topic not in self._publishers:
            self._publishers[topic] = self.graph.node.create_publisher(kind, topic, 1000)
        publisher = self._publishers[topic]
        self.graph.wait_for(publisher.get_subscription_count, what=f'a subscriber of {topic}')
        return publisher

    def say(self, text: str, stamp_ns: int, **fields: Any) -> Caption:
        """Publishes a caption as the penguin node does."""
        message = caption(text, stamp_ns, **fields)
        self.publisher(Caption, f'{self.penguin}/caption').publish(message)
        return message

    def publish_answer(self, **fields: Any) -> None:
        """Publishes an answer as the penguin node does."""
        self.publisher(Answer, f'{self.penguin}/answer').publish(Answer(**fields))

    def publish_event(self, **fields: Any) -> None:
        """Publishes an event as the penguin node does."""
        self.publisher(Event, f'{self.penguin}/event').publish(Event(**fields))

    # --- what it is asked -------------------------------------------------------------------------

    def recall(self, **fields: Any) -> Any:
        """Asks `~/recall` and returns its response."""
        return self._called(Recall, 'recall', fields)

    def look_again(self, **fields: Any) -> Any:
        """Asks `~/look_again` and returns its response."""
        return self._called(LookAgain, 'look_again', fields)

    def last_seen(self, thing: str, **fields: Any) -> Any:
        """Asks `~/last_seen` and returns its response."""
        return self._called(LastSeen, 'last_seen', {'thing': thing, **fields})

    def summarise(self, **fields: Any) -> Any:
        """Sends a goal and returns its handle."""
        client = self.graph.action_client(Summarise, '/memory/summarise')
        return self.graph.result(client.send_goal_async(Summarise.Goal(**fields)))

    def texts(self, **fields: Any) -> list[str]:
        """Returns the texts that recall finds, newest first unless asked otherwise."""
        response = self.recall(**{'is_newest_first': True, 'limit': 1000, **fields})
        assert response.success, response.message
        return [entry.text for entry in response.entries]

    def wait_for_texts(self, *texts: str, seconds: float = 20.0, **fields: Any) -> None:
        """Waits until exactly these texts are found, in any order."""
        self.graph.wait_for(
            lambda: sorted(self.texts(**fields)) == sorted(texts), seconds, f'{texts} remembered'
        )

    def entry(self, task: str) -> DiagnosticStatus | None:
        """Returns the newest diagnostic entry of a task, 'store' for example."""
        name = f'/memory: {task}'
        return next(
            (
                status
                for array in reversed(self.diagnostics)
                for status in array.status
                if status.name == name
            ),
            None,
        )

    def wait_for_entry(self, task: str, level: bytes, text: str = '', seconds: float = 20.0) -> Any:
        """Waits until a diagnostic entry has this level and holds this text."""

        def found() -> DiagnosticStatus | None:
            entry = self.entry(task)
            fits = entry is not None and entry.level == level and text in entry.message
            return entry if fits else None

        return self.graph.wait_for(found, seconds, f'{task}: {text!r}, is {self.entry(task)}')

    def value(self, task: str, key: str) -> str:
        """Returns a value of a diagnostic entry; '' without it."""
        entry = self.entry(task)
        return next((each.value for each in entry.values if each.key == key), '') if entry else ''

    def wait_for_value(self, task: str, key: str, value: str) -> None:
        """Waits until a diagnostic entry says this; one may be from before what was just heard."""
        self.graph.wait_for(lambda: self.value(task, key) == value, what=f'{key}: {value}')

    def _called(self, kind: Any, name: str, fields: Mapping[str, Any]) -> Any:
        if name not in self._clients:
            self._clients[name] = self.graph.client(kind, f'/memory/{name}')
        client = self._clients[name]
        if (name, self.process) not in self._answered:
            # The first response may be lost: a process that was killed seems to serve for a while
            # yet, and a new one may answer before it knows its client. An empty request is answered
            # at once, and costs nothing.
            self.graph.wait_for(lambda: self._responds(client, kind), 40.0, f'a response of {name}')
            self._answered.add((name, self.process))
        return self.graph.call(client, kind.Request(**fields), 40.0)

    def _responds(self, client: Any, kind: Any) -> bool:
        future = client.call_async(kind.Request())
        return not self.graph.holds_for(lambda: not future.done(), 1.0)


class AnsweringNode:
    """The action of a penguin node, in the test's process; `answer` makes the answer of a goal.

    `goals` are those that came. While `is_silent`, goals stay without a result.
    """

    def __init__(
        self, graph: Graph, answer: Callable[[Any], Answer], penguin: str = '/penguin'
    ) -> None:
        self.goals: list[Any] = []
        self.cancelled = 0
        self.is_silent = False
        self._answer = answer
        self._server = ActionServer(
            graph.node,
            AnswerQuestion,
            f'{penguin}/answer_question',
            self._on_goal,
            cancel_callback=self._on_cancel,
        )
        self._graph = graph

    def close(self) -> None:
        """Goes away, as a node does that ends."""
        self._server.destroy()

    async def _on_goal(self, goal: Any) -> AnswerQuestion.Result:
        self.goals.append(goal.request)
        if self.is_silent:
            import rclpy.task

            await rclpy.task.Future(executor=self._graph.executor)
        result = AnswerQuestion.Result(answer=self._answer(goal.request))
        goal.succeed()
        return result

    def _on_cancel(self, goal: Any) -> CancelResponse:
        self.cancelled += 1
        return CancelResponse.ACCEPT


def caption(text: str, stamp_ns: int, seconds: float = 1.0, **fields: Any) -> Caption:
    """Returns a caption of the frames of the `seconds` until a stamp."""
    message = Caption(text=text, **{'camera': 'front', **fields})
    start_ns = max(0, stamp_ns - round(seconds * NANOSECONDS))
    message.header.stamp = message.evidence.end = time_message(stamp_ns)
    message.evidence.start = time_message(start_ns)
    message.evidence.model_name = 'scripted'
    message.evidence.frames = [
        FrameRef(stamp=time_message(each), camera=message.camera)
        for each in sorted({start_ns, (start_ns + stamp_ns) // 2, stamp_ns})
    ]
    return message
