# SPDX-License-Identifier: Apache-2.0
"""The parameters of the memory node: declared with text and range, read once, checked."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.validate_topic_name import validate_topic_name

from penguin_ros.errors import SettingError
from penguin_ros.memory.limits import StoreLimits
from penguin_ros.ros.conversions.parameters import declare, overrides_of, setting_descriptor
from penguin_ros.settings import setting, settings, with_values

NODES, FOLDER = 'nodes', 'folder'
DEFAULT_NODES = ['penguin']
DEFAULT_FOLDER = '~/.local/share/penguin_ros/memory'
# Declared by rclpy itself, or on demand.
_FOREIGN_PREFIXES = ('qos_overrides.', 'use_sim_time', 'start_type_description_service')


@dataclass(frozen=True)
class PoseConfig:
    """Where the robot was, by /tf."""

    map_frame: str = setting('map', 'Coordinate frame in which places are told.')
    base_frame: str = setting(
        'base_link', 'Coordinate frame of the robot; empty: no poses are looked for.'
    )
    tolerance: float = setting(
        0.5,
        'How far the nearest published transform may lie from the stamp; beyond that there is no '
        'pose.',
        unit='s',
        span=(0.0, 3600.0),
    )
    wait: float = setting(
        0.5,
        'How long a caption waits for the transforms of its stamp, on a steady clock.',
        unit='s',
        span=(0.0, 30.0),
    )
    keep: float = setting(
        60.0,
        'How many seconds of transforms are kept: longer than captions take.',
        unit='s',
        span=(1.0, 3600.0),
    )


@dataclass(frozen=True)
class PictureConfig:
    """A picture for each entry, of a frame that it is based on; none unless it is enabled."""

    enabled: bool = setting(
        False, 'Keep pictures. They can show people: see that those who are seen agree.'
    )
    size: int = setting(
        448, 'Longer side of a stored picture at most.', unit='pixels', span=(32, 4096)
    )
    quality: int = setting(80, 'JPEG quality of a stored picture.', span=(1, 100))
    rate: float = setting(
        5.0,
        'Frames per second that are taken from each camera while captions are waited for. A camera '
        'that is no faster loses none of the frames that captions name; of a faster one the '
        'nearest frame is kept.',
        unit='Hz',
        span=(0.1, 60.0),
    )
    period: float = setting(
        0.0,
        'At most one picture of each camera is stored in so many seconds; 0: one for each entry.',
        unit='s',
        span=(0.0, 86400.0),
    )
    keep: float = setting(
        30.0,
        'How many seconds of frames wait for the caption that names them.',
        unit='s',
        span=(1.0, 600.0),
    )
    max_bytes: int = setting(
        32_000_000,
        'Memory for frames that wait; the oldest go first.',
        unit='bytes',
        span=(100_000, 4e9),
    )


@dataclass(frozen=True)
class QueueConfig:
    """What has been heard and waits for the store."""

    length: int = setting(
        10_000, 'Entries that may wait; more are dropped, and counted.', span=(10, 1_000_000)
    )
    max_bytes: int = setting(
        64_000_000, 'Bytes of text and pictures that may wait.', unit='bytes', span=(1e5, 4e9)
    )
    max_characters: int = setting(
        20_000, 'Characters of a text that are kept; the rest is cut.', span=(100, 1_000_000)
    )


@dataclass(frozen=True)
class RecallConfig:
    """Searches."""

    meaning: bool = setting(
        True,
        'Find entries by what they mean, too, where the extra `meaning` is installed; words, time '
        'and place need nothing.',
    )


@dataclass(frozen=True)
class LookConfig:
    """Looking again at stored pictures, which a penguin node does."""

    deadline: float = setting(
        60.0, 'Longest time for a response that needs the model.', unit='s', span=(0.1, 3600.0)
    )
    question: str = setting(
        'Is there a {thing}?', 'What is asked when a thing is looked for; {thing} is its name.'
    )
    yes: str = setting('yes', 'The choice that says that the thing is there.')
    no: str = setting('no', 'The choice that says that it is not.')
    threshold: float = setting(
        0.5, 'Least probability of `yes` with which a thing is confirmed.', span=(0.0, 1.0)
    )
    max_looks: int = setting(
        8, 'Entries that are looked at again, at most, to find where a thing was.', span=(1, 100)
    )


@dataclass(frozen=True)
class SummaryConfig:
    """Summaries, which a penguin node writes from captions."""

    max_prompts: int = setting(
        32, 'Prompts that a summary may take where its goal names no number.', span=(1, 10_000)
    )
    prompt_characters: int = setting(
        3500,
        'Characters of captions in one prompt; the penguin node takes question.max_characters in '
        'all.',
        span=(200, 100_000),
    )
    max_tokens: int = setting(160, 'Longest part of a summary.', unit='tokens', span=(8, 4096))


@dataclass(frozen=True)
class MemoryNodeConfig:
    """Every parameter of the memory node but `nodes` and `folder`; none changes while it runs."""

    store: StoreLimits = field(default_factory=StoreLimits)
    pose: PoseConfig = field(default_factory=PoseConfig)
    picture: PictureConfig = field(default_factory=PictureConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    recall: RecallConfig = field(default_factory=RecallConfig)
    look: LookConfig = field(default_factory=LookConfig)
    summary: SummaryConfig = field(default_factory=SummaryConfig)


@dataclass(frozen=True)
class MemoryParameters:
    """`nodes` are the full names of the penguin nodes that are listened to; the store lies in
    `folder`.
    """

    nodes: tuple[str, ...]
    folder: Path
    config: MemoryNodeConfig


def memory_parameters(node: Node) -> MemoryParameters:
    """Declares the parameters and reads them; SettingError when one does not fit."""
    known = settings(MemoryNodeConfig())
    when = 'Cannot change while the node runs.'
    for name, (default, facts) in known.items():
        declare(node, name, default, setting_descriptor(default, facts, when, is_read_only=True))
    nodes = ParameterDescriptor(
        read_only=True,
        dynamic_typing=True,  # an empty list arrives without a type
        description=f'Penguin nodes that are listened to, relative or full names. {when}',
    )
    declare(node, NODES, DEFAULT_NODES, nodes)
    folder = ParameterDescriptor(
        read_only=True,
        description=f'Folder of the store, which is made where there is none. {when}',
    )
    declare(node, FOLDER, DEFAULT_FOLDER, folder)
    config = with_values(
        MemoryNodeConfig(), {name: node.get_parameter(name).value for name in known}
    )
    _check(config)
    for warning in _unread(node, [*known, NODES, FOLDER]):
        node.get_logger().warning(warning)
    nodes_given = _node_names(node, node.get_parameter(NODES).value)
    path = Path(os.path.expandvars(str(node.get_parameter(FOLDER).value))).expanduser()
    return MemoryParameters(nodes_given, path, config)


def _check(config: MemoryNodeConfig) -> None:
    if '{thing}' not in config.look.question:
        raise SettingError(
            f'look.question = {config.look.question!r}',
            'it has no {thing}, so that every thing would be asked for alike',
            'Give a question such as: Is there a {thing}?',
        )


def _node_names(node: Node, value: Any) -> tuple[str, ...]:
    given = [] if value is None else [value] if isinstance(value, str) else list(value)
    if not given:
        raise SettingError('nodes is empty', 'there is nobody to listen to', 'Give: [penguin]')
    names = []
    for name in given:
        try:
            validate_topic_name(str(name))
        except InvalidTopicNameException as error:
            raise SettingError(
                f'nodes = {given!r}', ' '.join(str(error).split()), 'Name nodes like /robot/penguin'
            ) from error
        full = name if name.startswith('/') else f'{node.get_namespace().rstrip("/")}/{name}'
        names.append(full)
    if len(set(names)) != len(names):
        raise SettingError(f'nodes = {given!r}', 'a name occurs twice')
    return tuple(names)


def _unread(node: Node, known: list[str]) -> list[str]:
    """Returns a sentence for each parameter that the node was started with and nothing reads."""
    warnings = []
    for name in overrides_of(node):
        if name in known or name.startswith(_FOREIGN_PREFIXES):
            continue
        near = difflib.get_close_matches(name, known, 1, 0.5)
        advice = f'Did you mean {near[0]}?' if near else 'docs/memory_node.md lists them all'
        warnings.append(f'nothing reads the parameter {name}. {advice}')
    return warnings
