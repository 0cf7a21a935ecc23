# SPDX-License-Identifier: Apache-2.0
"""Messages of Gazebo's transport in the wire format of Protocol Buffers are read as they are meant,
and refused when cut off.
"""

from __future__ import annotations

import struct

import numpy as np
import pytest
from gazebo_messages import (
    MalformedMessage,
    fields_of,
    number_field,
    packet,
    packet_of,
    picture_of,
    poses_of,
    publication,
    publisher_of,
    simulated_ns_of,
    subscription,
    text_field,
    topic_of,
    world_control,
)
from hypothesis import given
from hypothesis import strategies as st


def time_message(seconds: int, nanoseconds: int) -> bytes:
    return number_field(1, seconds) + number_field(2, nanoseconds)


def image_message(
    pixels: bytes, width: int, height: int, step: int, pixel_format: int = 3
) -> bytes:
    parts = (width, height, pixel_format, step)
    image = b''.join(
        number_field(number, value) for number, value in enumerate(parts, 1)
    ) + text_field(5, pixels)
    return text_field(1, time_message(12, 340_000_000)) + text_field(2, image)


def vector(x: float, y: float, z: float) -> bytes:
    return b''.join(
        bytes([number << 3 | 1]) + struct.pack('<d', value)
        for number, value in enumerate((x, y, z), 1)
    )


def test_what_the_documentation_of_the_format_shows_is_read() -> None:
    assert fields_of(bytes.fromhex('089601')) == {1: [150]}
    assert fields_of(bytes.fromhex('120774657374696e67')) == {2: [b'testing']}
    assert (
        number_field(1, 150).hex() == '089601'
        and text_field(2, 'testing').hex() == '120774657374696e67'
    )


@given(
    st.lists(
        st.tuples(st.integers(1, 1000), st.one_of(st.integers(0, 2**63), st.binary(max_size=300)))
    )
)
def test_fields_come_back_in_their_order(items: list[tuple[int, int | bytes]]) -> None:
    message = b''.join(
        text_field(number, value) if isinstance(value, bytes) else number_field(number, value)
        for number, value in items
    )
    wanted: dict[int, list[int | bytes]] = {}
    for number, value in items:
        wanted.setdefault(number, []).append(value)
    assert fields_of(message) == wanted


@given(st.binary(max_size=200))
def test_nonsense_is_refused_by_name_or_read(message: bytes) -> None:
    for read in (fields_of, packet_of, publisher_of, picture_of, poses_of, simulated_ns_of):
        try:
            read(message)
        except MalformedMessage:
            pass


def test_a_message_that_is_cut_off_is_refused() -> None:
    whole = packet('subscribe', b'x' * 50)
    assert packet_of(whole) == ('subscribe', b'x' * 50)
    for length in (len(whole) - 1, len(whole) - 51):
        with pytest.raises(MalformedMessage):
            packet_of(whole[:length])


def test_a_picture_with_padded_rows_keeps_its_pixels_and_its_stamp() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    rows = b''.join(row.tobytes() + b'\xff\xff\xff' for row in pixels)
    picture = picture_of(image_message(rows, 3, 2, 12))
    assert picture.stamp_ns == 12_340_000_000
    np.testing.assert_array_equal(picture.image, pixels)


@pytest.mark.parametrize(
    'fault', [{'width': 5}, {'height': 3}, {'pixel_format': 8}, {'pixels': b''}]
)
def test_a_picture_that_does_not_fit_is_refused(fault: dict[str, int | bytes]) -> None:
    facts = {'pixels': bytes(18), 'width': 3, 'height': 2, 'step': 9, **fault}
    with pytest.raises(MalformedMessage):
        picture_of(image_message(**facts))  # type: ignore[arg-type]


def test_poses_have_the_names_and_places_of_things() -> None:
    pose = text_field(1, 'red_box') + number_field(2, 7) + text_field(3, vector(1.5, -2.0, 0.25))
    poses = poses_of(text_field(1, time_message(3, 5)) + text_field(2, pose))
    assert poses.stamp_ns == 3_000_000_005 and poses.places == {'red_box': (1.5, -2.0, 0.25)}
    with pytest.raises(MalformedMessage):
        poses_of(text_field(1, time_message(3, 5)) + text_field(2, text_field(1, 'red_box')))


def test_a_publisher_is_read_as_it_was_written() -> None:
    found = publisher_of(publication('/gazebo/a', 'gazebo.msgs.Image', '127.0.0.1', 40000))
    assert (found.topic, found.kind, found.host, found.port) == (
        '/gazebo/a',
        'gazebo.msgs.Image',
        '127.0.0.1',
        40000,
    )
    assert topic_of(subscription('/gazebo/a', 'gazebo.msgs.Image', '127.0.0.1', 1)) == '/gazebo/a'
    assert world_control(is_paused=False).hex() == '0800'
