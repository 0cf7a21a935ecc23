# SPDX-License-Identifier: Apache-2.0
"""What each tool does. Their docstrings and the texts of their arguments are what an agent reads;
errors become results that are errors, with the name of the error.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from mcp_types import CallToolResult, ImageContent, TextContent
from pydantic import Field

from penguin_ros.client import Memory
from penguin_ros.errors import PenguinError
from penguin_ros.mcp_server.replies import (
    AnswerReply,
    EvaluationReply,
    LastSeenReply,
    RecallReply,
    RuleReply,
    RulesReply,
    StatusReply,
    answer_reply,
    evidence_line,
    evidence_reply,
    memory_reply,
    rule_reply,
    rules_reply,
    status_reply,
)
from penguin_ros.mcp_server.robot_link import RobotLink

MAX_PICTURES = 4

Question = Annotated[str, Field(max_length=4000, description='The question, in plain words.')]
Camera = Annotated[
    str, Field(max_length=64, description='Name of a camera, as in robot_status; empty: any.')
]
Choices = Annotated[
    list[Annotated[str, Field(max_length=256)]],
    Field(
        max_length=64,
        description='When given, the answer is one of these, each with its probability.',
    ),
]
LastSeconds = Annotated[
    float, Field(ge=0, le=31536000, description='Look only at so many last seconds; 0: no limit.')
]
RuleId = Annotated[str, Field(min_length=1, max_length=64, pattern=r'^[\w.-]+$')]
Condition = Annotated[
    str, Field(max_length=1000, description='A question answered by yes or no, or a statement.')
]

Tool = Callable[..., Awaitable[Any]]


def named_errors(tool: Tool) -> Tool:
    """Returns the tool, whose errors tell their names."""

    @functools.wraps(tool)
    async def told(*arguments: Any, **named: Any) -> Any:
        try:
            return await tool(*arguments, **named)
        except PenguinError as error:
            name = type(error).__name__
            return CallToolResult(
                content=[TextContent(type='text', text=f'{name}: {error}')],
                structured_content={'error': name, 'message': str(error)},
                is_error=True,
            )

    return told


class RobotTools:
    """The tools over one robot."""

    def __init__(self, link: RobotLink) -> None:
        self._link = link

    # --- what changes nothing ---------------------------------------------------------------------

    @named_errors
    async def robot_status(self) -> Annotated[CallToolResult, StatusReply]:
        """Which cameras the robot has, whether pictures arrive and a model is loaded, and its last
        error.
        """
        async with self._link.robot() as robot:
            reply = status_reply(robot.name, await robot.status())
        cameras = ', '.join(f'{each.name} ({each.rate_hz:.1f} Hz)' for each in reply.cameras)
        return _result(reply, f'{reply.node} is {reply.state}; cameras: {cameras or "none"}.')

    @named_errors
    async def ask(
        self,
        question: Question,
        camera: Camera = '',
        last_seconds: Annotated[
            float, Field(ge=0, le=3600, description='Look at so many last seconds; 0: at now.')
        ] = 0.0,
        choices: Choices = [],  # noqa: B006  (a schema's default; never changed)
        conversation: Annotated[
            str,
            Field(max_length=256, description='"new" begins one; its id in a reply continues it.'),
        ] = '',
    ) -> Annotated[CallToolResult, AnswerReply]:
        """Asks the robot a question about what its cameras show now, or showed in the last seconds.
        The reply says which pictures the answer rests on and how old they are. The answer may be
        wrong; ask for choices to get probabilities.
        """
        async with self._link.robot() as robot:
            answer = await robot.ask(
                question,
                camera=camera,
                last_seconds=last_seconds,
                choices=choices,
                conversation=conversation,
            )
        return _answer(answer_reply(answer))

    @named_errors
    async def describe_now(
        self,
        camera: Camera = '',
        picture: Annotated[bool, Field(description='True: also return a picture.')] = False,
    ) -> Annotated[CallToolResult, AnswerReply]:
        """Has the robot describe in words what a camera shows now."""
        async with self._link.robot() as robot:
            answer = await robot.describe(camera)
            jpegs = [await robot.picture(answer.camera)] if picture else []
        return _answer(answer_reply(answer), jpegs)

    @named_errors
    async def recall(
        self,
        words: Annotated[
            str, Field(max_length=500, description='Words to find, as in a search engine: red box.')
        ] = '',
        meaning: Annotated[
            str, Field(max_length=500, description='What it should mean, in a sentence.')
        ] = '',
        camera: Camera = '',
        last_seconds: LastSeconds = 0.0,
        limit: Annotated[int, Field(ge=1, le=50)] = 10,
        pictures: Annotated[
            int, Field(ge=0, le=MAX_PICTURES, description='So many pictures of what was found.')
        ] = 0,
    ) -> Annotated[CallToolResult, RecallReply]:
        """Finds what the robot saw, was asked or noticed in the past, newest first unless words or
        a meaning are given. All that is given must hold.
        """
        async with self._link.robot() as robot:
            found = await robot.recall(
                words,
                meaning=meaning,
                camera=camera,
                last_seconds=last_seconds,
                limit=limit,
                wants_pictures=pictures > 0,
            )
        reply = RecallReply([memory_reply(memory) for memory in found])
        lines = [f'{each.id} {each.time} {each.camera}: {each.text}' for each in reply.memories]
        return _result(reply, '\n'.join(lines) or 'Nothing was found.', _pictures(found, pictures))

    @named_errors
    async def last_seen(
        self,
        thing: Annotated[str, Field(min_length=1, max_length=200)],
        camera: Camera = '',
        last_seconds: LastSeconds = 0.0,
    ) -> Annotated[CallToolResult, LastSeenReply]:
        """Tells when and where a thing was seen last; the newest pictures are looked at again, so
        that a caption that was wrong is refuted.
        """
        async with self._link.robot() as robot:
            seen = await robot.memory.last_seen(thing, camera=camera, last_seconds=last_seconds)
        reply = LastSeenReply(
            seen.memory is not None,
            seen.is_confirmed,
            seen.probability,
            None if seen.memory is None else memory_reply(seen.memory),
            [memory_reply(each) for each in seen.refuted],
        )
        if reply.memory is None:
            return _result(reply, f'{thing}: not seen.')
        sure = f'confirmed, {seen.probability:.2f}' if seen.is_confirmed else 'by its caption only'
        return _result(reply, f'{reply.memory.time} {reply.memory.text} ({sure})')

    @named_errors
    async def look_again(
        self,
        question: Question,
        memories: Annotated[
            list[int],
            Field(max_length=64, description='Ids of memories with pictures, from recall.'),
        ] = [],  # noqa: B006
        last_seconds: LastSeconds = 0.0,
        camera: Camera = '',
        choices: Choices = [],  # noqa: B006
    ) -> Annotated[CallToolResult, AnswerReply]:
        """Asks a question about pictures that the robot stored: those of memories, or of the last
        seconds.
        """
        async with self._link.robot() as robot:
            answer = await robot.memory.look_again(
                question, memories, choices=choices, camera=camera, last_seconds=last_seconds
            )
        return _answer(answer_reply(answer))

    @named_errors
    async def list_rules(self) -> Annotated[CallToolResult, RulesReply]:
        """Lists what the robot watches for by itself ("tell me when ..."), and how that goes."""
        async with self._link.robot() as robot:
            reply = rules_reply(await robot.rules.list())
        lines = [
            f'{rule.id}: {rule.condition} '
            + ', '.join(
                f'{each.camera} {each.state} {each.probability:.2f}' for each in rule.states
            )
            for rule in reply.rules
        ]
        return _result(reply, '\n'.join(lines) or 'No rules.')

    # --- what changes the robot -------------------------------------------------------------------

    @named_errors
    async def add_rule(
        self,
        id: RuleId,
        condition: Condition,
        severity: Literal['ok', 'warn', 'error'] = 'ok',
        cameras: Annotated[list[str], Field(max_length=16)] = [],  # noqa: B006
        period_seconds: Annotated[
            float, Field(ge=0, le=86400, description='From one look to the next; 0: the default.')
        ] = 0.0,
    ) -> Annotated[CallToolResult, RuleReply]:
        """Has the robot watch for something from now on, over restarts, or replaces the rule of the
        same id.
        """
        async with self._link.robot() as robot:
            rule = await robot.rules.add(
                id, condition, severity=severity, cameras=cameras, period=period_seconds
            )
        return _result(rule_reply(rule), f'{rule.id} is set: {rule.condition}')

    @named_errors
    async def remove_rule(self, id: RuleId) -> str:
        """Removes a rule for good."""
        async with self._link.robot() as robot:
            await robot.rules.remove(id)
        return f'{id} is removed'

    @named_errors
    async def test_rule(
        self,
        id: Annotated[str, Field(max_length=64, description='A rule of the robot.')] = '',
        condition: Condition = '',
        camera: Camera = '',
    ) -> Annotated[CallToolResult, EvaluationReply]:
        """Evaluates a rule of the robot, or a condition that is none yet, once on what a camera
        shows now.
        """
        settings = {'condition': condition} if condition else {}
        async with self._link.robot() as robot:
            told = await robot.rules.test(id, camera=camera, **settings)
        reply = EvaluationReply(
            told.probability, told.other_mass, told.reaches_begin, evidence_reply(told.evidence)
        )
        return _result(reply, f'{told.probability:.3f} {evidence_line(reply.evidence)}')


def _answer(reply: AnswerReply, jpegs: Sequence[bytes] = ()) -> CallToolResult:
    shares = ''.join(f'\n{share:.1%} {choice}' for choice, share in reply.probabilities.items())
    if shares:
        shares += f'\n{reply.cannot_tell:.1%} cannot tell'
    return _result(reply, f'{reply.text}{shares}\n{evidence_line(reply.evidence)}', jpegs)


def _pictures(memories: Sequence[Memory], most: int) -> list[bytes]:
    return [memory.picture for memory in memories if memory.picture is not None][:most]


def _result(reply: Any, text: str, jpegs: Sequence[bytes] = ()) -> CallToolResult:
    """Returns a result: the text, pictures, and the reply as its structured content."""
    pictures = [
        ImageContent(type='image', data=base64.b64encode(jpeg).decode(), mime_type='image/jpeg')
        for jpeg in jpegs
    ]
    return CallToolResult(
        content=[TextContent(type='text', text=text), *pictures], structured_content=asdict(reply)
    )
