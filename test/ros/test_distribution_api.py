# SPDX-License-Identifier: Apache-2.0
"""Everything that this package uses of rclpy, launch and the message packages exists in Humble,
Jazzy, Kilted, Lyrical and Rolling, by the table test/support/distribution_api.json.

Only Jazzy is ever run here. A use that some distribution lacks has to stand behind a try or a
hasattr, and in GUARDED with its reason. A name that the table does not have is to be looked up in
the sources of all five and entered.
"""

from __future__ import annotations

import importlib
import inspect
import os
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from support import distribution_api
from support.distribution_api import DISTRIBUTIONS, call_faults, is_known, lacking, parameters
from support.ros_uses import NODE, is_about_ros, own_names, ros_uses

ROOT = Path(__file__).resolve().parents[2]
EVENTS = 'penguin_ros/ros/camera_input/camera_input.py'
OLDER, NEWER = 'Humble calls the module qos_event', 'later ones call the module event_handler'
GUARDED = {
    (EVENTS, 'rclpy.event_handler.SubscriptionEventCallbacks'): OLDER,
    (EVENTS, 'rclpy.event_handler.UnsupportedEventTypeError'): OLDER,
    (EVENTS, 'rclpy.qos_event.SubscriptionEventCallbacks'): NEWER,
    (EVENTS, 'rclpy.qos_event.UnsupportedEventTypeError'): NEWER,
    (
        'penguin_ros/ros/client/session.py',
        f'{NODE}.get_action_names_and_types',
    ): 'before Lyrical only the function has it, which is deprecated since',
    (
        'penguin_ros/ros/process/distribution.py',
        'rclpy.subscription.Subscription.CallbackType',
    ): 'its absence tells Humble',
}
PRIVATE = {
    f'{NODE}._parameter_overrides': 'nothing public tells what parameters a node is started with',
    'rclpy.lifecycle.LifecycleNodeMixin._service_change_state': 'transitions run beside the '
    'executor; its callback is a plain attribute that rclpy reads at each request',
    'rclpy.lifecycle.LifecycleNodeMixin._state_machine': 'the state without a request to itself',
    'rclpy.lifecycle.LifecycleNodeMixin._state_machine.current_state': 'a pair of number and label',
    'rclpy.lifecycle.LifecycleNodeMixin._state_machine.available_transitions': 'what would be '
    'refused is told before: rclpy raises, or since Kilted logs, in words of its own',
}
"""What is used of rclpy's private names, with the reason; all five distributions have them."""


def checked_files() -> list[str]:
    """The files that may use ROS: of the rooms that do, and whatever else imports it."""
    rooms = [f'penguin_ros/{room}' for room in ('ros', 'demo', 'cli', 'doctor')]
    files = [
        path
        for folder in (*rooms, 'penguin_ros', 'launch', 'examples')
        for path in sorted((ROOT / folder).rglob('*.py'))
        if folder in rooms or is_about_ros(path.read_text())
    ]
    return list(dict.fromkeys(str(path.relative_to(ROOT)) for path in files))


@lru_cache(maxsize=1)
def names_of_our_nodes() -> frozenset[str]:
    """What our nodes have besides what they inherit."""
    files = ('node/penguin_node', 'camera_node/camera_node', 'sim_camera/sim_camera')
    texts = [(ROOT / f'penguin_ros/ros/{name}.py').read_text() for name in files]
    return frozenset().union(*map(own_names, texts))


def problems(source: str, file: str = 'made_up.py') -> list[str]:
    """Returns what some distribution would not stand in a file."""
    told = []
    for use in ros_uses(source, names_of_our_nodes()):
        at = f'{file}:{use.line}: {use.name}'
        if not is_known(use.name):
            told.append(f'{at} is not in the table')
            continue
        missing = lacking(use.name)
        if missing and not use.is_guarded:
            told.append(f'{at} is missing on {", ".join(missing)} and stands behind no guard')
        elif missing and (file, use.name) not in GUARDED:
            told.append(f'{at} is missing on {", ".join(missing)}; GUARDED has no reason for it')
        told += [
            f'{file}:{use.line}: {fault}'
            for fault in call_faults(use.name, use.positional, use.keywords)
        ]
    return told


@pytest.mark.parametrize('file', checked_files())
def test_whatever_a_file_uses_of_ros_exists_in_all_distributions(file: str) -> None:
    assert problems((ROOT / file).read_text(), file) == []


