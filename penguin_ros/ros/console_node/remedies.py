# SPDX-License-Identifier: Apache-2.0
"""What mends what is wrong: the command to type for each cause that nodes tell, and the status of a
node in words. Values only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

OK, WARN, ERROR = 0, 1, 2

LAST_RESORT = 'penguin doctor'
_TYPED = re.compile(r'Type: (.+?)(?:; |$)')
_STALE_AFTER = re.compile(r'set watch\.stale_after to (\d+) s')
_MODULE = re.compile(r"No module named '(\w+)'")

_OF_TOPICS = {
    'no_publisher': 'ros2 topic info -v {topic}',
    'wrong_type': 'ros2 topic info -v {topic}',
    'qos': 'ros2 topic info -v {topic}',
    'transport': 'ros2 topic hz {topic}',
    'silent': 'ros2 topic hz {topic}',
    'still': 'ros2 topic info -v {topic}',
    'slow': 'ros2 topic hz {topic}',
    'clock_jump': 'ros2 topic echo --once /clock',
    'clock_skew': 'ros2 topic echo --once --field header.stamp {topic}',
}
"""By cause of a camera, as its diagnosis has it."""

_OF_TASKS = {
    'rule': 'penguin rules list --node {node}',
    'queue': 'ros2 topic echo --once {node}/status',
    'heard': 'ros2 node list',
    'pose': 'ros2 topic info -v /tf',
    'store': 'df -h {folder}',
}
"""By the first word of what a diagnosis is about."""


def remedy(name: str, level: int, message: str, values: Mapping[str, str]) -> str:
    """Returns the command for a diagnosis called `name`, as `/node: task`; empty where all is well.
    A command that the message names itself goes before.
    """
    if level == OK:
        return ''
    node, _, task = name.partition(': ')
    for pattern, command in (
        (_TYPED, '{}'),
        (_STALE_AFTER, f'ros2 param set {node} watch.stale_after {{}}.0'),
        (_MODULE, 'sudo apt install ros-$ROS_DISTRO-{}'),
    ):
        found = pattern.search(message)
        if found:
            return command.format(found.group(1).replace('_', '-') if '$' in command else found[1])
    word = 'rule' if task.startswith('rule') else task.partition(' ')[0]
    topic = values.get('topic', '')
    if word == 'camera' and topic:
        default = 'ros2 topic echo --once --no-arr {topic}'
        return _OF_TOPICS.get(values.get('cause', ''), default).format(topic=topic)
    folder = values.get('folder', '.')
    return _OF_TASKS.get(word, LAST_RESORT).format(node=node, folder=folder)


def silence_in_words(node: str, silent_s: float) -> dict[str, Any]:
    """Returns the diagnosis of a node that has published no status for a while."""
    return {
        'name': f'{node}: status',
        'level': ERROR,
        'message': f'nothing was heard of it for {silent_s:.0f} s: it was stopped, or it hangs',
        'values': [],
        'remedy': LAST_RESORT,
    }


def status_in_words(node: str, status: Any) -> dict[str, Any]:
    """Returns a penguin_msgs/Status as a diagnosis for the page: what the node does, what it has
    done, and what switches on what is off.
    """
    texts, remedies = [], []
    if status.lifecycle_state != 'active':
        texts.append(f'it is {status.lifecycle_state} and answers no question')
        first = ('configure',) if status.lifecycle_state == 'unconfigured' else ()
        remedies += [f'ros2 lifecycle set {node} {word}' for word in (*first, 'activate')]
    elif not status.is_captioning_enabled:
        texts.append('captions are switched off')
        remedies.append(f'ros2 service call {node}/enable std_srvs/srv/SetBool "{{data: true}}"')
    done = (
        f'{status.captions_published} captions, {status.questions_answered} questions answered, '
        f'{status.questions_refused} refused, {status.questions_failed} failed, '
        f'{status.questions_queued} waiting'
    )
    values = [['done since it was configured', done]]
    if status.last_error_message:
        values.append(['last error', status.last_error_message])
    return {
        'name': f'{node}: status',
        'level': WARN if texts else OK,
        'message': '; '.join([*texts, done]),
        'values': values,
        'remedy': ' && '.join(remedies),
    }
