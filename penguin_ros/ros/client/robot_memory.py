# SPDX-License-Identifier: Apache-2.0
"""What a memory node remembers, for the Python client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from penguin_ros.frame import NANOSECONDS, to_nanoseconds
from penguin_ros.ros.client.memory_client import MemoryClient, MemoryRefused, find_memory
from penguin_ros.ros.client.results import MEMORY_KINDS, Answer, Memory, answer_of, memory_of
from penguin_ros.ros.client.session import Session

Response = TypeVar('Response')


@dataclass(frozen=True)
class LastSeen:
    """When and where a thing was seen last: None when it was not. `probability` is that of a look
    at the picture, 0 when none was made; `refuted` mention it, but their pictures do not show it.
    """

    memory: Memory | None
    is_confirmed: bool
    probability: float
    refuted: tuple[Memory, ...]


class RobotMemory:
    """Asks the memory node called `name`, or the only one there is; it is looked for when it is
    first asked.
    """

    def __init__(self, session: Session, name: str, timeout_s: float) -> None:
        self._session = session
        self._name = name
        self._timeout_s = timeout_s
        self._client: MemoryClient | None = None

    def recall(
        self,
        words: str = '',
        *,
        meaning: str = '',
        camera: str = '',
        last_seconds: float = 0.0,
        interval_ns: tuple[int, int] | None = None,
        **more: Any,
    ) -> tuple[Memory, ...]:
        """Returns what was seen, by words, meaning, camera and time; `last_seconds` end at the
        newest entry. `more` are `kinds` (words), `limit`, `is_newest_first` and `wants_pictures`.
        """
        fields = {'words': words, 'meaning': meaning, 'camera': camera, **more}
        fields['kinds'] = [MEMORY_KINDS.index(kind) for kind in more.get('kinds', ())]
        fields |= self._interval(last_seconds, interval_ns)
        response = _named(lambda: self._found().recall(fields, self._timeout_s))
        return tuple(map(memory_of, response.entries))

    def last_seen(
        self,
        thing: str,
        *,
        camera: str = '',
        last_seconds: float = 0.0,
        interval_ns: tuple[int, int] | None = None,
        without_looking: bool = False,
    ) -> LastSeen:
        """Tells when a thing was seen last; the newest pictures are looked at again."""
        fields = {'thing': thing, 'camera': camera, 'without_looking': without_looking}
        fields |= self._interval(last_seconds, interval_ns)
        response = _named(lambda: self._found().last_seen(fields, self._timeout_s))
        return LastSeen(
            memory_of(response.entry) if response.is_found else None,
            response.is_confirmed,
            float(response.probability),
            tuple(map(memory_of, response.refuted)),
        )

    def look_again(
        self,
        question: str,
        memories: Sequence[Memory | int] = (),
        *,
        choices: Sequence[str] = (),
        camera: str = '',
        last_seconds: float = 0.0,
        interval_ns: tuple[int, int] | None = None,
    ) -> Answer:
        """Asks a question about stored pictures: those of the memories, or of the interval."""
        fields = {
            'question': question,
            'entries': [each.id if isinstance(each, Memory) else each for each in memories],
            'choices': list(choices),
            'camera': camera,
            **self._interval(last_seconds, interval_ns),
        }
        response = _named(lambda: self._found().look_again(fields, self._timeout_s))
        return answer_of(response.answer)

    def _found(self) -> MemoryClient:
        if self._client is None:
            name = find_memory(self._session, self._name)
            self._client = MemoryClient(self._session, name)
        return self._client

    def _interval(self, last_seconds: float, interval_ns: tuple[int, int] | None) -> dict[str, Any]:
        from penguin_ros.ros.conversions.times import time_message

        if interval_ns is None and last_seconds > 0:
            newest = _named(lambda: self._found().newest(self._timeout_s))
            end_ns = 0 if newest is None else to_nanoseconds(newest)
            interval_ns = max(0, end_ns - round(last_seconds * NANOSECONDS)), end_ns
        if interval_ns is None:
            return {}
        start, end = map(time_message, interval_ns)
        return {'has_interval': True, 'start': start, 'end': end}


def _named(call: Callable[[], Response]) -> Response:
    """Makes a call; what the node refuses is raised by the name that it has there."""
    from penguin_ros.ros.conversions.error_codes import named_error

    try:
        return call()
    except MemoryRefused as refused:
        raise named_error(refused.code, str(refused)) from None
