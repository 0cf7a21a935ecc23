# SPDX-License-Identifier: Apache-2.0
"""The parameters of the overlay node: declared with text and range, read once, checked."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from penguin_ros.errors import SettingError
from penguin_ros.overlay.fonts import font
from penguin_ros.overlay.lines import ALL, EVENTS, NONE
from penguin_ros.ros.conversions.parameters import (
    checked_topic,
    declare,
    overrides_of,
    setting_descriptor,
)
from penguin_ros.settings import setting, settings, with_values

NODE, DEFAULT_NODE = 'node', 'penguin'
NEARNESS = 0.75  # how like a name is that is taken for a slip; 1 is equal
# Declared by rclpy itself, or on demand.
_FOREIGN_PREFIXES = ('qos_overrides.', 'use_sim_time', 'start_type_description_service')


@dataclass(frozen=True)
class PictureConfig:
    """The picture with everything drawn on it."""

    rate: float = setting(
        15.0,
        'Pictures per second that are drawn for each camera at most; 0: every frame. Annotations '
        'are made for every frame, whatever it is.',
        unit='Hz',
        span=(0.0, 1000.0),
    )
    quality: int = setting(80, 'JPEG quality of the compressed picture.', span=(1, 100))


@dataclass(frozen=True)
class TextConfig:
    """What text looks like."""

    max_age: float = setting(
        10.0,
        'A caption is drawn faint when the newest frame it is about is older than this.',
        unit='s',
        span=(0.0, 86400.0),
    )
    size: float = setting(
        0.045, "Height of the letters as a share of the picture's height.", span=(0.01, 0.3)
    )
    font: str = setting(
        '',
        'TrueType file to draw with, for texts in other than Latin letters; empty: one that comes '
        'with Pillow.',
    )


@dataclass(frozen=True)
class RulesConfig:
    """The states of rules."""

    show: str = setting(
        EVENTS,
        'Which rules are named: those that hold, may hold or cannot be told (events), all, or '
        'none.',
        choices=(EVENTS, ALL, NONE),
    )
    count: int = setting(6, 'How many rules are named at most.', span=(1, 100))


@dataclass(frozen=True)
class OverlayConfig:
    """Every parameter of the overlay node but `node`; none changes while it runs."""

    picture: PictureConfig = field(default_factory=PictureConfig)
    text: TextConfig = field(default_factory=TextConfig)
    rules: RulesConfig = field(default_factory=RulesConfig)


@dataclass(frozen=True)
class OverlayParameters:
    """`node` is the full name of the penguin node that is listened to."""

    node: str
    config: OverlayConfig


def overlay_parameters(node: Node) -> OverlayParameters:
    """Declares the parameters and reads them; SettingError when one does not fit."""
    known = settings(OverlayConfig())
    when = 'Cannot change while the node runs.'
    for name, (default, facts) in known.items():
        declare(node, name, default, setting_descriptor(default, facts, when, is_read_only=True))
    text = f'The penguin node that is listened to, its relative or full name. {when}'
    declare(node, NODE, DEFAULT_NODE, ParameterDescriptor(read_only=True, description=text))
    config = with_values(OverlayConfig(), {name: node.get_parameter(name).value for name in known})
    _check_font(config.text.font)
    for warning in _unread(node, [*known, NODE]):
        node.get_logger().warning(warning)
    name = checked_topic(NODE, node.get_parameter(NODE).value)
    full = name if name.startswith('/') else f'{node.get_namespace().rstrip("/")}/{name}'
    return OverlayParameters(full, config)


def _check_font(path: str) -> None:
    try:
        font(12, path)
    except OSError as error:
        raise SettingError(
            f'text.font = {path!r}', str(error), 'Give a TrueType file: fc-list shows those here'
        ) from error


def _unread(node: Node, known: list[str]) -> list[str]:
    """Returns a sentence for each parameter that the node was started with and that looks like a
    slip: a parameter file is often that of several nodes.
    """
    warnings = []
    for name in overrides_of(node):
        if name not in known and not name.startswith(_FOREIGN_PREFIXES):
            near = difflib.get_close_matches(name, known, 1, NEARNESS)
            warnings += [
                f'nothing reads the parameter {name}. Did you mean {each}?' for each in near
            ]
    return warnings
