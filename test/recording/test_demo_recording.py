# SPDX-License-Identifier: Apache-2.0
"""docs/demo_recording.mcap, which the demo made: what the layout for it shows is there, and the
captions stand on the pictures.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / 'docs' / 'demo_recording.mcap'
LAYOUT = ROOT / 'config' / 'foxglove_demo_layout.json'
PICTURES = '/penguin_demo/camera/image/compressed'
NOTES = '/penguin_demo/overlay/camera/annotations'


@pytest.fixture(scope='module')
def messages() -> dict[str, list[Any]]:
    """All messages by topic, as the library by the makers of MCAP decodes them."""
    reading = pytest.importorskip('mcap.reader', reason='the reader by the makers of MCAP')
    decoding = pytest.importorskip('mcap_ros2.decoder', reason='its decoder of ROS 2')
    found: dict[str, list[Any]] = {}
    with RECORDING.open('rb') as file:
        reader = reading.make_reader(file, decoder_factories=[decoding.DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages():
            found.setdefault(channel.topic, []).append(message)
    return found


def test_every_topic_that_the_layout_shows_was_recorded(messages: dict[str, list[Any]]) -> None:
    shown = set(re.findall(r'"(/penguin_demo/[a-z_/]+)', LAYOUT.read_text(encoding='utf-8')))
    assert {PICTURES, NOTES} <= shown <= messages.keys()


def test_each_picture_has_its_annotations_and_most_have_a_caption(
    messages: dict[str, list[Any]],
) -> None:
    captions = {caption.text for caption in messages['/penguin_demo/penguin/caption']}
    notes = messages[NOTES]
    assert len(notes) == len(messages[PICTURES])
    stamps = {(each.header.stamp.sec, each.header.stamp.nanosec) for each in messages[PICTURES]}
    captioned = 0
    for note in notes:
        for text in note.texts:
            assert (text.timestamp.sec, text.timestamp.nanosec) in stamps
        said = ' '.join(text.text for text in note.texts)
        captioned += any(caption[:20] in said for caption in captions if caption)
    assert captioned >= len(notes) * 3 // 4
    assert any(note.points for note in notes), 'the border of an event'
