# SPDX-License-Identifier: Apache-2.0
"""A running penguin node with a tiny random network, its clients, and what it publishes."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState, GetState
from penguin_msgs.action import AnswerQuestion
from penguin_msgs.msg import Answer, Caption, Question, Status
from penguin_msgs.srv import Ask
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from support.graph import REPOSITORY, Graph, NodeProcess, SyntheticCamera

# One thread: the tests share their machine, and a network this small gains nothing from more.
SMALL: dict[str, Any] = {
    'model.threads': 1,
    'model.max_length': 4096,
    'visual.max_visual_tokens': 64,
    'caption.max_tokens': 8,
    'question.max_tokens': 8,
    'generation.max_repeats': 0,
    'rule.file': '',
}
LOAD_SECONDS = 90.0


class LiveNode:
    """`name` is the node's full name; `process` (module, environment) goes to Graph.start."""

    def __init__(
        self,
        graph: Graph,
        checkpoint: Path | None,
        parameters: Mapping[str, Any] | None = None,
        *,
        name: str = '/penguin',
        arguments: tuple[str, ...] = (),
        **process: Any,
    ) -> None:
        self.graph = graph
        self.name = name
        self.camera: SyntheticCamera | None = None
        self.statuses: list[Any] = graph.collect(Status, f'{name}/status')
        self.captions: list[Any] = graph.collect(Caption, f'{name}/caption')
        self.answers: list[Any] = graph.collect(Answer, f'{name}/answer')
        self.diagnostics: list[Any] = graph.collect(DiagnosticArray, '/diagnostics')
        namespace, _, base = name.rpartition('/')
        self.process: NodeProcess = graph.start(
            parameters={
                **SMALL,
                **({'model.checkpoint': str(checkpoint)} if checkpoint else {}),
                **(parameters or {}),
            },
            arguments=('-r', f'__ns:={namespace or "/"}', '-r', f'__node:={base}', *arguments),
            **process,
        )

    # --- state ------------------------------------------------------------------------------------

    @property
    def status(self) -> Any:
        return self.statuses[-1]

    def wait_until(self, state: str, seconds: float = LOAD_SECONDS) -> LiveNode:
        """Waits until its status names this lifecycle state."""
        seen = len(self.statuses)
        self.graph.wait_for(
            lambda: any(
                status.lifecycle_state == state for status in self.statuses[max(0, seen - 1) :]
            ),
            seconds,
            f'{self.name} {state}',
        )
        return self

    def camera_status(self, camera: str = 'camera') -> Any:
        """Returns the newest status of one camera."""
        return next(status for status in self.status.cameras if status.name == camera)

    def drops(self, cause: str, camera: str = 'camera') -> int:
        """Returns how many frames were dropped for that cause, by its newest status."""
        status = self.camera_status(camera)
        return dict(zip(status.drop_causes, status.drop_counts, strict=True)).get(cause, 0)

    def state(self) -> str:
        """Asks the lifecycle service for the state."""
        return str(
            self.graph.call(
                self._client(GetState, 'get_state'), GetState.Request()
            ).current_state.label
        )

    def change(self, transition: str, seconds: float = LOAD_SECONDS) -> bool:
        """Makes a transition, by its label; returns whether it succeeded."""
        return bool(self.graph.result(self.begin(transition), seconds).success)

    def begin(self, transition: str) -> Any:
        """Asks for a transition and returns its future."""
        request = ChangeState.Request()
        request.transition.id = {
            'configure': 1,
            'cleanup': 2,
            'activate': 3,
            'deactivate': 4,
            'unconfigured_shutdown': 5,
            'inactive_shutdown': 6,
            'active_shutdown': 7,
        }[transition]
        return self._client(ChangeState, 'change_state').call_async(request)

    def set(self, **values: Any) -> list[Any]:
        """Sets parameters and returns the results; `__` in a name stands for a dot."""
        parameters = [
            Parameter(name.replace('__', '.'), value=value).to_parameter_msg()
            for name, value in values.items()
        ]
        return list(
            self.graph.call(
                self._client(SetParameters, 'set_parameters'),
                SetParameters.Request(parameters=parameters),
            ).results
        )

    def entry(self, task: str) -> DiagnosticStatus | None:
        """Returns the newest diagnostic entry of a task, 'model' for example."""
        name = f'{self.name}: {task}'
        return next(
            (
                status
                for array in reversed(self.diagnostics)
                for status in array.status
                if status.name == name
            ),
            None,
        )

    def entry_values(self, task: str) -> dict[str, str]:
        """Returns the values of the newest diagnostic entry of a task."""
        entry = self.entry(task)
        return {} if entry is None else {value.key: value.value for value in entry.values}

    def wait_for_entry(
        self, task: str, level: bytes, text: str = '', seconds: float = 20.0
    ) -> DiagnosticStatus:
        """Waits until the entry has this level and holds this text, and returns it."""

        def found() -> DiagnosticStatus | None:
            entry = self.entry(task)
            return (
                entry
                if entry is not None and entry.level == level and text in entry.message
                else None
            )

        return self.graph.wait_for(
            found, seconds, f'{task} at level {level!r} with {text!r}, is {self.entry(task)}'
        )

    # --- questions --------------------------------------------------------------------------------

    def ask(self, question: str = 'What is this?', seconds: float = 30.0, **fields: Any) -> Any:
        """Asks through the service and returns its response."""
        return self.graph.call(
            self._client(Ask, 'ask'), Ask.Request(question=question, **fields), seconds
        )

    def publish_question(self, question: str = 'What is this?', **fields: Any) -> None:
        """Asks through the topic."""
        self.question_publisher.publish(Question(question=question, **fields))

    @functools.cached_property
    def question_publisher(self) -> Any:
        """The publisher of the topic, matched by the node."""
        return self.graph.publisher(Question, f'{self.name}/question')

    def send_goal(self, question: str = 'What is this?', **fields: Any) -> Goal:
        """Asks through the action; returns when the goal is accepted."""
        if not hasattr(self, '_action'):
            self._action = self.graph.action_client(AnswerQuestion, f'{self.name}/answer_question')
        return Goal(self.graph, self._action, AnswerQuestion.Goal(question=question, **fields))

    def wait_for_answer(self, identity: str, seconds: float = 30.0) -> Any:
        """Waits for the answer with this id on the topic and returns it."""
        return self.graph.wait_for(
            lambda: next((answer for answer in self.answers if answer.id == identity), None),
            seconds,
            f'answer {identity}',
        )

    def _client(self, kind: type, name: str) -> Any:
        clients = self.__dict__.setdefault('_clients', {})
        if name not in clients:
            clients[name] = self.graph.client(kind, f'{self.name}/{name}')
        return clients[name]


