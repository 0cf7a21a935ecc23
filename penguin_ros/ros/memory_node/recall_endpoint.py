# SPDX-License-Identifier: Apache-2.0
"""The service `~/recall`: finds entries by words, meaning, time and place.

Its callback runs on the executor's thread and waits there without blocking it; the search runs on a
thread of the background.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penguin_msgs.srv import Recall
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

from penguin_ros.errors import PenguinError
from penguin_ros.memory.entry import Entry
from penguin_ros.memory.store import Store
from penguin_ros.ros.conversions.error_codes import error_code, error_message
from penguin_ros.ros.conversions.memory_messages import filter_of, hit_message
from penguin_ros.ros.memory_node.background import Background
from penguin_ros.text import cleaned

ENTRY_QOS = QoSProfile(depth=100)
"""A service of the default depth forgets all but the last 10 requests that arrive together."""
MAX_PICTURE_BYTES = 32_000_000
"""Pictures in one response; entries beyond that come without."""

Report = Callable[[str, BaseException], None]


class RecallEndpoint:
    """Serves `~/recall` from the store. `counts` are those of `answers` and `errors`."""

    def __init__(self, node: Node, store: Store, background: Background, report: Report) -> None:
        self._store = store
        self._background = background
        self._report = report
        node.create_service(
            Recall,
            '~/recall',
            self._on_recall,
            qos_profile=ENTRY_QOS,
            callback_group=ReentrantCallbackGroup(),
        )

    async def _on_recall(
        self, request: Recall.Request, response: Recall.Response
    ) -> Recall.Response:
        try:
            await self._background.run(lambda: self._find(request, response))
            response.success = True
        except Exception as error:
            note_failure(response, error, self._report, '~/recall')
        return response

    def _find(self, request: Recall.Request, response: Recall.Response) -> None:
        page = self._store.recall(filter_of(request))
        room = MAX_PICTURE_BYTES if request.wants_pictures else 0
        entries = []
        for hit in page.hits:
            picture = picture_of(self._store, hit.entry) if room > 0 else b''
            room -= len(picture)
            entries.append(hit_message(hit, picture))
        response.entries = entries
        response.next_page = page.next_page


def picture_of(store: Store, entry: Entry) -> bytes:
    """Returns the picture of an entry; b'' when it has none, or its file is missing."""
    if not entry.has_picture:
        return b''
    try:
        return store.picture(entry)
    except PenguinError:
        return b''


def note_failure(response: Any, error: Exception, report: Report, place: str) -> None:
    """Puts an error into a response that has `success` and `message`, and a code where it has one;
    what nobody expected is reported.
    """
    if not isinstance(error, PenguinError):
        report(place, error)
    response.success = False
    response.message = cleaned(error_message(error))
    if hasattr(response, 'error_code'):
        response.error_code = code_of(error)


def code_of(error: BaseException) -> int:
    """Returns the error's code; that of the penguin node where it is one of its own."""
    return int(getattr(error, 'code', 0)) or error_code(error)
