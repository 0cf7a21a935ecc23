# SPDX-License-Identifier: Apache-2.0
"""The Python client for asyncio: the same calls as coroutines, each waiting on a thread."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from penguin_ros.ros.client.ask_options import AskOptions
from penguin_ros.ros.client.penguin import Conversation, Penguin
from penguin_ros.ros.client.results import Answer, Caption, Evaluation, Event, Memory, WatchedRule
from penguin_ros.ros.client.robot_memory import LastSeen
from penguin_ros.ros.client.streams import AnswerStream, MessageStream

if TYPE_CHECKING:
    from typing_extensions import Unpack

MAX_CALLS = 32
"""So many calls wait at a time; more wait for their turn."""
GIVE_UP_S = 6.0

Result = TypeVar('Result')
Item = TypeVar('Item')
Run = Callable[[Callable[[], Any]], Awaitable[Any]]


class AsyncPenguin:
    """A Penguin whose calls are coroutines; use it by `async with AsyncPenguin() as robot`.

    The arguments are those of Penguin. A call whose task is cancelled gives its question up.
    """

    def __init__(self, node: str = '', **options: Any) -> None:
        self._make = partial(Penguin, node, **options)
        self._pool = ThreadPoolExecutor(MAX_CALLS, thread_name_prefix='penguin_call')

    async def __aenter__(self) -> AsyncPenguin:
        making = self._pool.submit(self._make)
        try:
            self._penguin = await asyncio.shield(asyncio.wrap_future(making))
        except asyncio.CancelledError:
            making.add_done_callback(_leave)  # the thread goes on, and joins the graph
            raise
        self.name = self._penguin.name
        self.rules = AsyncRules(self._penguin, self._run)
        self.memory = AsyncMemory(self._penguin, self._run)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Leaves the graph; see Penguin.close."""
        await asyncio.get_running_loop().run_in_executor(None, self._penguin.close)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def ask(self, question: str, **options: Unpack[AskOptions]) -> Answer:
        """Asks and returns the answer; see Penguin.ask."""
        return await self._run(lambda: self._penguin.ask(question, **options))

    async def stream(
        self, question: str, **options: Unpack[AskOptions]
    ) -> AsyncStream[str, AnswerStream]:
        """Asks and returns an asynchronous iterator over the pieces of the answer."""
        source = await self._run(lambda: self._penguin.stream(question, **options))
        return AsyncStream(source, self._run)

    async def describe(self, camera: str = '') -> Answer:
        """Has the node describe what a camera shows now."""
        return await self._run(lambda: self._penguin.describe(camera))

    def conversation(self) -> AsyncConversation:
        """Returns a conversation; see Penguin.conversation."""
        return AsyncConversation(self._penguin.conversation(), self._run)

    async def watch(
        self, *, seconds: float = math.inf
    ) -> AsyncStream[Caption, MessageStream[Caption]]:
        """Returns an asynchronous iterator over captions as they come."""
        source = await self._run(lambda: self._penguin.watch(seconds=seconds))
        return AsyncStream(source, self._run)

    async def newest_caption(self) -> Caption:
        """Returns the newest caption; see Penguin.newest_caption."""
        return await self._run(self._penguin.newest_caption)

    async def status(self) -> dict[str, Any]:
        """Returns the node's status; see Penguin.status."""
        return await self._run(self._penguin.status)

    async def picture(self, camera: str = '', *, longer_side: int = 640) -> bytes:
        """Returns what a camera shows now, as JPEG; see Penguin.picture."""
        return await self._run(lambda: self._penguin.picture(camera, longer_side=longer_side))

    async def recall(self, words: str = '', **filters: Any) -> tuple[Memory, ...]:
        """Returns what a memory node remembers; see RobotMemory.recall."""
        return await self._run(lambda: self._penguin.recall(words, **filters))

    async def _run(self, call: Callable[[], Result]) -> Result:
        """Makes a call on a thread; cancelling this coroutine gives it up there, and ends when the
        node knows.
        """
        given_up = threading.Event()
        loop = asyncio.get_running_loop()
        made = loop.run_in_executor(self._pool, partial(self._penguin.run, call, given_up))
        try:
            return await asyncio.shield(made)
        except asyncio.CancelledError:
            given_up.set()
            made.add_done_callback(lambda future: future.cancelled() or future.exception())
            await asyncio.wait([made], timeout=GIVE_UP_S)
            raise


