# SPDX-License-Identifier: Apache-2.0
"""An installed cv_bridge is used where it gives our pixels, and only there."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from support.raw_messages import raw_message

from penguin_ros.errors import ImageShapeError
from penguin_ros.media import cv_bridge_image
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.media.raw import ENCODINGS, raw_to_rgb


class StandInBridge:
    """cv_bridge's interface over our own conversion of the fields, wrong on request."""

    def __init__(self, error=0):
        self.error = error
        self.calls = 0

    def imgmsg_to_cv2(self, image, desired_encoding):
        assert desired_encoding == 'rgb8'
        self.calls += 1
        return raw_to_rgb(image, ENCODINGS[image.encoding]) + np.uint8(self.error)


@pytest.fixture
def bridge(monkeypatch):
    """Installs a stand-in for cv_bridge and returns it."""

    def install(stand_in):
        monkeypatch.setattr(cv_bridge_image, '_bridge', lambda: stand_in)
        cv_bridge_image._is_equal.cache_clear()
        return stand_in

    yield install
    cv_bridge_image._is_equal.cache_clear()


def test_a_cv_bridge_with_equal_pixels_is_used(bridge):
    stand_in = bridge(StandInBridge())
    assert message_to_rgb(raw_message('bgr8', 1, 1, 3, b'\1\2\3')).tolist() == [[[3, 2, 1]]]
    assert stand_in.calls == 2  # once on the trial image, once on this one


def test_a_cv_bridge_with_other_pixels_is_not_used(bridge):
    stand_in = bridge(StandInBridge(error=1))
    for _ in range(3):
        assert message_to_rgb(raw_message('bgr8', 1, 1, 3, b'\1\2\3')).tolist() == [[[3, 2, 1]]]
    assert stand_in.calls == 1


def test_a_bad_image_is_refused_before_cv_bridge_sees_it(bridge):
    bridge(StandInBridge())
    with pytest.raises(ImageShapeError):
        message_to_rgb(raw_message('rgb8', 1, 2, 3, b'\1\2\3'))


@pytest.mark.skipif(
    importlib.util.find_spec('cv_bridge') is None, reason='cv_bridge is not installed'
)
@pytest.mark.parametrize('is_bigendian', [0, 1])
@pytest.mark.parametrize('encoding', sorted(ENCODINGS))
def test_the_installed_cv_bridge_gives_our_pixels_where_it_is_used(encoding, is_bigendian):
    facts = ENCODINGS[encoding]
    samples = np.random.default_rng(5).integers(
        0, 256, (12, 16 * facts.pixel_bytes), dtype=np.uint8
    )
    image = raw_message(
        encoding,
        12,
        16,
        16 * facts.pixel_bytes,
        samples.tobytes(),
        2 * facts.pixel_bytes,
        is_bigendian,
    )
    if not cv_bridge_image.can_bridge(image, facts):
        pytest.skip('this cv_bridge differs, and is not used')
    assert np.array_equal(cv_bridge_image.bridged_to_rgb(image), raw_to_rgb(image, facts))
