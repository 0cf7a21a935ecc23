# SPDX-License-Identifier: Apache-2.0
"""What is heard becomes entries, and entries become messages, without anything lost or added."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from geometry_msgs.msg import PointStamped
from penguin_msgs.msg import Answer, Caption, Event, MemoryEntry
from penguin_msgs.srv import Recall

from penguin_ros.errors import InvalidRequest
from penguin_ros.memory.entry import Entry, Kind, Pose
from penguin_ros.memory.filter import DEFAULT_LIMIT, Filter, Interval, Place
from penguin_ros.ros.conversions.memory_messages import (
    answer_entry,
    caption_entry,
    entry_message,
    event_entry,
    filter_of,
    probability_of,
)
from penguin_ros.ros.conversions.times import time_message

ENTRY = Entry(
    7, 2, Kind.ANSWER, '/robot/penguin', 'front', 5, 9, 'Yes.', 'Is it?', {'model': 'm'},
    Pose('map', 1.0, 2.0, 3.0, 0.0, 0.0, 0.6, 0.8, 4), 'ab', 8, True,
)  # fmt: skip


def test_an_entry_as_a_message_has_all_its_fields_and_a_picture_only_when_one_is_given() -> None:
    message = entry_message(ENTRY, 0.5, ('words',))
    assert (message.id, message.session, message.kind) == (7, 2, MemoryEntry.ANSWER)
    assert (message.node, message.camera) == ('/robot/penguin', 'front')
    assert (message.text, message.question) == ('Yes.', 'Is it?')
    assert (message.start, message.end) == (time_message(5), time_message(9))
    assert message.has_pose and message.is_pinned and message.has_picture
    assert not message.picture
    pose = message.pose
    assert (pose.header.frame_id, pose.header.stamp) == ('map', time_message(4))
    assert (pose.pose.position.x, pose.pose.orientation.w) == (1.0, 0.8)
    assert (message.score, list(message.matches)) == (0.5, ['words'])
    shown = entry_message(ENTRY, picture=b'\xff\xd8').picture
    assert [(bytes(each.data), each.header.stamp) for each in shown] == [
        (b'\xff\xd8', time_message(8))
    ]


def test_a_search_keeps_every_field_that_is_given_and_none_that_is_not() -> None:
    assert filter_of(Recall.Request()) == Filter(limit=DEFAULT_LIMIT)
    place = PointStamped()
    place.header.frame_id, place.point.x, place.point.y = '/map', 1.0, 2.0
    request = Recall.Request(
        words='red box', meaning='a box', has_interval=True, start=time_message(3),
        end=time_message(4), camera='front', node='/n', has_place=True, place=place, radius=0.5,
        kinds=[MemoryEntry.EVENT], limit=3, page='token',
    )  # fmt: skip
    assert filter_of(request) == Filter(
        words='red box', meaning='a box', interval=Interval(3, 4), camera='front', node='/n',
        place=Place('map', 1.0, 2.0, 0.5), kinds=(Kind.EVENT,), limit=3, page='token',
    )  # fmt: skip
    with pytest.raises(InvalidRequest, match='ends before'):
        filter_of(Recall.Request(has_interval=True, start=time_message(4), end=time_message(3)))
    with pytest.raises(InvalidRequest, match='kinds'):
        filter_of(Recall.Request(kinds=[9]))


def test_a_caption_without_frames_has_the_stamp_of_its_header() -> None:
    message = Caption(text='a box', camera='front')
    message.header.stamp = time_message(9)
    entry = caption_entry('/n', message)
    assert (entry.start_ns, entry.end_ns, entry.kind) == (9, 9, Kind.CAPTION)


def test_an_answer_keeps_its_choices_and_what_it_says_when_it_has_no_text() -> None:
    message = Answer(id='a', choice='no', choices=['yes', 'no'], probabilities=[0.25, 0.75])
    entry = answer_entry('/n', message)
    assert (entry.text, entry.key) == ('no', 'a')
    assert entry.evidence['probabilities'] == [0.25, 0.75]


def test_each_message_of_an_event_is_an_entry_of_its_own_that_comes_once() -> None:
    fields = {'id': 'e', 'rule': 'r', 'condition': 'open', 'start': time_message(3)}
    begin = Event(**fields, end=time_message(4), kind=Event.BEGIN)
    still = Event(**fields, end=time_message(5), kind=Event.STILL)
    entries = [event_entry('/n', message) for message in (begin, begin, still)]
    assert entries[0] == entries[1]
    assert entries[0].key != entries[2].key
    assert [entry.evidence['state'] for entry in entries] == ['begin', 'begin', 'still']


@pytest.mark.parametrize(
    ('answer', 'probability'),
    [
        (Answer(choices=['Yes', 'no'], probabilities=[0.75, 0.25]), 0.75),
        (Answer(choices=['no'], probabilities=[1.0]), 0.0),
        (Answer(text=' Yes, a red one.'), 1.0),
        (Answer(text='Yesterday there was.'), 0.0),
        (Answer(text='No.'), 0.0),
    ],
)
def test_the_probability_of_yes_is_read_from_choices_or_else_from_words(
    answer: Answer, probability: float
) -> None:
    assert probability_of(answer, 'yes') == probability
