# SPDX-License-Identifier: Apache-2.0
"""A replica that dies costs nobody an answer that nobody noticed: it is asked again, or the stream
ends with an error.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penguin_ros.cluster.replica import Asked, Entrance, Gateway, Head, Part
from penguin_ros.cluster.sessions import in_order, session_in
from penguin_ros.http_site.site import site_of
from penguin_ros.serving.chat_service import Reply, ServiceLimits
from penguin_ros.serving.keys import ApiKeys

KEY = 'a-key-for-tests-only'
BODY = b'{"messages": [], "penguin": {"stream": "robot1/front"}}'


class Lost(Exception):
    pass


class Hang(Exception):
    pass


class Replicas:
    """Each call takes the next script: parts to yield; an exception among them is raised."""

    def __init__(self, *scripts: list[Part | Exception]) -> None:
        self.scripts = list(scripts)
        self.asked: list[tuple[bytes, str, str]] = []

    async def call(self, body: bytes, client: str, session: str) -> AsyncIterator[Part]:
        self.asked.append((body, client, session))
        for part in self.scripts.pop(0):
            if isinstance(part, Hang):
                await asyncio.Event().wait()
            if isinstance(part, Exception):
                raise part
            yield part


class Full(Exception):
    pass


async def sent(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def endless() -> AsyncIterator[bytes]:
    for number in range(1000):
        assert number < 20, 'it reads on, though it has read more than it takes'
        yield b'x' * 100


async def unread() -> AsyncIterator[bytes]:
    raise AssertionError('it reads a body that it does not take')
    yield b''


HEADERS = {'authorization': f'Bearer {KEY}', 'content-type': 'application/json'}


def ask(
    replicas: Replicas, keys: tuple[str, ...] = (KEY,), longest_s: float = 60.0, **changes: Any
) -> tuple[Reply, bytes]:
    async def models() -> dict[str, Any]:
        return {'object': 'list', 'data': []}

    async def run() -> tuple[Reply, bytes]:
        site = site_of('127.0.0.1', 8360, ('fleet.example',))
        entrance = Entrance(ApiKeys(keys), site, ServiceLimits(body_bytes=1000), longest_s)
        gateway = Gateway(entrance, replicas.call, models, (Lost,), Full)
        facts = {
            'method': 'POST',
            'path': '/v1/chat/completions',
            'headers': HEADERS,
            'chunks': sent(BODY[:9], BODY[9:]),
            **changes,
        }
        reply = await gateway.reply(Asked(**facts))
        chunks = b''
        if reply.stream is not None:
            chunks = b''.join([chunk async for chunk in reply.stream])
        return reply, chunks

    return asyncio.run(run())


def test_a_replica_lost_before_its_first_word_is_replaced_by_another() -> None:
    replicas = Replicas([Lost()], [Lost()], [Head(200, {}, b'answer')])
    reply, _ = ask(replicas)
    assert (reply.status, reply.body) == (200, b'answer') and len(replicas.asked) == 3
    reply, _ = ask(Replicas([Lost()], [Lost()], [Lost()]))
    assert reply.status == 503 and json.loads(reply.body)['error']['code'] == 'not_ready'


def test_a_replica_lost_in_the_middle_ends_the_stream_with_an_error() -> None:
    script: list[Part | Exception] = [Head(200, {}, None), b'data: {"half": 1}\n\n', Lost()]
    reply, chunks = ask(Replicas(script))
    first, last = chunks.strip().split(b'\n\n')
    assert reply.status == 200 and first == b'data: {"half": 1}' and b'[DONE]' not in chunks
    assert json.loads(last.removeprefix(b'data: '))['error']['code'] == 'replica_lost'


def test_a_replica_that_hangs_is_not_waited_for_longer_than_an_answer_may_take() -> None:
    reply, _ = ask(Replicas([Hang()]), longest_s=0.1)
    assert reply.status == 504 and json.loads(reply.body)['error']['code'] == 'deadline_exceeded'
    script: list[Part | Exception] = [Head(200, {}, None), b'data: {"half": 1}\n\n', Hang()]
    _, chunks = ask(Replicas(script), longest_s=0.1)
    last = chunks.strip().split(b'\n\n')[-1].removeprefix(b'data: ')
    assert json.loads(last)['error']['code'] == 'deadline_exceeded' and b'[DONE]' not in chunks


def test_the_gateway_lets_in_who_has_a_key_and_passes_on_who_it_is() -> None:
    replicas = Replicas([Head(200, {}, b'{}')])
    assert ask(replicas)[0].status == 200
    [(body, client, session)] = replicas.asked
    assert body == BODY and client.startswith('client-') and session == 'robot1/front'
    assert ask(Replicas(), headers={})[0].status == 401
    assert ask(Replicas(), method='GET')[0].status == 405
    assert ask(Replicas(), path='/v1/other')[0].status == 404
    assert ask(Replicas(), path='/v1/models', method='GET')[0].status == 200
    assert ask(Replicas(), path='/health', method='GET', headers={})[0].status == 200


def test_a_body_that_is_too_large_is_not_read() -> None:
    said = {**HEADERS, 'content-length': '1001'}
    assert ask(Replicas(), headers=said, chunks=unread())[0].status == 413
    assert ask(Replicas(), chunks=endless())[0].status == 413
    assert ask(Replicas(), headers={}, chunks=unread())[0].status == 401


def test_one_request_too_many_is_told_to_come_again() -> None:
    reply, _ = ask(Replicas([Full()]))
    assert reply.status == 429 and int(reply.headers['Retry-After']) > 0
    assert json.loads(reply.body)['error']['code'] == 'queue_full'


@pytest.mark.parametrize(
    ('headers', 'status'),
    [
        ({'host': 'localhost:8360'}, 200),
        ({'host': 'fleet.example'}, 200),
        ({'host': 'elsewhere.example'}, 421),
        ({}, 421),
        ({'host': 'localhost:8360', 'origin': 'https://elsewhere.example'}, 403),
        ({'host': 'fleet.example', 'origin': 'https://fleet.example'}, 200),
    ],
)
def test_without_keys_pages_of_other_sites_are_kept_out(
    headers: dict[str, str], status: int
) -> None:
    said = {'content-type': 'application/json', **headers}
    assert ask(Replicas([Head(200, {}, b'{}')]), keys=(), headers=said)[0].status == status


def test_sessions_are_found_and_stay_when_another_replica_goes() -> None:
    assert session_in(b'{"prompt_cache_key": "talk"}') == 'talk' and session_in(b'[]') == ''
    assert in_order(['a'], session_in(b'{"user": "half \\ud800"}')) == [0]
    replicas = ['a', 'b', 'c', 'd']
    firsts = {str(n): replicas[in_order(replicas, str(n))[0]] for n in range(400)}
    assert min(Counter(firsts.values()).values()) > 60  # spread over all
    left = ['a', 'b', 'd']
    for session, first in firsts.items():
        if first != 'c':
            assert left[in_order(left, session)[0]] == first
