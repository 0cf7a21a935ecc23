# SPDX-License-Identifier: Apache-2.0
"""HTTP with one endpoint: checks of its health, what it says of itself, and one attempt to have a
question answered. Everything runs on the thread of the loop.

Every wait has a limit. A connection whose reply was not read to its end is closed, which is how a
server learns that nobody wants the rest.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from penguin_ros.remote.connection import (
    UnknownPictures,
    answered,
    content,
    status_failure,
    trust_in,
    within,
)
from penguin_ros.remote.dialects import (
    IMAGES,
    PENGUIN,
    VLLM_VIDEO,
    GetPicture,
    ServerFacts,
    body_of,
    has_uuids,
)
from penguin_ros.remote.endpoint import Endpoint
from penguin_ros.remote.event_stream import EventStream
from penguin_ros.remote.failure import OTHER_MODEL, REFUSED, RemoteFailed
from penguin_ros.remote.frame_pictures import Picture
from penguin_ros.remote.probe import probe_question
from penguin_ros.remote.question import RemoteFrame, RemoteQuestion
from penguin_ros.remote.reply import Reply, is_model, parsed_object

if TYPE_CHECKING:
    import aiohttp

COMPLETIONS = '/v1/chat/completions'
WITHOUT_LIST = (404, 405, 500, 501)
"""Statuses of servers that have no list of models, where one is configured: they may answer."""
VLLM = 'vllm'
"""What vLLM says in `owned_by`."""
KEPT_UUIDS = 4096
END_S = 0.5
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Waits:
    """How long is waited, as RemoteConfig says, in seconds."""

    connect_s: float = 2.0
    idle_s: float = 5.0


@dataclass(frozen=True, eq=False)
class Asking:
    """A question on its way to one server: what encodes its frames, on `encoder`, and what gets the
    text as it grows.
    """

    question: RemoteQuestion
    picture: GetPicture
    encoder: Executor
    waits: Waits
    on_piece: Callable[[str], None]

    def show(self, piece: str) -> None:
        """Passes on what is new of the text."""
        if piece:
            self.on_piece(piece)


class EndpointClient:
    """The client of one endpoint. `steady_ns`: the clock of deadlines."""

    def __init__(self, endpoint: Endpoint, steady_ns: Callable[[], int]) -> None:
        self.endpoint = endpoint
        self.facts: ServerFacts | None = None
        self.bytes_sent = 0
        self.pictures_sent = 0
        self.pictures_named = 0
        self._steady_ns = steady_ns
        self._session: aiohttp.ClientSession | None = None
        self._kept_uuids: OrderedDict[str, None] = OrderedDict()

    async def close(self) -> None:
        """Closes all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def forget_pictures(self) -> None:
        """Has all pictures sent again: the server may have been started anew."""
        self._kept_uuids.clear()

    async def check_health(self, waits: Waits) -> None:
        """Raises RemoteFailed when the server does not say that it is well, and has its model."""
        speaks_penguin = self.facts is not None and self.facts.dialect == PENGUIN
        async with self._get('/ready' if speaks_penguin else '/health', waits) as response:
            if response.status == 404:  # not every server has this
                return
            if response.status >= 400:
                raise await status_failure(response, waits.idle_s)

    async def learn(self, waits: Waits) -> ServerFacts:
        """Asks the server for its model and its dialect, where these are not configured."""
        async with self._get('/v1/models', waits) as response:
            listed: Any = None
            if response.status < 400:
                listed = parsed_object(await content(response, waits.idle_s)).get('data')
            elif not self.endpoint.model or response.status not in WITHOUT_LIST:
                raise await status_failure(response, waits.idle_s)
        models = [each for each in listed or () if isinstance(each, dict) and each.get('id')]
        model = _chosen_model(models, self.endpoint.model)
        dialect = self.endpoint.dialect or _dialect_of(model)
        name = self.endpoint.model or str(model.get('id', ''))
        if dialect == VLLM_VIDEO and not self.endpoint.dialect:
            dialect = await self._probed(name, waits)
        is_known = dialect != IMAGES or model.get('owned_by') == VLLM
        self.facts = ServerFacts(name, dialect, True if is_known else None)
        return self.facts

    async def answer(self, asking: Asking) -> Reply:
        """Has a question answered. Pictures that the server does not keep any more are sent again,
        once; a question that is refused by a server that may only mind being asked for counts is
        sent again without that, once.
        """
        facts = self.facts
        if facts is None:
            left_s = self._left_s(asking.question.first_ns)
            facts = await within(left_s, self.learn(asking.waits), 'the server to name its model')
        if asking.question.is_typed and facts.dialect != PENGUIN:
            raise RemoteFailed(REFUSED, 'it cannot keep to choices or to a schema')
        kept = frozenset(self._kept_uuids) if has_uuids(facts.dialect) else frozenset()
        try:
            return await self._attempt(asking, facts, kept)
        except UnknownPictures:
            self.forget_pictures()
            try:
                return await self._attempt(asking, facts, frozenset())
            except UnknownPictures:
                raise RemoteFailed(REFUSED, 'it misses pictures that were sent to it') from None
        except RemoteFailed as failed:
            if failed.cause != REFUSED or facts.takes_usage is not None:
                raise
            return await self._attempt(asking, replace(facts, takes_usage=False), kept)

    async def _attempt(self, asking: Asking, facts: ServerFacts, kept: frozenset[str]) -> Reply:
        left_s = self._left_s(asking.question.deadline_ns)
        loop = asyncio.get_running_loop()
        content, uuids = await loop.run_in_executor(
            asking.encoder, _encoded, asking, facts, kept, left_s
        )
        named = sum(uuid in kept for uuid in uuids)
        self.bytes_sent += len(content)
        self.pictures_named += named
        self.pictures_sent += len(uuids) - named
        reply = Reply(facts.model)
        async with self._post(content, asking.question, asking.waits) as response:
            if response.status >= 400:
                raise await status_failure(response, asking.waits.idle_s)
            self._note_kept(uuids, facts.dialect)
            self._note_usage_taken(facts)
            await self._read(response, reply, asking)
        reply.check_whole(needs_done=facts.dialect == PENGUIN)
        return reply

    async def _read(self, response: aiohttp.ClientResponse, reply: Reply, asking: Asking) -> None:
        question = asking.question
        if response.content_type == 'application/json':  # a server that does not stream
            whole = await content(response, self._left_s(question.first_ns))
            asking.show(reply.chunk(parsed_object(whole), 'message'))
            reply.is_done = True
            return
        events = EventStream()
        while not reply.is_done:
            first_s = self._left_s(question.first_ns)
            limit_s = asking.waits.idle_s if reply.text else first_s
            limit_s = min(limit_s, self._left_s(question.deadline_ns))
            try:
                chunk = await within(limit_s, response.content.readany(), 'the next piece')
            except RemoteFailed:
                if reply.has_ended:  # the text is whole, only what follows it is missing
                    return
                raise
            if not chunk:
                return
            for event in events.feed(chunk):
                asking.show(reply.event(event))
        with suppress(RemoteFailed):  # what ends the body; the connection can then be used again
            await within(END_S, response.content.readany(), 'the end of the reply')

    def _note_usage_taken(self, facts: ServerFacts) -> None:
        """Remembers what a server took that was asked as `facts` say."""
        if self.facts is not None and self.facts.takes_usage is None:
            self.facts = replace(self.facts, takes_usage=facts.takes_usage is not False)

    def _note_kept(self, uuids: list[str], dialect: str) -> None:
        if not has_uuids(dialect):
            return
        for uuid in uuids:
            self._kept_uuids[uuid] = None
            self._kept_uuids.move_to_end(uuid)
        while len(self._kept_uuids) > KEPT_UUIDS:
            self._kept_uuids.popitem(last=False)

    async def _probed(self, model: str, waits: Waits) -> str:
        """Asks for one token about a video of two small frames: a model without video refuses."""
        question, picture = probe_question(self._steady_ns())
        body = body_of(question, ServerFacts(model, VLLM_VIDEO), picture)
        async with self._post(json.dumps(body).encode(), question, waits) as response:
            if response.status in (400, 404, 415, 422):
                return IMAGES
            if response.status >= 400:
                raise await status_failure(response, waits.idle_s)
            return VLLM_VIDEO

    def _left_s(self, until_ns: int) -> float:
        return max(0.0, (until_ns - self._steady_ns()) / NANOSECONDS)

    @asynccontextmanager
    async def _get(self, path: str, waits: Waits) -> AsyncIterator[aiohttp.ClientResponse]:
        session = self._opened(waits)
        url = self.endpoint.path(path)
        limit_s = waits.connect_s + waits.idle_s
        request = session.get(url, headers=self._headers(), allow_redirects=False)
        async with answered(request, limit_s) as response:
            yield response

    @asynccontextmanager
    async def _post(
        self, content: bytes, question: RemoteQuestion, waits: Waits
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session = self._opened(waits)
        headers = {**self._headers(), 'Content-Type': 'application/json'}
        if question.stream:
            headers['X-Session-Id'] = question.stream
        request = session.post(
            self.endpoint.path(COMPLETIONS), data=content, headers=headers, allow_redirects=False
        )
        async with answered(request, self._left_s(question.first_ns)) as response:
            yield response

    def _headers(self) -> dict[str, str]:
        key = self.endpoint.key
        return {'Authorization': f'Bearer {key}'} if key else {}

    def _opened(self, waits: Waits) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            context: ssl.SSLContext | bool = True
            if self.endpoint.ca_file:
                context = trust_in(self.endpoint.ca_file)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=waits.connect_s)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=32, keepalive_timeout=15.0),
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


def _encoded(
    asking: Asking, facts: ServerFacts, kept: frozenset[str], left_s: float
) -> tuple[bytes, list[str]]:
    """Returns the body of a question, and the uuids of its pictures; on the encoder's thread."""
    uuids: list[str] = []

    def picture(frame: RemoteFrame) -> Picture:
        made = asking.picture(frame)
        uuids.append(made.uuid)
        return made

    body = body_of(asking.question, facts, picture, kept, left_s)
    return json.dumps(body, separators=(',', ':')).encode(), uuids


def _chosen_model(models: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    if not wanted:
        return models[0] if models else {}
    found = next((each for each in models if is_model(str(each['id']), wanted)), None)
    if found is None and models:
        names = ', '.join(str(each['id'])[:60] for each in models[:4])
        raise RemoteFailed(OTHER_MODEL, f'{wanted!r} is wanted, the server has {names}')
    return found or {}


def _dialect_of(model: dict[str, Any]) -> str:
    penguin = model.get('penguin')
    if isinstance(penguin, dict) and penguin.get('dialect') == 1:
        return PENGUIN
    return VLLM_VIDEO if model.get('owned_by') == VLLM else IMAGES
