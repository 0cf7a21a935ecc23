# SPDX-License-Identifier: Apache-2.0
"""Stamp and size of serialised images, read without their pixels."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest

from penguin_ros.errors import CorruptImage
from penguin_ros.recording.frame_header import FrameHeader, frame_header

serialization = pytest.importorskip('rclpy.serialization')

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from penguin_ros.ros.conversions.times import time_message


@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'abc', 'camera_optical_frame'])
def test_stamp_and_size_are_found_whatever_the_names_before_them(frame_id: str) -> None:
    header = Header(stamp=time_message(12_000_000_345), frame_id=frame_id)
    image = Image(header=header, height=3, width=7, encoding='mono8', step=7)
    image.data = array.array('B', bytes(21))
    assert header_of(image) == FrameHeader(12_000_000_345, 7, 3)
    jpeg = cv2.imencode('.jpg', np.zeros((24, 56, 3), np.uint8))[1].tobytes()
    for label in ('jpeg', 'rgb8; jpeg compressed bgr8'):
        compressed = CompressedImage(header=header, format=label, data=array.array('B', jpeg))
        assert header_of(compressed) == FrameHeader(12_000_000_345, 56, 24)


def header_of(message: object) -> FrameHeader:
    content = bytes(serialization.serialize_message(message))
    return frame_header(content, is_compressed=isinstance(message, CompressedImage))


@pytest.mark.parametrize('content', [b'', b'\0\1\0\0', b'\0\1\0\0' + bytes(60)])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(CorruptImage):
        frame_header(content, is_compressed=True)
