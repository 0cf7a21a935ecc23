# SPDX-License-Identifier: Apache-2.0
"""Messages of packages that are used where they are installed and not asked for where they are not:
foxglove_msgs and rviz_2d_overlay_msgs. They are imported when the node starts.
"""

from __future__ import annotations

import html
import importlib
from dataclasses import dataclass
from typing import Any

from rclpy.type_support import check_is_valid_msg_type
from std_msgs.msg import ColorRGBA

from penguin_ros.overlay.lines import Overlay
from penguin_ros.overlay.painter import COLOURS, DARKNESS

FOXGLOVE, RVIZ_2D = 'foxglove_msgs', 'rviz_2d_overlay_msgs'
TEXT_POINTS = 12
TEXT_WIDTH, TEXT_HEIGHT = 640, 160
TEXT_DISTANCE = 12
"""Of the text in RViz from the upper left corner of its window, in pixels."""


@dataclass(frozen=True)
class ForeignPackage:
    """A message package: its module, or why there is none."""

    name: str
    module: Any
    reason: str


def foreign_package(name: str, message: str) -> ForeignPackage:
    """Imports a message package, of which `message` is used."""
    try:
        module = importlib.import_module(f'{name}.msg')
        check_is_valid_msg_type(getattr(module, message))  # loads the generated library
    except ImportError:
        dashed = name.replace('_', '-')
        why = f'{name} is not installed. Type: sudo apt install ros-$ROS_DISTRO-{dashed}'
        return ForeignPackage(name, None, why)
    except Exception as error:  # a library that does not fit shows in many ways
        return ForeignPackage(name, None, f'{name} cannot be used: {error}')
    return ForeignPackage(name, module, '')


def overlay_text_message(messages: Any, overlay: Overlay, camera: str) -> Any:
    """Returns rviz_2d_overlay_msgs/OverlayText, whose text RViz reads as HTML: each line in its
    colour. `messages` is the module rviz_2d_overlay_msgs.msg.
    """
    kind = messages.OverlayText
    lines = [
        f'<span style="color: #{bytes(COLOURS[line.tone]).hex()};">{html.escape(line.text)}</span>'
        for line in overlay.lines
    ]
    return kind(
        action=kind.ADD if lines else kind.DELETE,
        width=TEXT_WIDTH,
        height=TEXT_HEIGHT,
        horizontal_distance=TEXT_DISTANCE,
        vertical_distance=TEXT_DISTANCE,
        horizontal_alignment=kind.LEFT,
        vertical_alignment=kind.TOP,
        bg_color=ColorRGBA(a=DARKNESS),
        fg_color=ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0),
        text_size=float(TEXT_POINTS),
        text='\n'.join([html.escape(camera), *lines]) if lines else '',
    )
