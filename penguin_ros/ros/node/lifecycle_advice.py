# SPDX-License-Identifier: Apache-2.0
"""Says how a node comes from its lifecycle state to another one, as commands that can be typed."""

from __future__ import annotations

from penguin_ros.errors import Inactive

FINALIZED = 'finalized'
START_AGAIN = 'Start the node again: nothing brings it back from finalized'
_UNDER_WAY = {
    'configuring': 'the model is being loaded',
    'activating': 'it is being activated',
    'cleaningup': 'its model is being freed',
    'shuttingdown': 'it shuts down',
}


def without_model(node: str, state: str) -> Inactive:
    """Returns the error for a question to a node without a model; `node` is its full name."""
    what = 'the node has no model loaded'
    if state == FINALIZED:
        return Inactive(what, 'it was shut down', START_AGAIN)
    if state in _UNDER_WAY:
        return Inactive(what, _UNDER_WAY[state], 'Ask again when that is done')
    return Inactive(what, 'it is not configured', f'Type: {typed(node, "configure", "activate")}')


def to_change(node: str, state: str) -> str:
    """Returns what to do before a parameter can be set that only an unconfigured node takes."""
    if state == FINALIZED:
        return START_AGAIN
    if state in _UNDER_WAY:
        return f'Try again later: {_UNDER_WAY[state]}'
    first = ('deactivate', 'cleanup') if state == 'active' else ('cleanup',)
    return f'Type: {typed(node, *first)}; set it, then configure and activate the node again'


def to_reload(node: str, state: str) -> str:
    """Returns what loads the model of an active or inactive node again."""
    first = ('deactivate', 'cleanup') if state == 'active' else ('cleanup',)
    return f'Type: {typed(node, *first, "configure", "activate")}'


def typed(node: str, *transitions: str) -> str:
    """Returns the shell command that makes these transitions, one after the other."""
    return ' && '.join(f'ros2 lifecycle set {node} {transition}' for transition in transitions)
