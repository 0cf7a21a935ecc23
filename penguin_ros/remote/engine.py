# SPDX-License-Identifier: Apache-2.0
"""The remote engines of a node: a thread with a loop, on which servers are watched and asked.

`start`, `ask`, `status` and `close` may be called on any thread and do not wait for the network,
except that `start` waits a moment for what the servers say of themselves.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

from penguin_ros.config import RemoteConfig
from penguin_ros.errors import RemoteError
from penguin_ros.libraries import libraries_needed
from penguin_ros.remote.breaker import BreakerState
from penguin_ros.remote.client import Asking
from penguin_ros.remote.endpoint import Endpoint
from penguin_ros.remote.failure import BROKEN_OFF, TRANSIENT, FailedAttempt, RemoteFailed
from penguin_ros.remote.frame_pictures import FramePictures
from penguin_ros.remote.hedging import first_to_speak
from penguin_ros.remote.line import EndpointStatus, Line, waits_of
from penguin_ros.remote.question import Answerer, RemoteAnswer, RemoteQuestion
from penguin_ros.remote.reply import Reply
from penguin_ros.remote.typed_reply import typed_answer

NANOSECONDS = 1_000_000_000
ROUNDS = 3
"""So often all endpoints are tried for a question that nobody else can answer."""
CANCELS, CANCEL_S = 4, 0.25
JITTER_S = (0.05, 0.25)
"""Before something is tried again, so that robots do not come back all at once."""


class RemoteCall:
    """A question under way."""

    def __init__(self, future: Future[None]) -> None:
        self._future = future

    def cancel(self) -> None:
        """Gives it up and closes its connection; `on_end` may be called once more at most."""
        self._future.cancel()


class RemoteEngines:
    """The endpoints, tried in order. `config` returns the settings of now; `report` gets a sentence
    and an exception that nobody expected.
    """

    def __init__(
        self,
        endpoints: tuple[Endpoint, ...],
        config: Callable[[], RemoteConfig],
        steady_ns: Callable[[], int],
        report: Callable[[str, BaseException], None],
    ) -> None:
        self._config = config
        self._steady_ns = steady_ns
        self._report = report
        self._lines = [Line(endpoint, steady_ns) for endpoint in endpoints]
        self._pictures = FramePictures()
        self._encoder = ThreadPoolExecutor(1, 'penguin encoder')
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name='penguin remote', daemon=True)
        self._checked = threading.Event()

    def start(self, timeout_s: float) -> None:
        """Begins to watch the servers, and waits up to `timeout_s` until each was asked once. One
        that does not answer is no error here. Raises LibraryUnusable without aiohttp.
        """
        with libraries_needed():
            import aiohttp  # noqa: F401  (here, so that its absence is told at once)
        self._thread.start()
        for line in self._lines:
            self._begin(self._watch(line))
        self._checked.wait(timeout_s)

    def close(self, timeout_s: float = 2.0) -> None:
        """Gives up all questions, closes all connections and ends the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout_s)
        self._encoder.shutdown(wait=False, cancel_futures=True)

    def ask(
        self,
        question: RemoteQuestion,
        on_piece: Callable[[str], None],
        on_end: Callable[[RemoteAnswer], None],
    ) -> RemoteCall:
        """Has a question answered; both functions are called on the thread of the loop and must be
        quick. `on_end` is called once, unless the call is cancelled.
        """
        return RemoteCall(self._begin(self._ended(question, on_piece, on_end)))

    def status(self) -> tuple[EndpointStatus, ...]:
        """Returns a snapshot of each endpoint, in order."""
        return tuple(line.status() for line in self._lines)

    @property
    def is_hopeful(self) -> bool:
        """False while nothing may be asked of any server."""
        return any(line.breaker.state is not BreakerState.OPEN for line in self._lines)

    def _begin(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # --- the thread of the loop -------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            with suppress(Exception):
                self._loop.run_until_complete(self._shut_down())
            self._loop.close()

    async def _shut_down(self) -> None:
        tasks = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        for _ in range(CANCELS):  # asyncio.wait_for of Python 3.11 and before may lose one
            for task in tasks:
                task.cancel()
            if tasks:
                _, tasks = await asyncio.wait(tasks, timeout=CANCEL_S)
        for line in self._lines:
            await line.client.close()

    async def _watch(self, line: Line) -> None:
        while True:
            config = self._config()
            try:
                await line.check(config)
            except Exception as error:
                line.has_been_checked = True
                self._report(f'checking the remote engine {line.endpoint.name} failed', error)
            if all(each.has_been_checked for each in self._lines):
                self._checked.set()
            await asyncio.sleep(config.check_period)

    async def _ended(
        self,
        question: RemoteQuestion,
        on_piece: Callable[[str], None],
        on_end: Callable[[RemoteAnswer], None],
    ) -> None:
        try:
            answer = await self._answered(question, on_piece)
        except Exception as error:
            self._report('asking remote engines failed', error)
            fault = RemoteError('asking remote engines failed', repr(error), 'The log has more')
            answer = RemoteAnswer(error=fault)
        try:
            on_end(answer)
        except Exception as error:
            self._report('the listener to a remote answer failed', error)

    async def _answered(
        self, question: RemoteQuestion, on_piece: Callable[[str], None]
    ) -> RemoteAnswer:
        failed: list[FailedAttempt] = []
        refused: dict[str, str] = {}
        for _ in range(1 if question.is_urged else ROUNDS):
            before = len(failed)
            ended = await self._round(question, on_piece, failed, refused)
            if ended is not None:
                return ended
            again_s = self._again_s(failed[before:])
            left_s = (question.first_ns - self._steady_ns()) / NANOSECONDS
            if question.is_urged or again_s is None or again_s >= left_s:
                break
            await asyncio.sleep(again_s)
        return RemoteAnswer(error=_no_answer(failed, refused), failed=tuple(failed))

    async def _round(
        self,
        question: RemoteQuestion,
        on_piece: Callable[[str], None],
        failed: list[FailedAttempt],
        refused: dict[str, str],
    ) -> RemoteAnswer | None:
        """Asks one endpoint after the other; None when none has answered."""
        config, usable = self._config(), []
        refused.clear()
        hedge_s = config.hedge_after
        for index, line in enumerate(self._lines):
            line.configure(config)
            refusal = line.refusal()
            if refusal:
                refused[line.endpoint.name] = refusal
            elif hedge_s:
                usable.append(line)
            else:
                share = self._share(question, len(self._lines) - index)
                ended = await self._tried(line, share, on_piece, failed)
                if ended is not None:
                    return ended
        if not usable:
            return None
        return await first_to_speak(
            lambda line, show: self._tried(line, question, show, failed), usable, hedge_s, on_piece
        )

    def _again_s(self, failed: list[FailedAttempt]) -> float | None:
        """Returns after how long it may help to try again; None: it does not."""
        jitter_s = random.uniform(*JITTER_S)
        waits = [jitter_s for each in failed if each.failure.cause in TRANSIENT]
        waits = [line.busy_s + jitter_s for line in self._lines if line.busy_s] or waits
        return min(waits) if waits else None

    def _share(self, question: RemoteQuestion, count: int) -> RemoteQuestion:
        """Returns the question with as much time for its first piece as one of `count` endpoints
        may take.
        """
        now_ns = self._steady_ns()
        return replace(question, first_ns=now_ns + max(0, question.first_ns - now_ns) // count)

    async def _tried(
        self,
        line: Line,
        question: RemoteQuestion,
        on_piece: Callable[[str], None],
        failed: list[FailedAttempt],
    ) -> RemoteAnswer | None:
        """Asks one endpoint, twice when its connection breaks off: the server may have closed an
        idle one just then. None when another may be asked.
        """
        for is_last in (False, True):
            pieces: list[str] = []
            try:
                reply = await line.client.answer(self._asking(question, pieces, on_piece))
                typed = typed_answer(question, reply.said, reply.stop_reason)
            except RemoteFailed as failure:
                line.note_failure(failure)
                failed.append(FailedAttempt(line.endpoint.name, failure))
                if pieces:
                    return _broken_off(line, ''.join(pieces), failed)
                if is_last or failure.cause != BROKEN_OFF:
                    return None
                await asyncio.sleep(random.uniform(*JITTER_S))
            except BaseException:
                line.breaker.note_no_verdict()
                raise
            else:
                line.note_answer()
                return replace(_whole(line, reply, failed), typed=typed)
        return None

    def _asking(
        self, question: RemoteQuestion, pieces: list[str], on_piece: Callable[[str], None]
    ) -> Asking:
        config = self._config()

        def show(piece: str) -> None:
            pieces.append(piece)
            on_piece(piece)

        return Asking(
            question,
            lambda frame: self._pictures.picture(frame, config.jpeg_quality),
            self._encoder,
            waits_of(config),
            show,
        )


def _answerer(line: Line, reply: Reply | None = None) -> Answerer:
    facts = line.client.facts
    return Answerer(
        line.endpoint.name,
        facts.dialect if facts else '',
        facts.model if facts else '',
        reply.digest if reply else '',
        reply.backend if reply else '',
        reply.precision if reply else '',
    )


def _whole(line: Line, reply: Reply, failed: list[FailedAttempt]) -> RemoteAnswer:
    return RemoteAnswer(
        reply.text,
        _answerer(line, reply),
        reply.stop_reason,
        reply.stats,
        failed=tuple(failed),
    )


def _broken_off(line: Line, text: str, failed: list[FailedAttempt]) -> RemoteAnswer:
    error = RemoteError(
        f'the answer of the remote engine {line.endpoint.name} broke off',
        failed[-1].failure.why,
        'Ask again',
    )
    return RemoteAnswer(text, _answerer(line), error=error, failed=tuple(failed))


def _no_answer(failed: list[FailedAttempt], refused: dict[str, str]) -> RemoteError:
    reasons = {each.endpoint: str(each) for each in failed}
    reasons |= {name: f'{name} {why}' for name, why in refused.items() if name not in reasons}
    return RemoteError(
        'no remote engine gave an answer',
        '; '.join(reasons.values()) or 'none is configured (remote.endpoints)',
        'Check the servers and the network; the diagnostics tell what each says',
    )
