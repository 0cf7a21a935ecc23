# SPDX-License-Identifier: Apache-2.0
"""The parameters of the record node: declared with text and range, read once, checked."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from penguin_ros.ros.conversions.parameters import checked_topic, declare, setting_descriptor
from penguin_ros.settings import setting, settings, with_values

NODE, FOLDER, TOPICS, OVERLAY = 'node', 'folder', 'topics', 'overlay'
SAME, COMPRESSED, NONE = 'same', 'compressed', 'none'
DEFAULT_NODE, DEFAULT_OVERLAY = 'penguin', 'overlay'
DEFAULT_TOPICS = ['/tf', '/tf_static', '/diagnostics']
READ_ONLY = 'Cannot change while the node runs.'


@dataclass(frozen=True)
class PictureConfig:
    """Which pictures are recorded."""

    transport: str = setting(
        SAME,
        'same: the topic that the penguin node takes, so that a replay gives the same captions; '
        'compressed: the compressed one beside it, which is smaller; none: no pictures.',
        choices=(SAME, COMPRESSED, NONE),
    )


@dataclass(frozen=True)
class NoteConfig:
    """Annotations of each picture for Foxglove."""

    enabled: bool = setting(True, 'Write foxglove_msgs/ImageAnnotations for each picture.')
    wait: float = setting(
        6.0,
        'How long a picture waits for the caption about it, by stamps; after that it shows the '
        'newest caption of before.',
        unit='s',
        span=(0.0, 600.0),
    )


@dataclass(frozen=True)
class QueueConfig:
    """What has been heard and waits for the disk."""

    max_bytes: int = setting(
        256_000_000,
        'Bytes that may wait; more are dropped and counted, pictures first.',
        unit='bytes',
        span=(32_000_000, 16e9),
    )


@dataclass(frozen=True)
class RecordConfig:
    """Every parameter of the record node but the names; none changes while it runs."""

    picture: PictureConfig = field(default_factory=PictureConfig)
    note: NoteConfig = field(default_factory=NoteConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)


@dataclass(frozen=True)
class RecordParameters:
    """`node` is the full name of the penguin node; `topics` are recorded besides its own;
    annotations are written as those of the overlay node `overlay`.
    """

    node: str
    overlay: str
    folder: Path
    topics: tuple[str, ...]
    config: RecordConfig


def record_parameters(node: Node) -> RecordParameters:
    """Declares the parameters and reads them; SettingError when one does not fit."""
    known = settings(RecordConfig())
    for name, (default, facts) in known.items():
        descriptor = setting_descriptor(default, facts, READ_ONLY, is_read_only=True)
        declare(node, name, default, descriptor)
    _declare_names(node)
    config = with_values(RecordConfig(), {name: node.get_parameter(name).value for name in known})
    given = node.get_parameter(FOLDER).value
    folder = given or time.strftime('penguin_%Y%m%d_%H%M%S')
    topics = [str(topic) for topic in node.get_parameter(TOPICS).value or () if topic]
    for topic in topics:
        checked_topic(TOPICS, topic)
    return RecordParameters(
        _full(node, NODE),
        _full(node, OVERLAY),
        Path(os.path.expandvars(folder)).expanduser(),
        tuple(topics),
        config,
    )


def _declare_names(node: Node) -> None:
    for name, default, text in (
        (NODE, DEFAULT_NODE, 'The penguin node that is recorded, its relative or full name.'),
        (OVERLAY, DEFAULT_OVERLAY, 'The overlay node as whose topics annotations are written.'),
        (FOLDER, '', 'Folder of the recording, a new one; empty: one named after the time.'),
        (TOPICS, DEFAULT_TOPICS, 'Full names of topics that are recorded besides its own.'),
    ):
        descriptor = ParameterDescriptor(
            read_only=True,
            dynamic_typing=name == TOPICS,  # an empty list arrives without a type
            description=f'{text} {READ_ONLY}',
        )
        declare(node, name, default, descriptor)


def _full(node: Node, parameter: str) -> str:
    name = checked_topic(parameter, node.get_parameter(parameter).value)
    return name if name.startswith('/') else f'{node.get_namespace().rstrip("/")}/{name}'