def test_enough_is_found_to_say_so() -> None:
    used = {
        use.name
        for file in checked_files()
        for use in ros_uses((ROOT / file).read_text(), names_of_our_nodes())
    }
    assert len(used) > 180
    assert {
        f'{NODE}.create_subscription',
        'rclpy.action.ActionServer',
        'rclpy.lifecycle.LifecycleNodeMixin.trigger_configure',
        'rclpy.executors.SingleThreadedExecutor.spin_once',
        'rclpy.task.Future.set_result',
        'launch_ros.actions.Node',
        'sensor_msgs.msg.CameraInfo',
    } <= used
    private = {name for name in used if any(part[:1] == '_' for part in name.split('.'))}
    assert private == set(PRIVATE), 'private names change without notice: each needs its reason'
    assert not any(lacking(name) for name in private)


def test_every_guard_that_is_listed_is_needed_and_used() -> None:
    used = {
        (file, use.name)
        for file in {file for file, _ in GUARDED}
        for use in ros_uses((ROOT / file).read_text(), names_of_our_nodes())
    }
    assert set(GUARDED) <= used
    assert all(lacking(name) for _, name in GUARDED)


MISTAKES = {
    'a class attribute that Humble lacks': (
        'from rclpy.subscription import Subscription as Sub\nkind = Sub.CallbackType.MessageOnly',
        'Subscription.CallbackType is missing on humble',
    ),
    'a method of a parameter called node': (
        'def actions(node):\n    return node.get_action_names_and_types()',
        'get_action_names_and_types is missing on humble, jazzy, kilted',
    ),
    'a method that a class inherits': (
        'from rclpy.node import Node\nclass Mine(Node):\n    def actions(self):\n'
        '        return self.get_action_names_and_types()',
        'get_action_names_and_types is missing on humble, jazzy, kilted',
    ),
    'a method of an annotated attribute': (
        'from rclpy.client import Client\nclass Mine:\n    def __init__(self, one: Client):\n'
        '        self._one = one\n    def name(self):\n        return self._one.service_name',
        'Client.service_name is missing on humble',
    ),
    'a method of what another one returns': (
        'from rclpy.node import Node\ndef forget(one: Node):\n'
        '    one.get_clock().set_ros_time_override(None)',
        'Clock.set_ros_time_override is missing on humble, jazzy, kilted',
    ),
    'an import that Humble lacks': (
        'from rclpy.event_handler import SubscriptionEventCallbacks',
        'SubscriptionEventCallbacks is missing on humble and stands behind no guard',
    ),
    'an import that only Humble has': (
        'from rclpy.qos_event import SubscriptionEventCallbacks',
        'is missing on jazzy, kilted, lyrical, rolling',
    ),
    'a guard without a reason': (
        'def actions(node):\n    if hasattr(node, "get_action_names_and_types"):\n'
        '        return node.get_action_names_and_types()',
        'GUARDED has no reason for it',
    ),
    'a keyword argument that Humble lacks': (
        'from rclpy.client import Client\ndef ask(client: Client):\n'
        '    client.call(None, timeout_sec=1.0)',
        'rclpy.client.Client.call has no argument timeout_sec on humble',
    ),
    'an argument that older goals do not take': (
        'def end(goal, result):\n    goal.succeed(result)',
        'arguments of rclpy.action.server.ServerGoalHandle.succeed stand in another order',
    ),
    'arguments in the order of some distributions': (
        'from rclpy.timer import Timer\nTimer(print, None, 10)',
        'arguments of rclpy.timer.Timer stand in another order',
    ),
    'more arguments than there are': (
        'from rclpy.callback_groups import ReentrantCallbackGroup\nReentrantCallbackGroup(1)',
        'takes fewer arguments by position',
    ),
    'an argument of launch that Humble lacks': (
        'from launch_ros.actions import Node\nNode(package="p", respawn_max_retries=3)',
        'launch_ros.actions.Node has no argument respawn_max_retries on humble',
    ),
    'a field that a message does not have': (
        'from std_msgs.msg import Header\nHeader(seq=1)',
        'std_msgs.msg.Header has no argument seq on humble',
    ),
    'a private name': ('def services(node):\n    return node._services', 'not in the table'),
    'a name that nobody has looked up': ('from rclpy.node import Nod', 'not in the table'),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    source, told = MISTAKES[mistake]
    assert any(told in problem for problem in problems(source)), problems(source)


def test_what_all_have_is_no_mistake() -> None:
    source = (
        'import rclpy\nfrom rclpy.node import Node\nfrom rclpy.qos import QoSProfile\n'
        'from std_msgs.msg import String\n'
        'class Talker(Node):\n    def __init__(self):\n        super().__init__("talker")\n'
        '        self.topic = self.create_publisher(String, "chatter", QoSProfile(depth=1))\n'
        '        self.create_timer(1.0, self.talk)\n'
        '    def talk(self):\n        self.topic.publish(String(data=self.get_name()))\n'
        'rclpy.init()\nrclpy.spin(Talker())'
    )
    assert problems(source) == [] and len(ros_uses(source)) > 12


# --- the table against the ROS 2 that is installed ------------------------------------------------


def installed_distribution() -> str:
    """The distribution whose rclpy is installed, '' when there is none or another."""
    if os.environ.get('ROS_DISTRO'):
        return os.environ['ROS_DISTRO']
    try:
        major = version('rclpy').partition('.')[0]
    except PackageNotFoundError:
        return ''
    return dict(zip(('3', '7', '9', '10', '11'), DISTRIBUTIONS, strict=True)).get(major, '')


def looked_up(name: str) -> Any:
    """Returns what the name stands for; AttributeError or ImportError when nothing does."""
    parts = name.split('.')
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module('.'.join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ImportError(name)


def is_set_in_a_constructor(name: str) -> bool:
    """Returns whether the class of an attribute, or a base of it, sets it on self."""
    owner, _, attribute = name.rpartition('.')
    kinds = [kind for kind in looked_up(owner).__mro__ if kind.__module__.startswith('rclpy')]
    return any(f'self.{attribute}' in inspect.getsource(kind) for kind in kinds)


def rclpy_names() -> list[str]:
    one = installed_distribution()
    return [
        name
        for name in distribution_api.names()
        if one in DISTRIBUTIONS
        and parameters(name, one) is not None
        and not name.startswith('launch')
        and '_state_machine.' not in name  # of C++, without a class that has a name
    ]


def test_the_table_is_right_about_what_is_installed() -> None:
    if not rclpy_names():
        pytest.skip('none of the distributions of the table is installed')
    wrong = []
    for name in rclpy_names():
        try:
            found = looked_up(name)
        except (AttributeError, ImportError):
            if not is_set_in_a_constructor(name):
                wrong.append(f'{name} is missing')
            continue
        expected = parameters(name, installed_distribution())
        if expected and not _is_message(name) and not name.endswith('QoSProfile'):
            wrong += _differences(name, found, expected)
    assert wrong == []


def _is_message(name: str) -> bool:
    return name.partition('.')[0] != 'rclpy'


def _differences(name: str, found: Any, expected: list[str]) -> list[str]:
    function = found.__new__ if name == 'rclpy.clock.Clock' else found
    actual = inspect.signature(function).parameters
    wanted = [part.lstrip('*') for part in expected if part != '*']
    return [f'{name} has no {part}' for part in wanted if part not in actual]


def test_the_private_names_do_what_they_are_used_for() -> None:
    """A node reads the callback of `change_state` at each request, and tells state and transitions
    by number and label.
    """
    pytest.importorskip('rclpy', reason='no ROS 2 here')
    from rclpy.lifecycle import LifecycleNodeMixin
    from rclpy.node import Node
    from support.graph import Domain, ros_context

    class Lifecycle(LifecycleNodeMixin, Node):
        def __init__(self, context: Any) -> None:
            Node.__init__(self, 'private', context=context)
            LifecycleNodeMixin.__init__(self)

    domain = Domain()
    with ros_context(domain, '-p', 'speed:=3') as context:
        node = Lifecycle(context)
        assert node._parameter_overrides['speed'].value == 3
        assert node._state_machine.current_state == (1, 'unconfigured')
        transitions = [item[:2] for item in node._state_machine.available_transitions]
        assert (1, 'configure') in transitions and (3, 'activate') not in transitions
        assert node._service_change_state.callback is not None
        node._service_change_state.callback = print
        assert node._service_change_state in node.services
        node.destroy_node()
    domain.close()
