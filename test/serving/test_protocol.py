# SPDX-License-Identifier: Apache-2.0
"""What a request says wrongly is refused in the protocol's form, before any work on it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from support.served_chat import (
    KEY,
    ServedChat,
    base64_of,
    picture,
    text_part,
)

from penguin_ros.serving.chat_service import ServiceLimits

HELLO = [{'role': 'user', 'content': 'Hello'}]
CLIP = {'type': 'penguin_clip'}
FRAME = {'stamp_ns': 1, 'image': base64_of(picture(1))}


@pytest.fixture(scope='module')
def served(tiny_checkpoint: Path) -> Iterator[ServedChat]:
    limits = ServiceLimits(body_bytes=100_000)
    with ServedChat(tiny_checkpoint, keys=(KEY,), limits=limits) as served:
        yield served


def refusal(served: ServedChat, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    status, reply = served.post(body, **{'Authorization': f'Bearer {KEY}', **headers})
    error = reply['error']
    assert set(error) >= {'message', 'type', 'param', 'code'} and error['message']
    return status, error


def shown(*parts: Any) -> dict[str, Any]:
    return {'messages': [{'role': 'user', 'content': list(parts)}]}


@pytest.mark.parametrize(
    ('fields', 'param'),
    [
        ({'n': 2}, 'n'),
        ({'temperature': 3}, 'temperature'),
        ({'temperature': float('nan')}, 'temperature'),
        ({'temperature': True}, 'temperature'),
        ({'temperature': 10**400}, 'temperature'),
        ({'top_logprobs': 2}, 'top_logprobs'),
        ({'logprobs': True, 'top_logprobs': 21}, 'top_logprobs'),
        ({'max_tokens': 0}, 'max_tokens'),
        ({'max_completion_tokens': '5'}, 'max_completion_tokens'),
        ({'stop': ['a'] * 17}, 'stop'),
        ({'stop': 5}, 'stop'),
        ({'tools': [{'type': 'function'}]}, 'tools'),
        ({'frequency_penalty': 0.5}, 'frequency_penalty'),
        ({'top_k': 5}, 'top_k'),
        ({'response_format': {'type': 'xml'}}, 'response_format.type'),
        ({'response_format': {'type': 'json_schema'}}, 'response_format.json_schema.schema'),
        ({'penguin': {'deadline_s': -1}}, 'penguin.deadline_s'),
        ({'penguin': {'priority': 'high'}}, 'penguin.priority'),
        ({'messages': []}, 'messages'),
        ({'messages': 'Hello'}, 'messages'),
        ({'messages': [{'role': 'robot', 'content': 'x'}]}, 'messages[0].role'),
        ({'messages': [*HELLO, {'role': 'assistant', 'content': 'Hi'}]}, 'messages'),
        ({'messages': [{'role': 'user', 'content': 5}]}, 'messages[0].content'),
        (shown({'type': 'input_audio'}), 'messages[0].content[0].type'),
        (shown({'type': 'image_url'}), 'messages[0].content[0].image_url'),
        (
            shown({**CLIP, 'penguin_clip': {'frames': []}}),
            'messages[0].content[0].penguin_clip.frames',
        ),
        (
            shown({**CLIP, 'penguin_clip': {'frames': [FRAME, FRAME]}}),
            'messages[0].content[0].penguin_clip.frames',
        ),
        (
            shown(
                {**CLIP, 'penguin_clip': {'frames': [{**FRAME, 'type': 'key', 'size': [0, 28]}]}}
            ),
            'messages[0].content[0].penguin_clip.frames[0].size',
        ),
        (
            shown({**CLIP, 'penguin_clip': {'frames': [{**FRAME, 'stamp_ns': 1.5}]}}),
            'messages[0].content[0].penguin_clip.frames[0].stamp_ns',
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_wrong_field_is_named(served: ServedChat, fields: dict[str, Any], param: str) -> None:
    status, error = refusal(served, {'model': served.model, 'messages': HELLO, **fields})
    assert (status, error['type'], error['param']) == (400, 'invalid_request_error', param)


@pytest.mark.parametrize(
    ('url', 'code'),
    [
        ('https://example.org/cat.jpg', 'unsupported_url'),
        ('file:///etc/passwd', 'unsupported_url'),
        ('data:image/png,abc', 'unsupported_url'),
        ('data:image/png;base64,a$b', 'invalid_base64'),
        ('data:image/png;base64,AAAA', 'invalid_image'),
        ('data:image/png;base64,' + base64_of(picture(1))[:60], 'invalid_image'),
    ],
)
def test_a_picture_is_never_fetched_and_a_broken_one_is_named(
    served: ServedChat, url: str, code: str
) -> None:
    part = {'type': 'image_url', 'image_url': {'url': url}}
    status, error = refusal(served, {'model': served.model, **shown(part, text_part('What?'))})
    assert (status, error['code']) == (400, code) and 'content[0]' in error['param']


def test_bodies_that_are_no_json_or_too_large_are_refused(served: ServedChat) -> None:
    assert refusal(served, b'{"model": ')[1]['code'] == 'invalid_json'
    assert refusal(served, b'[' * 50_000)[1]['code'] == 'invalid_json'
    assert refusal(served, b'[]')[0] == 400
    status, error = refusal(served, b' ' * 100_001)
    assert (status, error['code']) == (413, 'request_too_large')
    status, error = refusal(served, b'{}', Content_Type='text/plain')
    assert status == 415


def test_a_picture_bomb_is_refused_by_its_header(served: ServedChat) -> None:
    stream = io.BytesIO()
    PIL.Image.new('1', (20_000, 5_000)).save(stream, 'PNG')  # 100 million pixels
    url = f'data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}'
    part = {'type': 'image_url', 'image_url': url}
    status, error = refusal(served, {'model': served.model, **shown(part)})
    assert (status, error['code']) == (400, 'invalid_image') and 'pixels' in error['message']


def test_without_the_key_nothing_is_told(served: ServedChat) -> None:
    for headers in ({}, {'Authorization': 'Bearer wrong'}, {'Authorization': f'Basic {KEY}'}):
        for status, reply in (
            served.post({'messages': HELLO}, **headers),
            served.get('/v1/models', **headers),
            served.get('/metrics', **headers),
        ):
            assert (status, reply['error']['code']) == (401, 'invalid_api_key')
    assert served.get('/health') == (200, {'status': 'ok'})
    assert served.get('/v1/models', Authorization=f'Bearer {KEY}')[0] == 200


def test_another_model_and_another_address_are_not_there(served: ServedChat) -> None:
    status, error = refusal(served, {'model': 'gpt-5', 'messages': HELLO})
    assert (status, error['code']) == (404, 'model_not_found')
    status, reply = served.get('/v1/embeddings')
    assert (status, reply['error']['code']) == (404, 'unknown_url')


def test_without_keys_no_page_of_another_site_may_ask(tiny_checkpoint: Path) -> None:
    with ServedChat(tiny_checkpoint) as served:
        body = {'model': served.model, 'messages': HELLO, 'max_tokens': 1}
        assert served.post(body, Origin='http://evil.example')[0] == 403
        assert served.post(body, Host='evil.example')[0] == 421
        assert served.post(body)[0] == 200
