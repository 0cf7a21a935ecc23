# SPDX-License-Identifier: Apache-2.0
"""The record node over topics: what it hears is read again by the readers of MCAP's own makers,
and by rosbags.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.graph import Graph, stamp_ns
from support.penguin_topics import HEIGHT, PenguinTopics

from penguin_ros.media.recordings import open_recording

pytest.importorskip('rosbags', reason='recordings are written with it')

MODULE = 'penguin_ros.ros.record_node.main'
NOTES = '/r1/overlay/{}/annotations'


def decoded(folder: Path) -> dict[str, list[Any]]:
    """The messages of a recording by topic, as Foxglove's reader decodes them."""
    reading = pytest.importorskip('mcap.reader', reason='the reader by the makers of MCAP')
    decoding = pytest.importorskip('mcap_ros2.decoder', reason='its decoder of ROS 2')
    found: dict[str, list[Any]] = {}
    (path,) = folder.glob('*.mcap')
    with path.open('rb') as file:
        reader = reading.make_reader(file, decoder_factories=[decoding.DecoderFactory()])
        for _, channel, _, message in reader.iter_decoded_messages():
            found.setdefault(channel.topic, []).append(message)
    return found


def test_a_recording_has_the_captions_on_the_pictures_that_they_are_about(
    fresh_graph: Graph, tmp_path: Path
) -> None:
    from rosbags.rosbag2 import Reader

    robot = PenguinTopics(fresh_graph)
    folder = tmp_path / 'drive'
    process = fresh_graph.start(
        MODULE, parameters={'folder': str(folder)}, arguments=('-r', '__ns:=/r1')
    )
    robot.wait_for_listener()
    fresh_graph.wait_for(robot.front.get_subscription_count, 30.0, 'pictures are taken')
    fresh_graph.wait_for(robot.rear.get_subscription_count, 30.0, 'pictures are taken')
    robot.alarm('intruder')
    fresh_graph.holds_for(lambda: True, 0.5)
    stamps = []
    for _ in range(10):
        stamps.append(robot.frame())
        fresh_graph.holds_for(lambda: True, 0.1)
    robot.say('A dog <b>walks</b> by.', clip_s=0.45)
    fresh_graph.wait_for(lambda: robot.values().get('/r1/penguin/caption') == '1', 30.0, 'written')
    process.stop()

    recorded = decoded(folder)
    assert [stamp_ns(each.header.stamp) for each in recorded['/r1/front/image']] == stamps
    (caption,) = recorded['/r1/penguin/caption']
    assert caption.text == 'A dog <b>walks</b> by.'
    assert {'/r1/penguin/status', '/r1/penguin/rule_states'} <= recorded.keys()
    notes = recorded[NOTES.format('front')]
    assert len(notes) == len(recorded['/r1/front/image']) == 10
    said = {stamp_ns(note.texts[0].timestamp): [text.text for text in note.texts] for note in notes}
    for stamp in stamps[:5]:
        assert len(said[stamp]) == 1, 'only the rule'
    for stamp in stamps[5:]:
        assert said[stamp][1] == 'A dog <b>walks</b> by.'
    assert all(0 < text.position.y <= HEIGHT for note in notes for text in note.texts)
    assert len(recorded[NOTES.format('rear')]) == 10

    with Reader(folder) as reader:  # as rosbag2 does: its metadata, then its files
        assert reader.message_count == sum(map(len, recorded.values()))
        kinds = {each.topic: each.msgtype for each in reader.connections}
        offered = {each.topic: each.ext.offered_qos_profiles for each in reader.connections}
    assert offered['/r1/penguin/status'][0].durability.name == 'TRANSIENT_LOCAL'
    assert offered['/r1/penguin/caption'] == []
    pictures = open_recording(folder, '/r1/front/image').frames()  # as `penguin caption` does
    assert [time_ns for time_ns, _ in pictures] == stamps
    assert kinds[NOTES.format('front')] == 'foxglove_msgs/msg/ImageAnnotations'


@pytest.mark.slow
def test_what_was_written_before_a_kill_can_be_read(fresh_graph: Graph, tmp_path: Path) -> None:
    robot = PenguinTopics(fresh_graph)
    parameters = {'folder': str(tmp_path / 'drive')}
    process = fresh_graph.start(MODULE, parameters=parameters, arguments=('-r', '__ns:=/r1'))
    robot.wait_for_listener()
    fresh_graph.wait_for(robot.front.get_subscription_count, 30.0, 'pictures are taken')
    path = tmp_path / 'drive' / 'drive.mcap'
    with robot.running():
        fresh_graph.wait_for(lambda: path.stat().st_size > 4000, 60.0, 'some chunks on the disk')
    process.kill()
    recording = open_recording(path, '/r1/front/image')
    assert len(list(recording.frames())) >= 3
    assert 'cut off' in recording.account.lines()[0]


def test_a_folder_that_is_there_ends_the_start_with_what_to_do(
    fresh_graph: Graph, tmp_path: Path
) -> None:
    process = fresh_graph.start(MODULE, parameters={'folder': str(tmp_path)})
    assert process.wait_for_exit() == 2
    assert 'Name another folder' in process.log


def test_what_is_no_longer_so_is_not_on_later_pictures(fresh_graph: Graph, tmp_path: Path) -> None:
    robot = PenguinTopics(fresh_graph)
    folder = tmp_path / 'drive'
    process = fresh_graph.start(
        MODULE, parameters={'folder': str(folder)}, arguments=('-r', '__ns:=/r1')
    )
    robot.wait_for_listener()
    fresh_graph.wait_for(robot.front.get_subscription_count, 30.0, 'pictures are taken')

    def is_written(topic: str, count: int) -> None:
        written = f'/r1/{topic}'
        fresh_graph.wait_for(lambda: robot.values().get(written) == str(count), 30.0, written)

    for count, rules in enumerate((('intruder',), (), ('fire',)), 1):
        robot.alarm(*rules)
        is_written('penguin/rule_states', count)
        robot.frame()
        is_written('front/image', count)
    robot.leave()  # with an alarm that nobody takes back
    beat = len(robot.diagnostics)
    fresh_graph.wait_for(lambda: len(robot.diagnostics) > beat + 2, 30.0, 'noticed')
    robot.frame()
    is_written('front/image', 4)
    process.stop()
    said = [[text.text for text in note.texts] for note in decoded(folder)[NOTES.format('front')]]
    assert [len(texts) for texts in said] == [1, 0, 1, 0], said