def _leave(making: Future[Penguin]) -> None:
    """Leaves the graph with a Penguin that nobody waits for any more."""
    if not making.cancelled() and making.exception() is None:
        making.result().close()


class AsyncStream(AsyncIterator[Item], Generic[Item, Result]):
    """A stream of the client as an asynchronous iterator; `source` is that stream, which has the
    answer or the count of what was dropped.
    """

    def __init__(self, source: Any, run: Run) -> None:
        self.source: Result = source
        self._stream = source
        self._run = run

    async def __anext__(self) -> Item:
        ended = object()
        item = await self._run(lambda: next(self._stream, ended))
        if item is ended:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Ends the stream; a question that is not answered is cancelled."""
        await self._run(self._stream.close)

    async def __aenter__(self) -> AsyncStream[Item, Result]:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()


class AsyncConversation:
    """Questions of which later ones see the earlier; see Conversation."""

    def __init__(self, conversation: Conversation, run: Run) -> None:
        self._conversation = conversation
        self._run = run

    async def ask(
        self,
        question: str,
        on_text: Callable[[str], None] | None = None,
        **options: Unpack[AskOptions],
    ) -> Answer:
        """Asks the next question; see Conversation.ask."""
        answer: Answer = await self._run(
            lambda: self._conversation.ask(question, on_text, **options)
        )
        return answer

    async def forget(self) -> None:
        """Has the node forget it."""
        await self._run(self._conversation.forget)

    async def __aenter__(self) -> AsyncConversation:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.forget()


class AsyncRules:
    """The rules of the node as coroutines; see NodeRules."""

    def __init__(self, penguin: Penguin, run: Run) -> None:
        self._rules = penguin.rules
        self._run = run

    async def add(self, id: str, condition: str, **settings: Any) -> WatchedRule:
        """Sets a rule; see NodeRules.add."""
        rule: WatchedRule = await self._run(lambda: self._rules.add(id, condition, **settings))
        return rule

    async def list(self) -> tuple[WatchedRule, ...]:
        """Returns the rules with their states."""
        rules: tuple[WatchedRule, ...] = await self._run(self._rules.list)
        return rules

    async def remove(self, id: str) -> None:
        """Removes a rule for good."""
        await self._run(lambda: self._rules.remove(id))

    async def test(self, id: str = '', **settings: Any) -> Evaluation:
        """Evaluates a rule once; see NodeRules.test."""
        evaluation: Evaluation = await self._run(lambda: self._rules.test(id, **settings))
        return evaluation

    async def events(
        self, *, seconds: float = math.inf
    ) -> AsyncStream[Event, MessageStream[Event]]:
        """Returns an asynchronous iterator over events as they come."""
        return AsyncStream(await self._run(lambda: self._rules.events(seconds=seconds)), self._run)


class AsyncMemory:
    """What a memory node remembers, as coroutines; see RobotMemory."""

    def __init__(self, penguin: Penguin, run: Run) -> None:
        self._memory = penguin.memory
        self._run = run

    async def recall(self, words: str = '', **filters: Any) -> tuple[Memory, ...]:
        """Returns what was seen; see RobotMemory.recall."""
        found: tuple[Memory, ...] = await self._run(lambda: self._memory.recall(words, **filters))
        return found

    async def last_seen(self, thing: str, **filters: Any) -> LastSeen:
        """Tells when a thing was seen last; see RobotMemory.last_seen."""
        seen: LastSeen = await self._run(lambda: self._memory.last_seen(thing, **filters))
        return seen

    async def look_again(self, question: str, memories: Any = (), **filters: Any) -> Answer:
        """Asks a question about stored pictures; see RobotMemory.look_again."""
        answer: Answer = await self._run(
            lambda: self._memory.look_again(question, memories, **filters)
        )
        return answer
