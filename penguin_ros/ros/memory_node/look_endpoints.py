# SPDX-License-Identifier: Apache-2.0
"""The services `~/look_again` and `~/last_seen`: a penguin node looks at stored pictures once more.

Their callbacks run on the executor's thread and wait there without blocking it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import PIL.Image
from penguin_msgs.msg import Answer
from penguin_msgs.srv import LastSeen, LookAgain
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from penguin_ros.errors import InvalidRequest, PenguinError, UnknownEntry
from penguin_ros.frame import NANOSECONDS, to_nanoseconds
from penguin_ros.memory.entry import Entry, Hit, Kind
from penguin_ros.memory.filter import MAX_LIMIT, Filter
from penguin_ros.memory.store import Store
from penguin_ros.recollection.last_seen import Sighting, last_seen, searches_of
from penguin_ros.recollection.spread import spread
from penguin_ros.ros.conversions.memory_messages import (
    entry_message,
    interval_of,
    probability_of,
)
from penguin_ros.ros.memory_node.background import Background
from penguin_ros.ros.memory_node.parameters import LookConfig
from penguin_ros.ros.memory_node.penguin_client import Asked, PenguinClient, StoredPicture
from penguin_ros.ros.memory_node.recall_endpoint import (
    ENTRY_QOS,
    Report,
    code_of,
    note_failure,
    picture_of,
)
from penguin_ros.text import cleaned

DEFAULT_PICTURES = 8
MENTIONS = 200
"""Newest entries with the words of a thing among which it is looked for."""

Seen = tuple[Entry, StoredPicture]


class LookEndpoints:
    """Serves both from the store, through the client of the penguin nodes."""

    def __init__(
        self,
        node: Node,
        store: Store,
        client: PenguinClient,
        background: Background,
        config: LookConfig,
        report: Report,
    ) -> None:
        self._store = store
        self._client = client
        self._background = background
        self._config = config
        self._report = report
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
            (LookAgain, '~/look_again', self._on_look_again),
            (LastSeen, '~/last_seen', self._on_last_seen),
        ):
            node.create_service(kind, name, callback, qos_profile=ENTRY_QOS, callback_group=group)

    # --- looking again ----------------------------------------------------------------------------

    async def _on_look_again(
        self, request: LookAgain.Request, response: LookAgain.Response
    ) -> LookAgain.Response:
        try:
            deadline_ns = self._deadline_ns(request.deadline)
            seen = await self._background.run(lambda: self._pictures(request))
            response.entries = [entry_message(entry) for entry, _ in seen]
            asked = Asked(request.question, [each[1] for each in seen], list(request.choices))
            response.answer = await self._client.ask(asked, deadline_ns, seen[-1][0].node)
            response.success = True
        except Exception as error:
            note_failure(response, error, self._report, '~/look_again')
            response.answer = Answer(
                question=cleaned(request.question),
                error_code=code_of(error),
                error_message=response.message,
            )
        return response

    def _pictures(self, request: LookAgain.Request) -> list[Seen]:
        """Returns the entries to look at with their pictures, oldest first."""
        count = int(request.max_pictures) or DEFAULT_PICTURES
        entries = [entry for entry in self._entries(request) if entry.has_picture]
        # Stamps of several sessions do not compare, so that no order could be told.
        newest = max((entry.session for entry in entries), default=0)
        entries = [entry for entry in entries if entry.session == newest]
        entries.sort(key=lambda entry: (entry.picture_ns or entry.end_ns, entry.id))
        seen = [
            (entry, _stored(entry, jpeg))
            for entry in spread(_one_of_each_picture(entries), count)
            if (jpeg := picture_of(self._store, entry))
        ]
        if not seen:
            raise UnknownEntry(
                'there is no picture to look at',
                'none was stored there, or its file is missing',
                'Set picture.enabled of the memory node, so that there are pictures next time',
            )
        return seen

    def _entries(self, request: LookAgain.Request) -> Sequence[Entry]:
        interval = interval_of(request)
        ids = [int(each) for each in request.entries]
        if bool(ids) == (interval is not None):
            raise InvalidRequest(
                'entries and an interval are given' if ids else 'nothing is said to look at',
                'it takes one or the other',
                'Give ids of entries that recall has found, or an interval',
            )
        if ids:
            return self._store.entries(ids[:MAX_LIMIT])
        asked = Filter(interval=interval, camera=request.camera, limit=MAX_LIMIT)
        return [hit.entry for hit in self._store.recall(asked).hits]

    # --- last seen --------------------------------------------------------------------------------

    async def _on_last_seen(
        self, request: LastSeen.Request, response: LastSeen.Response
    ) -> LastSeen.Response:
        try:
            deadline_ns = self._deadline_ns(request.deadline)
            mentions = await self._background.run(lambda: self._mentions(request))
            found = await self._sighting(request, mentions, deadline_ns)
            response.is_found = found.entry is not None
            if found.entry is not None:
                response.entry = entry_message(found.entry)
            response.is_confirmed = found.is_confirmed
            response.probability = found.probability
            response.refuted = [entry_message(entry) for entry in found.refuted]
            response.success = True
        except Exception as error:
            note_failure(response, error, self._report, '~/last_seen')
        return response

    def _mentions(self, request: LastSeen.Request) -> list[Entry]:
        """Returns the newest captions and events with the words of the thing; where there are none
        and pictures can tell, those that mean about the same.
        """
        searches = searches_of(request.thing)
        if not searches:
            raise InvalidRequest(
                f'the thing {cleaned(request.thing)!r}',
                'it has no word',
                'Say, for example: red box',
            )
        asked = Filter(
            interval=interval_of(request),
            camera=request.camera,
            kinds=(Kind.CAPTION, Kind.EVENT),
            is_newest_first=True,
            limit=MENTIONS,
        )
        hits: tuple[Hit, ...] = ()
        for words in searches:
            hits = hits or self._store.recall(replace(asked, words=words)).hits
        if not hits and not request.without_looking:
            limit = self._config.max_looks
            about = replace(asked, meaning=searches[-1], is_newest_first=False, limit=limit)
            with suppress(PenguinError):  # nothing is there to search by meaning with
                hits = tuple(hit for hit in self._store.recall(about).hits if hit.entry.has_picture)
        return [hit.entry for hit in hits]

    async def _sighting(
        self, request: LastSeen.Request, mentions: list[Entry], deadline_ns: int
    ) -> Sighting:
        """Has entries looked at until one is confirmed."""
        config = self._config
        search = last_seen(
            mentions, config.threshold, config.max_looks, not request.without_looking
        )
        question = config.question.replace('{thing}', ' '.join(cleaned(request.thing).split()))
        try:
            entry = next(search)
            while True:
                probability = await self._probability(entry, question, deadline_ns)
                entry = search.send(probability)
        except StopIteration as end:
            sighting: Sighting = end.value
            return sighting

    async def _probability(self, entry: Entry, question: str, deadline_ns: int) -> float:
        jpeg = await self._background.run(lambda: self._store.picture(entry))
        picture = _stored(entry, jpeg)
        choices = [self._config.yes, self._config.no]
        answer = await self._client.ask(
            Asked(question, [picture], choices), deadline_ns, entry.node
        )
        return probability_of(answer, self._config.yes)

    def _deadline_ns(self, asked: Any) -> int:
        """Returns the deadline on the steady clock; InvalidRequest for one that is negative."""
        wanted_ns = to_nanoseconds(asked)
        if wanted_ns < 0:
            raise InvalidRequest(
                'the deadline is negative', '', 'Give a duration, or zero for the default'
            )
        longest_ns = round(self._config.deadline * NANOSECONDS)
        return time.monotonic_ns() + min(wanted_ns or longest_ns, longest_ns)


def _stored(entry: Entry, jpeg: bytes) -> StoredPicture:
    """Returns an entry's picture; one whose head cannot be read has no size."""
    try:
        with PIL.Image.open(io.BytesIO(jpeg)) as image:
            size = image.size
    except (OSError, ValueError, PIL.Image.DecompressionBombError):
        size = 0, 0
    return StoredPicture(jpeg, entry.picture_ns or entry.end_ns, entry.camera, size)


def _one_of_each_picture(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the entries without those whose picture another one before them has."""
    return list({entry.digest: entry for entry in reversed(entries)}.values())[::-1]
