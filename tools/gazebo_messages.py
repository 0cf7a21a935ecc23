# SPDX-License-Identifier: Apache-2.0
"""The few messages of Gazebo Classic 11 that are needed, read from and written in the wire format
of Protocol Buffers.

Field numbers are those of Gazebo's .proto files, which each function names.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Fields = dict[int, list['int | float | bytes']]
"""Values by field number, in their order."""

NANOSECONDS = 10**9
RGB_INT8 = 3  # of gazebo::common::Image::PixelFormat


class MalformedMessage(ValueError):
    """The bytes are no such message."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image of a camera: `stamp_ns` is the simulated time at which it was taken, `image` is
    (height, width, 3) uint8 RGB.
    """

    stamp_ns: int
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Poses:
    """(x, y, z) in metres by the name of the model, or of what is in it."""

    stamp_ns: int
    places: dict[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Publisher:
    """Who publishes a topic, and at which address."""

    topic: str
    kind: str
    host: str
    port: int


def fields_of(message: bytes) -> Fields:
    """Returns all fields of a message; MalformedMessage when it is none."""
    found: Fields = {}
    place = 0
    try:
        while place < len(message):
            key, place = _varint(message, place)
            value: int | float | bytes
            if key & 7 == 0:
                value, place = _varint(message, place)
            elif key & 7 == 1:
                value, place = struct.unpack_from('<d', message, place)[0], place + 8
            elif key & 7 == 2:
                length, place = _varint(message, place)
                value, place = message[place : place + length], place + length
            elif key & 7 == 5:
                value, place = struct.unpack_from('<f', message, place)[0], place + 4
            else:
                raise MalformedMessage(f'wire type {key & 7}')
            if place > len(message):
                raise MalformedMessage('cut off')
            found.setdefault(key >> 3, []).append(value)
    except (IndexError, struct.error) as error:
        raise MalformedMessage('cut off') from error
    return found


def text_field(number: int, value: str | bytes) -> bytes:
    """Returns a string or an embedded message as a field."""
    encoded = value.encode() if isinstance(value, str) else value
    return _as_varint(number << 3 | 2) + _as_varint(len(encoded)) + encoded


def number_field(number: int, value: int) -> bytes:
    """Returns an integer that is not negative, or a truth value, as a field."""
    return _as_varint(number << 3) + _as_varint(value)


def packet(kind: str, content: bytes) -> bytes:
    """Returns packet.proto, which masters and publishers are sent: time 1, type 2, serialized_data
    3.
    """
    return (
        text_field(1, number_field(1, 0) + number_field(2, 0))
        + text_field(2, kind)
        + text_field(3, content)
    )


def packet_of(message: bytes) -> tuple[str, bytes]:
    """Returns type and content of packet.proto."""
    fields = fields_of(message)
    return _text(fields, 2), _bytes(fields, 3)


def subscription(topic: str, kind: str, host: str, port: int) -> bytes:
    """Returns subscribe.proto: topic 1, host 2, port 3, msg_type 4, latching 5."""
    return (
        text_field(1, topic)
        + text_field(2, host)
        + number_field(3, port)
        + text_field(4, kind)
        + number_field(5, 0)
    )


def publication(topic: str, kind: str, host: str, port: int) -> bytes:
    """Returns publish.proto: topic 1, msg_type 2, host 3, port 4."""
    return text_field(1, topic) + text_field(2, kind) + text_field(3, host) + number_field(4, port)


def publisher_of(message: bytes) -> Publisher:
    """Reads publish.proto."""
    fields = fields_of(message)
    return Publisher(_text(fields, 1), _text(fields, 2), _text(fields, 3), _int(fields, 4))


def topic_of(message: bytes) -> str:
    """Returns the topic of subscribe.proto."""
    return _text(fields_of(message), 1)


def world_control(is_paused: bool) -> bytes:
    """Returns world_control.proto: pause 1."""
    return number_field(1, int(is_paused))


def picture_of(message: bytes) -> Picture:
    """Reads image_stamped.proto: time 1, image 2; image.proto: width 1, height 2, pixel_format 3,
    step 4, data 5.
    """
    fields = fields_of(message)
    image = fields_of(_bytes(fields, 2))
    width, height, step, pixels = _int(image, 1), _int(image, 2), _int(image, 4), _bytes(image, 5)
    if _int(image, 3) != RGB_INT8 or step < 3 * width or len(pixels) < step * height:
        raise MalformedMessage(
            f'a picture of {width} x {height}, format {_int(image, 3)}, step {step}, '
            f'{len(pixels)} bytes'
        )
    rows = np.frombuffer(pixels, np.uint8, step * height).reshape(height, step)
    return Picture(
        time_ns_of(_bytes(fields, 1)),
        np.ascontiguousarray(rows[:, : 3 * width].reshape(height, width, 3)),
    )


def poses_of(message: bytes) -> Poses:
    """Reads poses_stamped.proto: time 1, pose 2; pose.proto: name 1, position 3; vector3d.proto: x
    1, y 2, z 3.
    """
    fields = fields_of(message)
    places = {}
    for pose in (fields_of(item) for item in fields.get(2, []) if isinstance(item, bytes)):
        place = fields_of(_bytes(pose, 3))
        places[_text(pose, 1)] = _float(place, 1), _float(place, 2), _float(place, 3)
    return Poses(time_ns_of(_bytes(fields, 1)), places)


def simulated_ns_of(message: bytes) -> int:
    """Reads world_stats.proto: sim_time 2."""
    return time_ns_of(_bytes(fields_of(message), 2))


def time_ns_of(message: bytes) -> int:
    """Reads time.proto: sec 1, nsec 2."""
    fields = fields_of(message)
    return _int(fields, 1) * NANOSECONDS + _int(fields, 2)


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place
        if shift > 63:
            raise MalformedMessage('a number of more than 64 bits')


def _as_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _bytes(fields: Fields, number: int) -> bytes:
    value = fields.get(number, [b''])[-1]
    if not isinstance(value, bytes):
        raise MalformedMessage(f'field {number} is no text')
    return value


def _text(fields: Fields, number: int) -> str:
    return _bytes(fields, number).decode(errors='replace')


def _int(fields: Fields, number: int) -> int:
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise MalformedMessage(f'field {number} is no integer')
    return value


def _float(fields: Fields, number: int) -> float:
    value = fields.get(number, [b''])[-1]
    if not isinstance(value, float):
        raise MalformedMessage(f'field {number} is no floating-point number')
    return value
