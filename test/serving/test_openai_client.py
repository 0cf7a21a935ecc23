# SPDX-License-Identifier: Apache-2.0
"""The official client of the protocol, which nobody here wrote, understands every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from support.live_pipeline import TEXT
from support.served_chat import KEY, ServedChat, image_part, picture, text_part, wait_until

MESSAGES: Any = [
    {'role': 'developer', 'content': 'Be brief.'},
    {'role': 'user', 'content': [image_part(picture(90)), text_part('What is there?')]},
]


def openai() -> Any:
    """Returns the client's package, which takes as long to import as a test here to run: only
    those that use it wait for it.
    """
    return pytest.importorskip('openai', reason='the package openai is not installed')


@pytest.fixture(scope='module')
def served(tiny_checkpoint: Path) -> Iterator[ServedChat]:
    with ServedChat(tiny_checkpoint, keys=(KEY,), text=TEXT) as served:
        yield served


@pytest.fixture(scope='module')
def client(served: ServedChat) -> Iterator[Any]:
    with openai().OpenAI(base_url=served.url, api_key=KEY, max_retries=0) as client:
        yield client


def test_an_answer_with_its_usage_and_evidence(served: ServedChat, client: Any) -> None:
    [model] = client.models.list().data
    answer = client.chat.completions.create(model=model.id, messages=MESSAGES)
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == 'stop'
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.penguin['evidence']['stats']['visual_tokens'] > 0
    again = client.chat.completions.create(model=model.id, messages=MESSAGES)
    assert again.usage.prompt_tokens_details.cached_tokens >= answer.usage.prompt_tokens - 2


def test_a_stream_with_log_probabilities_and_usage(served: ServedChat, client: Any) -> None:
    pieces, tokens, usage, end = [], [], None, None
    for chunk in client.chat.completions.create(
        model=served.model,
        messages=MESSAGES,
        stream=True,
        logprobs=True,
        top_logprobs=1,
        stream_options={'include_usage': True},
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or '')
            tokens += choice.logprobs.content if choice.logprobs else []
            end = choice.finish_reason or end
    assert ''.join(pieces) == TEXT and len(pieces) > 3 and end == 'stop'
    assert usage is not None and len(tokens) == usage.completion_tokens
    assert b''.join(bytes(each.bytes) for each in tokens).decode().strip() == TEXT


def test_the_accumulating_stream_of_the_client(served: ServedChat, client: Any) -> None:
    with client.chat.completions.stream(model=served.model, messages=MESSAGES) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert 'content.delta' in kinds and final.choices[0].message.content == TEXT


def test_many_at_once_with_the_asynchronous_client(served: ServedChat) -> None:
    async def ask() -> list[str]:
        async with openai().AsyncOpenAI(base_url=served.url, api_key=KEY, max_retries=0) as client:

            async def text(number: int) -> str:
                if number % 2:
                    answer = await client.chat.completions.create(
                        model=served.model, messages=MESSAGES
                    )
                    return str(answer.choices[0].message.content)
                stream = await client.chat.completions.create(
                    model=served.model, messages=MESSAGES, stream=True
                )
                return ''.join([chunk.choices[0].delta.content or '' async for chunk in stream])

            return await asyncio.gather(*map(text, range(6)))

    assert asyncio.run(ask()) == [TEXT] * 6


def test_a_stream_that_is_closed_ends_its_request(served: ServedChat, client: Any) -> None:
    counts = served.live.pipeline.status
    failed = counts().counts.questions_failed
    served.live.gate.close('decode')
    asked = [{'role': 'user', 'content': 'What will you never finish?'}]
    stream = client.chat.completions.create(model=served.model, messages=asked, stream=True)
    next(iter(stream))
    served.live.gate.wait_arrived()
    stream.close()
    wait_until(lambda: not served.service.metrics.in_flight, 'the request is still under way')
    served.live.gate.open()
    wait_until(lambda: not counts().counts.questions_running, 'the question still runs')
    assert counts().counts.questions_failed == failed + 1


def test_errors_are_those_of_the_client(served: ServedChat, client: Any) -> None:
    def refused(kind: Any, of: Any = client, **fields: Any) -> Any:
        with pytest.raises(kind) as caught:
            of.chat.completions.create(**{'model': served.model, 'messages': MESSAGES, **fields})
        return caught.value

    assert refused(openai().NotFoundError, model='other').code == 'model_not_found'
    assert refused(openai().BadRequestError, temperature=5).param == 'temperature'
    named = [{'role': 'user', 'content': [image_part(None, 'nobody-sent-it')]}]
    error = refused(openai().BadRequestError, messages=named)
    assert error.code == 'unknown_uuid' and error.body['unknown_uuids'] == ['nobody-sent-it']
    stranger = client.with_options(api_key='another-key')
    assert refused(openai().AuthenticationError, stranger).code == 'invalid_api_key'
    served.service.metrics.in_flight += 1000
    assert refused(openai().RateLimitError).response.headers['Retry-After'] == '1'
    served.service.metrics.in_flight -= 1000


def test_an_engine_that_fails_in_the_middle_ends_the_stream_with_its_error(
    served: ServedChat, client: Any
) -> None:
    steps = iter(range(100))

    def fail(step: str) -> None:
        if step == 'decode' and next(steps) == 2:
            raise ValueError('odd')

    served.live.in_step = fail
    stream = client.chat.completions.create(
        model=served.model, messages=[{'role': 'user', 'content': 'Once more?'}], stream=True
    )
    text = ''
    with pytest.raises(openai().APIError) as caught:
        for chunk in stream:
            text += chunk.choices[0].delta.content or ''
    served.live.in_step = lambda step: None
    assert caught.value.code == 'engine_failed' and text and text != TEXT


def test_an_answer_as_an_object_of_the_program(served: ServedChat, client: Any) -> None:
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    pydantic = pytest.importorskip('pydantic')
    door = pydantic.create_model('Door', is_open=(bool, ...), colour=(Literal['red', 'blue'], ...))
    answer = client.chat.completions.parse(
        model=served.model, messages=MESSAGES, response_format=door, max_tokens=40
    )
    parsed = answer.choices[0].message.parsed
    assert parsed.colour in ('red', 'blue') and isinstance(parsed.is_open, bool)