def scripted_node(
    graph: Graph,
    checkpoint: Path | None,
    parameters: Mapping[str, Any] | None = None,
    *,
    module: str = 'support.scripted_node',
    environment: Mapping[str, str] | None = None,
    **more: Any,
) -> LiveNode:
    """A node with a scripted model, for tests to which it does not matter what the model says."""
    path = os.pathsep.join(
        [str(REPOSITORY / 'test'), str(REPOSITORY), os.environ.get('PYTHONPATH', '')]
    )
    return LiveNode(
        graph,
        checkpoint,
        parameters,
        module=module,
        environment={'PYTHONPATH': path, **(environment or {})},
        **more,
    )


class Goal:
    """A goal that was sent, with its feedback."""

    def __init__(self, graph: Graph, client: Any, request: Any) -> None:
        self._graph = graph
        self.feedback: list[Any] = []
        self.handle = graph.result(
            client.send_goal_async(
                request, feedback_callback=lambda message: self.feedback.append(message.feedback)
            )
        )
        self.result_future = self.handle.get_result_async()

    def wait_for_text(self, pieces: int = 1, seconds: float = 30.0) -> None:
        """Waits until that many feedback messages have arrived."""
        self._graph.wait_for(
            lambda: len(self.feedback) >= pieces, seconds, f'{pieces} pieces of feedback'
        )

    def result(self, seconds: float = 30.0) -> tuple[int, Any]:
        """Waits for the end of the goal; returns its status and its Answer."""
        response = self._graph.result(self.result_future, seconds)
        return response.status, response.result.answer

    def cancel(self) -> None:
        """Cancels the goal, without waiting for its end."""
        self._graph.result(self.handle.cancel_goal_async())


def with_frames(
    node: LiveNode, topic: str = '/camera/image', hertz: float = 10.0
) -> SyntheticCamera:
    """Starts a camera that publishes whenever the graph spins; returns it once the node has frames
    of it.
    """
    camera = SyntheticCamera(node.graph, topic)
    camera.start(hertz)
    node.graph.wait_for(
        lambda: node.statuses and any(status.frames_buffered for status in node.status.cameras),
        30.0,
        'frames in the buffer',
    )
    return camera
