# SPDX-License-Identifier: Apache-2.0
"""Converts captions, answers and events to what the memory stores, and entries, searches and places
between the memory and penguin_msgs.
"""

from __future__ import annotations

import array
import re
from collections.abc import Mapping, Sequence
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from penguin_msgs.msg import Event, MemoryEntry
from sensor_msgs.msg import CompressedImage

from penguin_ros.errors import InvalidRequest
from penguin_ros.frame import NANOSECONDS, to_nanoseconds
from penguin_ros.memory.entry import Entry, Hit, Kind, NewEntry, Pose
from penguin_ros.memory.filter import DEFAULT_LIMIT, Filter, Interval, Place
from penguin_ros.ros.conversions.times import time_message
from penguin_ros.text import cleaned

_EVENT_KINDS = {Event.BEGIN: 'begin', Event.STILL: 'still', Event.END: 'end', Event.LOST: 'lost'}
PICTURE_FORMAT = 'jpeg'


def evidence_of(message: Any) -> dict[str, Any]:
    """Returns of a penguin_msgs/Evidence what is worth its place: the frames and the model."""
    frames = [to_nanoseconds(frame.stamp) for frame in message.frames]
    found: dict[str, Any] = {'frames_ns': frames}
    for key, value in (
        ('model', message.model_name),
        ('digest', message.model_digest[:12]),
        ('backend', message.backend),
        ('precision', message.precision),
        ('stop_reason', int(message.stop_reason)),
        ('tokens', int(message.generated_tokens)),
    ):
        if value:
            found[key] = value
    return found


def caption_entry(node: str, message: Any) -> NewEntry:
    """Returns what is remembered of a penguin_msgs/Caption."""
    return NewEntry(
        Kind.CAPTION,
        node,
        message.camera,
        *_interval(message.evidence, message.header.stamp),
        cleaned(message.text),
        evidence=evidence_of(message.evidence),
    )


def answer_entry(node: str, message: Any) -> NewEntry:
    """Returns what is remembered of a penguin_msgs/Answer without error."""
    evidence = evidence_of(message.evidence)
    if message.choices:
        evidence['choices'] = list(message.choices)
        evidence['probabilities'] = [round(float(each), 6) for each in message.probabilities]
    return NewEntry(
        Kind.ANSWER,
        node,
        message.camera,
        *_interval(message.evidence, message.evidence.end),
        cleaned(message.text or message.choice or message.json),
        question=cleaned(message.question),
        evidence=evidence,
        key=message.id,
    )


def event_entry(node: str, message: Any) -> NewEntry:
    """Returns what is remembered of a penguin_msgs/Event; each of its messages is an entry."""
    kind = _EVENT_KINDS.get(message.kind, str(message.kind))
    evidence = evidence_of(message.evidence)
    evidence |= {
        'event': message.id,
        'state': kind,
        'peak': round(float(message.peak), 6),
        'probabilities': [round(float(each), 6) for each in message.probabilities],
        'severity': message.severity[0]
        if isinstance(message.severity, bytes)
        else int(message.severity),
    }
    if message.reason:
        evidence['reason'] = cleaned(message.reason)
    start, end = to_nanoseconds(message.start), to_nanoseconds(message.end)
    picture = message.picture[0] if message.picture else None
    return NewEntry(
        Kind.EVENT,
        node,
        message.camera,
        min(start or end, end),
        end,
        cleaned(message.condition),
        question=message.rule,
        evidence=evidence,
        picture=bytes(picture.data) if picture is not None else b'',
        picture_ns=to_nanoseconds(picture.header.stamp) if picture is not None else 0,
        key=f'{message.id}/{kind}/{end}',
    )


def _interval(evidence: Any, stamp: Any) -> tuple[int, int]:
    """Returns the stamps of the oldest and the newest frame."""
    end = to_nanoseconds(evidence.end) or to_nanoseconds(stamp)
    start = to_nanoseconds(evidence.start) or end
    return min(start, end), end


