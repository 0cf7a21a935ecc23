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

from penguin_ros.cluster.replica import Asked, Gateway, Head, Part
from penguin_ros.cluster.sessions import in_order, session_in
from penguin_ros.serving.chat_service import Reply, ServiceLimits
from penguin_ros.serving.keys import ApiKeys

KEY = 'a-key-for-tests-only'
BODY = b'{"messages": [], "penguin": {"stream": "robot1/front"}}'


class Lost(Exception):
    pass


class Replicas:
    """Each call takes the next script: parts to yield; an exception among them is raised."""

    def __init__(self, *scripts: list[Part | Exception]) -> None:
        self.scripts = list(scripts)
        self.asked: list[tuple[bytes, str, str]] = []

    async def call(self, body: bytes, client: str, session: str) -> AsyncIterator[Part]:
        self.asked.append((body, client, session))
        for part in self.scripts.pop(0):
            if isinstance(part, Exception):
                raise part
            yield part


def ask(replicas: Replicas, **changes: Any) -> tuple[Reply, bytes]:
    async def models() -> dict[str, Any]:
        return {'object': 'list', 'data': []}

    async def run() -> tuple[Reply, bytes]:
        limits = ServiceLimits(body_bytes=1000)
        gateway = Gateway(ApiKeys([KEY]), limits, replicas.call, models, (Lost,))
        headers = {'authorization': f'Bearer {KEY}', 'content-type': 'application/json'}
        facts = {'method': 'POST', 'path': '/v1/chat/completions', 'body': BODY, **changes}
        reply = await gateway.reply(Asked(**{'headers': headers, **facts}))
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


def test_the_gateway_lets_in_who_has_a_key_and_passes_on_who_it_is() -> None:
    replicas = Replicas([Head(200, {}, b'{}')])
    assert ask(replicas)[0].status == 200
    [(body, client, session)] = replicas.asked
    assert body == BODY and client.startswith('client-') and session == 'robot1/front'
    assert ask(Replicas(), headers={})[0].status == 401
    assert ask(Replicas(), body=b'x' * 1001)[0].status == 413
    assert ask(Replicas(), method='GET')[0].status == 405
    assert ask(Replicas(), path='/v1/other')[0].status == 404
    assert ask(Replicas(), path='/v1/models', method='GET')[0].status == 200
    assert ask(Replicas(), path='/health', method='GET', headers={})[0].status == 200


def test_sessions_are_found_and_stay_when_another_replica_goes() -> None:
    assert session_in(b'{"prompt_cache_key": "talk"}') == 'talk' and session_in(b'[]') == ''
    replicas = ['a', 'b', 'c', 'd']
    firsts = {str(n): replicas[in_order(replicas, str(n))[0]] for n in range(400)}
    assert min(Counter(firsts.values()).values()) > 60  # spread over all
    left = ['a', 'b', 'd']
    for session, first in firsts.items():
        if first != 'c':
            assert left[in_order(left, session)[0]] == first
