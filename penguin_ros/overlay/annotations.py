# SPDX-License-Identifier: Apache-2.0
"""An arrangement as foxglove_msgs/ImageAnnotations, of whichever classes stand for its messages:
those of ROS, or those with which a recording is written.
"""

from __future__ import annotations

from typing import Any

from penguin_ros.overlay.arrangement import Arrangement, PlacedLine
from penguin_ros.overlay.painter import BORDER, COLOURS, DARKNESS, Colour

LINE_LOOP = 2
"""PointsAnnotation.LINE_LOOP: a closed line."""


def image_annotations(messages: Any, arrangement: Arrangement, stamp: Any) -> Any:
    """Returns ImageAnnotations for the frame of a stamp, a builtin_interfaces/Time; empty where
    nothing is said, so that what was said of the frame before is not left standing.

    `messages` has the classes of foxglove_msgs by name. Only fields that all its versions have are
    set.
    """
    return messages.ImageAnnotations(
        circles=[],
        points=[_border(messages, arrangement, stamp)] if arrangement.is_alarm else [],
        texts=[
            _text(messages, line, arrangement.text_size, stamp)
            for panel in arrangement.panels
            for line in panel.lines
        ],
    )


def _text(messages: Any, line: PlacedLine, size: int, stamp: Any) -> Any:
    return messages.TextAnnotation(
        timestamp=stamp,
        position=messages.Point2(x=float(line.left), y=float(line.bottom)),
        text=line.text,
        font_size=float(size),
        text_color=_colour(messages, COLOURS[line.tone]),
        background_color=_colour(messages, (0, 0, 0), DARKNESS),
    )


def _border(messages: Any, arrangement: Arrangement, stamp: Any) -> Any:
    half = arrangement.border / 2
    right, bottom = arrangement.width - half, arrangement.height - half
    corners = ((half, half), (right, half), (right, bottom), (half, bottom))
    return messages.PointsAnnotation(
        timestamp=stamp,
        type=LINE_LOOP,
        points=[messages.Point2(x=x, y=y) for x, y in corners],
        outline_color=_colour(messages, BORDER),
        outline_colors=[],
        fill_color=_colour(messages, (0, 0, 0), 0.0),
        thickness=float(arrangement.border),
    )


def _colour(messages: Any, colour: Colour, alpha: float = 1.0) -> Any:
    red, green, blue = (channel / 255 for channel in colour)
    return messages.Color(r=red, g=green, b=blue, a=alpha)
