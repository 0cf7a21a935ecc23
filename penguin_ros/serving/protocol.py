# SPDX-License-Identifier: Apache-2.0
"""The body of a chat completion as values. What is not understood is refused, not ignored, where it
would change the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penguin_ros.request import Priority, SamplingChange
from penguin_ros.serving.content import Message, Part, parts_of
from penguin_ros.serving.fields import Fields
from penguin_ros.serving.refusals import bad_request

MAX_MESSAGES = 1024
MAX_STOP_TEXTS, MAX_STOP_CHARACTERS = 16, 256
MAX_TOP_LOGPROBS = 20
MOST_TOKENS = 2**31 - 1
ROLES = {'system': 'system', 'developer': 'system', 'user': 'user', 'assistant': 'assistant'}

MEANINGLESS = frozenset(
    (
        'user metadata store service_tier safety_identifier prompt_cache_retention'
        ' parallel_tool_calls mm_processor_kwargs verbosity'
    ).split()
)
"""Fields that clients send and that change nothing here."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    'n': (1,),
    'frequency_penalty': (0, 0.0),
    'presence_penalty': (0, 0.0),
    'logit_bias': ({},),
    'tools': ([],),
    'tool_choice': ('none', 'auto'),
    'functions': ([],),
    'function_call': ('none', 'auto'),
    'modalities': (['text'],),
    'reasoning_effort': ('none',),
}
"""Fields that may only say what is so anyway."""

UNDERSTOOD = frozenset(
    (
        'model messages max_tokens max_completion_tokens temperature top_p seed stop logprobs'
        ' top_logprobs response_format stream stream_options penguin media_io_kwargs'
        ' prompt_cache_key'
    ).split()
)


@dataclass(frozen=True, eq=False)
class ChatRequest:
    """What a client asks for; see Request for the fields that go there. `stream_name`: which
    requests belong together.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int = 0
    sampling: SamplingChange = SamplingChange()
    wants_logprobs: bool = False
    top_logprobs: int = 0
    json_schema: str = ''
    choices: tuple[str, ...] = ()
    is_streamed: bool = False
    has_usage_chunk: bool = False
    request_id: str = ''
    deadline_s: float | None = None
    priority: Priority = Priority.QUESTION
    stream_name: str = ''


def chat_request(content: Any) -> ChatRequest:
    """Reads a body; raises the Refusal that names what is wrong."""
    body = Fields(content)
    _refuse_foreign(content)
    ours = body.object('penguin')
    top_logprobs = body.integer('top_logprobs', 0, MAX_TOP_LOGPROBS) or 0
    wants_logprobs = body.flag('logprobs')
    if top_logprobs and not wants_logprobs:
        raise bad_request('top_logprobs needs logprobs', 'top_logprobs')
    caption = ours.text('priority', 'question')
    if caption not in ('question', 'caption'):
        raise bad_request('penguin.priority takes question or caption', 'penguin.priority')
    return ChatRequest(
        model=body.text('model'),
        messages=_messages(body),
        max_tokens=_max_tokens(body),
        sampling=_sampling(body),
        wants_logprobs=wants_logprobs,
        top_logprobs=top_logprobs,
        json_schema=_schema(body),
        choices=ours.texts('choices', 64, 256),
        is_streamed=body.flag('stream'),
        has_usage_chunk=body.object('stream_options').flag('include_usage'),
        request_id=ours.text('request_id', longest=256),
        deadline_s=ours.number('deadline_s', 0.001, 86400.0),
        priority=Priority.CAPTION if caption == 'caption' else Priority.QUESTION,
        stream_name=ours.text('stream', body.text('prompt_cache_key', longest=256), 256),
    )


def _refuse_foreign(content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        if name in UNDERSTOOD or name in MEANINGLESS or value is None:
            continue
        if name not in NEUTRAL:
            raise bad_request(f'{name} is not known here', str(name), 'unknown_parameter')
        if value not in NEUTRAL[name]:
            raise bad_request(
                f'{name} is not supported here: leave it out', str(name), 'unsupported_parameter'
            )


def _messages(body: Fields) -> tuple[Message, ...]:
    given = body.items('messages', MAX_MESSAGES)
    if not given:
        raise bad_request('messages is empty', 'messages')
    media = body.object('media_io_kwargs')
    messages = tuple(
        _message(Fields(each, f'messages[{index}]'), media) for index, each in enumerate(given)
    )
    if messages[-1].role != 'user':
        raise bad_request("the last message is not the user's", 'messages')
    return messages


def _message(message: Fields, media: Fields) -> Message:
    role = message.text('role')
    if role not in ROLES:
        name = message.name('role')
        raise bad_request(f'{name} takes {", ".join(ROLES)}', name)
    place = message.name('content')
    parts = parts_of(message.raw('content'), place, media)
    if role != 'user' and not all(isinstance(part, str) for part in parts):
        raise bad_request(f'{place} shows pictures, which only a user can', place)
    return Message(ROLES[role], _in_order(parts))


def _in_order(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Joins texts that stand side by side, as the lines of one text."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] = f'{joined[-1]}\n{part}'
        else:
            joined.append(part)
    return tuple(joined)


def _max_tokens(body: Fields) -> int:
    names = [name for name in ('max_completion_tokens', 'max_tokens') if body.has(name)]
    return (body.integer(names[0], 1, MOST_TOKENS) or 0) if names else 0


def _sampling(body: Fields) -> SamplingChange:
    return SamplingChange(
        temperature=body.number('temperature', 0.0, 2.0),
        top_p=body.number('top_p', 1e-6, 1.0),
        seed=body.integer('seed', -(2**63), 2**63 - 1),
        stop=tuple(filter(None, body.texts('stop', MAX_STOP_TEXTS, MAX_STOP_CHARACTERS))),
    )


def _schema(body: Fields) -> str:
    """Returns the JSON schema of the answer, '' for plain text."""
    wanted = body.object('response_format')
    kind = wanted.text('type', 'text')
    if kind == 'text':
        return ''
    if kind == 'json_object':
        return '{"type": "object"}'
    if kind != 'json_schema':
        name = wanted.name('type')
        raise bad_request(f'{name} takes text, json_object or json_schema', name)
    schema = wanted.object('json_schema').raw('schema')
    if not isinstance(schema, Mapping):
        name = 'response_format.json_schema.schema'
        raise bad_request(f'{name} is no JSON object', name)
    return json.dumps(schema)