def entry_message(
    entry: Entry, score: float = 0.0, matches: Sequence[str] = (), picture: bytes = b''
) -> MemoryEntry:
    """Returns an entry as a message, with its picture when one is given."""
    message = MemoryEntry(
        id=entry.id,
        kind=int(entry.kind),
        node=cleaned(entry.node),
        camera=cleaned(entry.camera),
        start=time_message(entry.start_ns),
        end=time_message(entry.end_ns),
        text=cleaned(entry.text),
        question=cleaned(entry.question),
        has_pose=entry.pose is not None,
        score=score,
        matches=list(matches),
        has_picture=entry.has_picture,
        is_pinned=entry.is_pinned,
        session=entry.session,
    )
    if entry.pose is not None:
        message.pose = pose_message(entry.pose)
    if picture:
        message.picture = [picture_message(picture, entry.picture_ns)]
    return message


def hit_message(hit: Hit, picture: bytes = b'') -> MemoryEntry:
    """Returns what a search found as a message."""
    return entry_message(hit.entry, hit.score, hit.matches, picture)


def picture_message(jpeg: bytes, stamp_ns: int) -> CompressedImage:
    """Returns a stored picture as a picture."""
    picture = CompressedImage(format=PICTURE_FORMAT, data=array.array('B', jpeg))
    picture.header.stamp = time_message(stamp_ns)
    return picture


def pose_message(pose: Pose) -> PoseStamped:
    """Returns a stored pose as a message; its stamp is that of the transform."""
    message = PoseStamped()
    message.header.frame_id = pose.frame
    message.header.stamp = time_message(pose.stamp_ns)
    at = message.pose
    at.position.x, at.position.y, at.position.z = pose.x, pose.y, pose.z
    turn = at.orientation
    turn.x, turn.y, turn.z, turn.w = pose.qx, pose.qy, pose.qz, pose.qw
    return message


def interval_of(request: Any) -> Interval | None:
    """Returns the interval of a request; None without one. InvalidRequest when it ends before it
    starts.
    """
    if not request.has_interval:
        return None
    return checked_interval(request.start, request.end)


def checked_interval(start: Time, end: Time) -> Interval:
    """Returns the interval between two stamps; InvalidRequest when there is none."""
    start_ns, end_ns = to_nanoseconds(start), to_nanoseconds(end)
    if end_ns < start_ns:
        raise InvalidRequest(
            f'the interval from {start_ns / NANOSECONDS:.3f} to {end_ns / NANOSECONDS:.3f} s',
            'it ends before it starts',
            'Exchange the two',
        )
    return Interval(start_ns, end_ns)


def filter_of(request: Any) -> Filter:
    """Returns the filter of a Recall request; InvalidRequest for what makes no sense."""
    place = None
    if request.has_place:
        point = request.place.point
        place = Place(
            request.place.header.frame_id.lstrip('/'), point.x, point.y, float(request.radius)
        )
    known = {int(kind) for kind in Kind}
    unknown = [int(kind) for kind in request.kinds if int(kind) not in known]
    if unknown:
        raise InvalidRequest(
            f'kinds: {unknown}', 'they are no kinds of penguin_msgs/MemoryEntry', 'Give 0, 1 or 2'
        )
    return Filter(
        words=request.words,
        meaning=request.meaning,
        interval=interval_of(request),
        camera=request.camera,
        node=request.node,
        place=place,
        kinds=tuple(Kind(int(kind)) for kind in request.kinds),
        is_newest_first=request.is_newest_first,
        limit=int(request.limit) or DEFAULT_LIMIT,
        page=request.page,
    )


def probability_of(answer: Any, choice: str) -> float:
    """Returns the probability that an answer gives to one of its choices. A node that knows no
    choices answers in words: 1 where they begin with the choice, else 0.
    """
    wanted = choice.strip().lower()
    if not answer.choices:
        return float(re.match(rf'\W*{re.escape(wanted)}\b', answer.text.lower()) is not None)
    chances: Mapping[str, float] = dict(
        zip((each.strip().lower() for each in answer.choices), answer.probabilities, strict=False)
    )
    return float(chances.get(wanted, 0.0))
