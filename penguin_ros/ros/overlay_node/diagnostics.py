# SPDX-License-Identifier: Apache-2.0
"""What the overlay node says on `/diagnostics`, once per second: whether it hears the penguin node,
what it draws and what it dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from penguin_ros.text import cleaned, counted

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN


@dataclass(frozen=True)
class OverlaySnapshot:
    """The overlay node at one moment. `cameras` are counts by camera and cause, `topics` those of
    the cameras that are subscribed to, `packages` what became of each foreign package.
    """

    name: str
    stamp: Any
    node: str
    is_heard: bool
    cameras: Mapping[str, Mapping[str, int]]
    topics: Mapping[str, str]
    left_out: int
    packages: Mapping[str, str]
    faults: Mapping[str, int]
    last_fault: str
    warnings: tuple[str, ...]


def diagnostic_array(snapshot: OverlaySnapshot) -> DiagnosticArray:
    """Returns the one entry, whose name begins with the node's."""
    level, text = _judged(snapshot)
    values: dict[str, Any] = {'node': snapshot.node, **snapshot.packages}
    for camera, counts in snapshot.cameras.items():
        values[f'{camera}: topic'] = snapshot.topics.get(camera, 'nobody looks')
        values |= {f'{camera}: {what}': count for what, count in sorted(counts.items())}
    values |= dict(snapshot.faults)
    entry = DiagnosticStatus(
        name=f'{snapshot.name}: overlays',
        level=level,
        message=cleaned(text),
        values=[KeyValue(key=key, value=cleaned(str(value))) for key, value in values.items()],
    )
    message = DiagnosticArray(status=[entry])
    message.header.stamp = snapshot.stamp
    return message


def _judged(snapshot: OverlaySnapshot) -> tuple[bytes, str]:
    if snapshot.warnings:
        return WARN, '; '.join(snapshot.warnings)
    if snapshot.faults:
        return WARN, f'a fault: {snapshot.last_fault}'
    if not snapshot.is_heard:
        return WARN, f'no node {snapshot.node} publishes its status: is the parameter `node` right?'
    if snapshot.left_out:
        return WARN, f'{counted(snapshot.left_out, "camera")} left out: too many'
    return OK, f'draws over {counted(len(snapshot.topics), "camera")}'
