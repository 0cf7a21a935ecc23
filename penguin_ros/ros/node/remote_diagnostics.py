# SPDX-License-Identifier: Apache-2.0
"""What diagnostics say about remote engines: an entry for each server. Values only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from penguin_ros.frame import NANOSECONDS
from penguin_ros.pipeline_status import RemoteStatus
from penguin_ros.remote.breaker import BreakerState
from penguin_ros.remote.line import EndpointStatus
from penguin_ros.ros.node.rule_diagnostics import Finding

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR


def remote_findings(remote: RemoteStatus | None, can_stand_in: bool) -> Iterator[Finding]:
    """Yields an entry per endpoint; `can_stand_in`: the node's own model answers when no server
    does.
    """
    if remote is None:
        return
    is_hopeless = all(each.state is BreakerState.OPEN for each in remote.endpoints)
    is_lost = is_hopeless and not can_stand_in
    counts = {
        'requests answered by servers': remote.answered,
        'requests that failed': remote.failed,
        'requests that the own model answered instead': remote.stood_in,
        'captions that came too late': remote.captions_late,
    }
    for server in remote.endpoints:
        level, text = _verdict(server, is_lost)
        yield Finding(f'remote engine {server.name}', level, text, _values(server) | counts)


def _verdict(server: EndpointStatus, is_lost: bool) -> tuple[bytes, str]:
    if server.state is BreakerState.OPEN:
        return ERROR if is_lost else WARN, f'left alone: {server.reason}'
    if server.state is BreakerState.TRIAL:
        return WARN, f'the next request is a trial; before: {server.reason}'
    if not server.dialect or not server.model:
        return WARN, server.reason or 'it has not said yet what it is'
    return OK, f'{server.model} answers, spoken to in {server.dialect}'


def _values(server: EndpointStatus) -> dict[str, Any]:
    return {
        'model': server.model,
        'dialect': server.dialect,
        'state': server.state.value,
        'answers': server.answers,
        'times left alone': server.times_opened,
        'round trip of the last check [s]': f'{server.round_trip_ns / NANOSECONDS:.4f}',
        'bytes sent': server.bytes_sent,
        'pictures sent': server.pictures_sent,
        'pictures that the server kept': server.pictures_named,
        **{f'failed: {cause}': count for cause, count in server.failures.items()},
    }
