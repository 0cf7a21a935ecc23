# SPDX-License-Identifier: Apache-2.0
"""Publishes `/diagnostics` once per second of a steady clock: the store, what is heard, poses and
pictures have an entry each.

Everything runs on the executor's thread. What the store says of itself is asked for on a thread of
the background, since that reads the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from penguin_ros.memory.store import StoreStats
from penguin_ros.text import cleaned

PERIOD_S = 1.0
STATS_PERIOD_S = 5.0

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(frozen=True)
class MemorySnapshot:
    """The memory node at one moment.

    `new_errors` and `new_drops` are those of the last STATS_PERIOD_S. `missing` are penguin nodes
    that publish nothing. `counts` and `picture_counts` are by cause; `problem` says why the last
    entry has no pose; `failures` are those of the recorder.
    """

    name: str
    stamp: Any
    folder: str
    stats: StoreStats | None = None
    new_errors: int = 0
    new_drops: int = 0
    missing: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    waiting: tuple[int, int] = (0, 0)
    counts: Mapping[str, int] = field(default_factory=dict)
    failure: str = ''
    reader: str = ''
    reader_state: str = ''
    problem: str = ''
    pose_frames: tuple[str, str] = ('', '')
    pose_values: Mapping[str, Any] = field(default_factory=dict)
    is_taking_pictures: bool = False
    picture_counts: Mapping[str, int] = field(default_factory=dict)
    pictures_waiting: tuple[int, int] = (0, 0)
    faults: Mapping[str, int] = field(default_factory=dict)
    last_fault: str = ''
    warnings: tuple[str, ...] = ()


def diagnostic_array(snapshot: MemorySnapshot) -> DiagnosticArray:
    """Returns all entries; their names begin with the node's."""
    judges: tuple[Callable[[MemorySnapshot], DiagnosticStatus], ...] = (
        _store,
        _heard,
        _pose,
        _pictures,
        _node,
    )
    message = DiagnosticArray(status=[judge(snapshot) for judge in judges])
    message.header.stamp = snapshot.stamp
    return message


def _entry(
    snapshot: MemorySnapshot, task: str, level: bytes, text: str, values: Mapping[str, Any]
) -> DiagnosticStatus:
    return DiagnosticStatus(
        name=f'{snapshot.name}: {task}',
        level=level,
        message=cleaned(text),
        values=[KeyValue(key=key, value=cleaned(str(value))) for key, value in values.items()],
    )


def _store(snapshot: MemorySnapshot) -> DiagnosticStatus:
    stats = snapshot.stats
    values: dict[str, Any] = {'folder': snapshot.folder}
    if stats is None:
        return _entry(snapshot, 'store', OK, 'opened', values)
    values |= {
        **{f'entries: {kind}': count for kind, count in stats.entries.items()},
        **{f'bytes: {kind}': count for kind, count in stats.bytes.items()},
        'pictures': stats.pictures,
        'bytes of pictures': stats.picture_bytes,
        'bytes of the database': stats.database_bytes,
        'sessions': stats.sessions,
        'entries that wait for the disk': stats.waiting,
        'entries dropped': stats.dropped,
        'entries that came twice': stats.duplicates,
        'texts cut': stats.cut_texts,
        **{f'errors: {what}': count for what, count in stats.errors.items()},
        'last error': stats.last_error,
    }
    if snapshot.new_errors or snapshot.new_drops:
        text = f'the memory is not written: {stats.last_error or "its disk is too slow"}'
        return _entry(snapshot, 'store', ERROR, text, values)
    total = sum(stats.entries.values())
    notes = [stats.note] if stats.note else []
    if stats.dropped:
        notes.append(f'{stats.dropped} entries were lost since the start')
    level = WARN if notes else OK
    return _entry(snapshot, 'store', level, '; '.join([f'{total} entries', *notes]), values)


def _heard(snapshot: MemorySnapshot) -> DiagnosticStatus:
    entries, size = snapshot.waiting
    values = {
        'nodes': ' '.join(snapshot.nodes),
        'entries that wait': entries,
        'bytes that wait': size,
        **snapshot.counts,
    }
    dropped = sum(
        count for cause, count in snapshot.counts.items() if cause.startswith('dropped: queue')
    )
    if snapshot.failure:
        return _entry(snapshot, 'heard', ERROR, f'not stored: {snapshot.failure}', values)
    if dropped:
        text = f'{dropped} entries were dropped, since too many waited for the store'
        return _entry(snapshot, 'heard', ERROR, text, values)
    if snapshot.missing:
        text = f'nothing publishes captions as {", ".join(snapshot.missing)}'
        return _entry(snapshot, 'heard', WARN, text, values)
    return _entry(snapshot, 'heard', OK, f'listening to {", ".join(snapshot.nodes)}', values)


def _pose(snapshot: MemorySnapshot) -> DiagnosticStatus:
    map_frame, base_frame = snapshot.pose_frames
    values = {'reader': snapshot.reader, **snapshot.pose_values}
    if not base_frame:
        return _entry(snapshot, 'pose', OK, 'poses are not wanted (pose.base_frame)', values)
    if snapshot.reader_state:
        text = f'no poses: {snapshot.reader_state}'
        return _entry(snapshot, 'pose', WARN, text, values)
    if snapshot.problem:
        return _entry(snapshot, 'pose', WARN, f'no pose: {snapshot.problem}', values)
    text = f'poses of {base_frame} in {map_frame}, read by {snapshot.reader}'
    return _entry(snapshot, 'pose', OK, text, values)


def _pictures(snapshot: MemorySnapshot) -> DiagnosticStatus:
    if not snapshot.is_taking_pictures:
        return _entry(snapshot, 'pictures', OK, 'no pictures are kept (picture.enabled)', {})
    count, size = snapshot.pictures_waiting
    values = {
        'frames that wait for a caption': count,
        'bytes of them': size,
        **snapshot.picture_counts,
    }
    lost = snapshot.picture_counts.get('frames dropped', 0)
    text = f'{lost} frames were dropped, since too many waited' if lost else 'pictures are kept'
    return _entry(snapshot, 'pictures', WARN if lost else OK, text, values)


def _node(snapshot: MemorySnapshot) -> DiagnosticStatus:
    faults = sum(snapshot.faults.values())
    texts = [*snapshot.warnings]
    if faults:
        texts.insert(0, f'{faults} exceptions, the last: {snapshot.last_fault}; see the log')
    level = ERROR if faults else WARN if texts else OK
    return _entry(snapshot, 'node', level, '; '.join(texts) or 'nothing to report', snapshot.faults)
