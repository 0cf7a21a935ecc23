# SPDX-License-Identifier: Apache-2.0
"""When and where something was seen last: the newest entries that mention it are looked at again,
until one is confirmed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from penguin_ros.memory.entry import Entry


@dataclass(frozen=True)
class Sighting:
    """What was found: `entry` is None when nothing mentions the thing, or all that does was
    refuted.

    `is_confirmed`: its picture shows the thing with this probability. `refuted`: entries that
    mention it, but whose pictures do not show it, newest first. `looks`: pictures looked at.
    """

    entry: Entry | None
    is_confirmed: bool = False
    probability: float = 0.0
    refuted: tuple[Entry, ...] = ()
    looks: int = 0


def newest_first(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the entries of the last session first, each session's newest first."""
    return sorted(entries, key=lambda entry: (entry.session, entry.end_ns, entry.id), reverse=True)


def last_seen(
    mentions: Sequence[Entry], threshold: float, max_looks: int, is_looking: bool = True
) -> Generator[Entry, float, Sighting]:
    """Yields entries whose pictures are to be looked at, is sent the probability that the thing is
    there, and returns what was found.

    An entry without a picture cannot be refuted: it is taken as it is, unconfirmed. So is the first
    one beyond `max_looks`.
    """
    refuted: list[Entry] = []
    for entry in newest_first(mentions):
        if not is_looking or not entry.has_picture or len(refuted) >= max_looks:
            return Sighting(entry, refuted=tuple(refuted), looks=len(refuted))
        probability = yield entry
        if probability >= threshold:
            return Sighting(entry, True, probability, tuple(refuted), len(refuted) + 1)
        refuted.append(entry)
    return Sighting(None, refuted=tuple(refuted), looks=len(refuted))


def searches_of(thing: str) -> tuple[str, ...]:
    """Returns what to search for a thing, the narrowest first: its words next to each other, then
    in any order. A red ball and a blue box are no red box. () when nothing is left of it.

    Quotes and minus signs would mean something there, and articles need not stand in a caption.
    """
    words = [*_words(thing)]
    together = ' '.join(words)
    return (f'"{together}"', together) if len(words) > 1 else (together,) if words else ()


def _words(thing: str) -> Iterator[str]:
    for word in thing.replace('"', ' ').split():
        bare = word.strip('-.,;:!?()')
        if bare.lower() not in ('', 'a', 'an', 'the', 'my', 'our', 'some', 'any'):
            yield bare
