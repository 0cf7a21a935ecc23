# SPDX-License-Identifier: Apache-2.0
"""The memory node over topics: what penguin nodes say is found again, also after it was killed."""

from __future__ import annotations

import time
from typing import Any

import pytest
from geometry_msgs.msg import PointStamped, TransformStamped
from penguin_msgs.msg import Caption, ErrorCode, Event, MemoryEntry
from rclpy.qos import DurabilityPolicy, QoSProfile
from support.built_messages import import_messages
from support.graph import stamp_ns
from support.memory_graph import MODULE, MemoryGraph

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.conversions.times import time_message

OK, WARN, ERROR = b'\0', b'\1', b'\2'
BEGIN = (int(time.time()) - 3600) * NANOSECONDS
"""An hour ago: what is older than a year is forgotten."""


@pytest.fixture
def memory(fresh_graph: Any) -> MemoryGraph:
    return MemoryGraph(fresh_graph, fresh_graph.folder / 'store')


def test_captions_answers_and_events_are_found_by_words_time_camera_and_kind(
    memory: MemoryGraph,
) -> None:
    memory.start({'pose.base_frame': ''})
    memory.say('A red box stands left of a ball.', BEGIN)
    memory.say('A dog walks by.', BEGIN + 60 * NANOSECONDS, camera='rear')
    memory.say('nothing', BEGIN + 61 * NANOSECONDS, state=Caption.ERROR, error_code=1)
    memory.publish_answer(id='a', question='Is there a box?', text='Yes, a red one.', camera='rear')
    memory.publish_answer(id='b', question='And?', text='part', error_code=ErrorCode.DEADLINE)
    memory.publish_answer(id='memory/1', question='Is there a box?', text='no')
    stamp = time_message(BEGIN + 90 * NANOSECONDS)
    memory.publish_event(
        id='e', rule='door', condition='The door is open', start=stamp, end=stamp, camera='rear'
    )
    memory.wait_for_texts(
        'A red box stands left of a ball.', 'A dog walks by.', 'Yes, a red one.', 'The door is open'
    )
    assert memory.texts(words='red box', kinds=[MemoryEntry.CAPTION]) == [
        'A red box stands left of a ball.'
    ]
    interval = {
        'has_interval': True,
        'start': time_message(BEGIN + 50 * NANOSECONDS),
        'end': time_message(BEGIN + 70 * NANOSECONDS),
    }
    assert memory.texts(**interval) == ['A dog walks by.']
    event = memory.recall(kinds=[MemoryEntry.EVENT]).entries[0]
    assert (event.question, event.camera, event.node) == ('door', 'rear', '/penguin')
    first = memory.recall(words='ball').entries[0]
    assert (stamp_ns(first.start), stamp_ns(first.end)) == (BEGIN - NANOSECONDS, BEGIN)
    assert not first.has_pose
    assert 'words' in first.matches
    memory.wait_for_value('heard', 'captions with an error', '1')
    memory.wait_for_value('heard', 'answers to questions of a memory', '1')
    memory.wait_for_entry('heard', OK)


@pytest.mark.slow
def test_what_was_heard_is_there_after_a_kill_and_after_a_stop_and_pages_hold_each_entry_once(
    memory: MemoryGraph,
) -> None:
    process = memory.start({'pose.base_frame': ''})
    said = [f'caption number{i}' for i in range(30)]
    for number, text in enumerate(said[:10]):
        memory.say(text, BEGIN + number * NANOSECONDS)
    memory.wait_for_texts(*said[:10])
    process.kill()
    process = memory.start({'pose.base_frame': ''})
    for number, text in enumerate(said[10:20], 10):
        memory.say(text, BEGIN + number * NANOSECONDS)
    memory.wait_for_texts(*said[:20])
    for number, text in enumerate(said[20:], 20):
        memory.say(text, BEGIN + number * NANOSECONDS)
    memory.graph.wait_for(lambda: memory.recall(words='number29').entries)
    process.stop()  # what was heard by then is stored
    memory.start({'pose.base_frame': ''})
    found, page = [], ''
    while True:
        response = memory.recall(limit=7, page=page, is_newest_first=True)
        found += [entry.text for entry in response.entries]
        page = response.next_page
        if not page:
            break
    assert found == said[::-1]


def test_a_question_that_makes_no_sense_is_refused_in_words(memory: MemoryGraph) -> None:
    memory.start({'pose.base_frame': ''})
    memory.say('a box', BEGIN)
    memory.wait_for_texts('a box')
    late, early = time_message(5), time_message(1)
    place = PointStamped()
    place.header.frame_id = 'map'
    refused: list[dict[str, Any]] = [
        {'has_interval': True, 'start': late, 'end': early},
        {'camera': 'nonesuch'},
        {'node': '/nonesuch'},
        {'kinds': [77]},
        {'words': '-box'},
        {'page': 'forged'},
        {'has_place': True, 'radius': -1.0, 'place': place},
        {'has_place': True, 'radius': float('nan'), 'place': place},
    ]
    for fields in refused:
        response = memory.recall(**fields)
        assert not response.success, fields
        assert response.error_code in (ErrorCode.INVALID_REQUEST, ErrorCode.UNKNOWN_CAMERA), fields
        assert response.message
        assert not response.entries
    assert memory.texts() == ['a box']


@pytest.mark.slow
def test_several_penguin_nodes_are_heard_and_told_apart(memory: MemoryGraph) -> None:
    memory.start({'pose.base_frame': '', 'nodes': ['penguin', '/rear/penguin']})
    other = MemoryGraph(memory.graph, memory.folder, '/rear/penguin')
    memory.say('a box', BEGIN)
    other.say('a dog', BEGIN)
    memory.wait_for_texts('a box', 'a dog')
    assert memory.texts(node='/rear/penguin') == ['a dog']
    memory.graph.node.destroy_publisher(other.publisher(Caption, '/rear/penguin/caption'))
    memory.wait_for_entry('heard', WARN, 'nothing publishes captions as /rear/penguin')


def test_hostile_texts_and_one_of_ten_megabytes_are_remembered_as_text(memory: MemoryGraph) -> None:
    memory.start({'pose.base_frame': '', 'queue.max_characters': 1000})
    hostile = [
        "'; DROP TABLE entry; --",
        'NEAR("a" b) OR *',
        '\x1b[31mred\x1b[0m',
        'ünïcödé 机器人',
    ]
    for number, text in enumerate(hostile):
        memory.say(text, BEGIN + number * NANOSECONDS)
    memory.say('huge ' + 'x' * 10_000_000, BEGIN + 100 * NANOSECONDS)
    huge = ('huge ' + 'x' * 1000)[:1000]
    memory.wait_for_texts(hostile[0], hostile[1], '[31mred[0m', hostile[3], huge)
    assert memory.texts(words='机器人') == ['ünïcödé 机器人']
    assert memory.texts(words="'; DROP TABLE") == [hostile[0]]


@pytest.mark.slow
def test_a_caption_that_comes_twice_is_remembered_once(memory: MemoryGraph) -> None:
    memory.start({'pose.base_frame': ''})
    for _ in range(3):
        memory.say('a box', BEGIN)
        memory.publish_answer(id='same', question='?', text='yes')
    memory.say('the end', BEGIN + NANOSECONDS)
    memory.wait_for_texts('a box', 'yes', 'the end')


@pytest.mark.slow
def test_a_burst_of_captions_loses_none(memory: MemoryGraph) -> None:
    memory.start({'pose.base_frame': ''})
    texts = [f'burst number{i}' for i in range(800)]
    for number, text in enumerate(texts):
        memory.say(text, BEGIN + number * NANOSECONDS)
    memory.graph.wait_for(lambda: len(memory.texts(words='burst')) == 800, 30, 'all of them')


@pytest.mark.slow
def test_a_second_memory_node_on_the_same_store_is_refused_by_name(memory: MemoryGraph) -> None:
    process = memory.start({'pose.base_frame': ''})
    second = memory.graph.start(
        MODULE,
        parameters={'folder': str(memory.folder), 'nodes': ['penguin']},
        arguments=('-r', '__node:=second'),
    )
    assert second.wait_for_exit() == 2
    assert f'process {process.process.pid} writes to it' in second.log
    memory.say('still here', BEGIN)
    memory.wait_for_texts('still here')


@pytest.mark.slow
def test_it_says_who_is_missing_until_the_penguin_node_is_there(memory: MemoryGraph) -> None:
    memory.start({'pose.base_frame': ''})
    memory.wait_for_entry('heard', WARN, 'nothing publishes captions as /penguin')
    publisher = memory.publisher(Caption, '/penguin/caption')
    memory.wait_for_entry('heard', OK, 'listening to /penguin')
    memory.graph.node.destroy_publisher(publisher)
    memory.wait_for_entry('heard', WARN, '/penguin')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('parameters', 'text'),
    [
        ({'nodes': ['not a name!']}, 'nodes'),
        ({'look.question': 'Is it there?'}, 'look.question'),
        ({'picture.quality': 0}, 'picture.quality'),
        ({'folder': '/proc/none'}, '/proc/none'),
    ],
)
def test_a_parameter_that_does_not_fit_is_named_at_the_start(
    memory: MemoryGraph, parameters: dict[str, Any], text: str
) -> None:
    process = memory.graph.start(MODULE, parameters={'folder': str(memory.folder), **parameters})
    assert process.wait_for_exit() == 2
    assert text in process.log
    assert 'Traceback' not in process.log


# --- poses ----------------------------------------------------------------------------------------


class Robot:
    """Publishes where it is: `map` to `odom` is static, `odom` to `base_link` moves along x."""

    def __init__(self, memory: MemoryGraph) -> None:
        kind = import_messages('tf2_msgs').TFMessage
        self._kind, self._graph = kind, memory.graph
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        static = memory.graph.node.create_publisher(kind, '/tf_static', latched)
        static.publish(kind(transforms=[transform('map', 'odom', 0, (10.0, 0.0, 0.0))]))
        self._publisher = memory.graph.node.create_publisher(kind, '/tf', 1000)

    def move(self, start_ns: int, seconds: int) -> None:
        """Tells of `seconds` from a stamp on, ten times in each, one metre in each."""
        self._graph.wait_for(self._publisher.get_subscription_count, what='a reader of /tf')
        for tick in range(10 * seconds + 1):
            stamp = start_ns + tick * NANOSECONDS // 10
            moved = transform('odom', 'base_link', stamp, (tick / 10, 0.0, 0.0))
            self._publisher.publish(self._kind(transforms=[moved]))


def transform(
    parent: str, child: str, stamp: int, at: tuple[float, float, float]
) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp = time_message(stamp)
    place = message.transform.translation
    place.x, place.y, place.z = at
    return message


def test_the_pose_is_that_of_the_stamp_not_of_the_arrival_and_places_are_searched(
    memory: MemoryGraph,
) -> None:
    robot = Robot(memory)
    memory.start(with_tf=True)
    assert 'poses by own' in memory.process.log or 'poses by tf2_ros' in memory.process.log  # type: ignore[union-attr]
    robot.move(BEGIN, 20)
    memory.say('early', BEGIN + 5 * NANOSECONDS)  # it arrives when the robot is far away
    memory.say('late', BEGIN + 15 * NANOSECONDS + NANOSECONDS // 20)
    memory.say('unknown', BEGIN + 60 * NANOSECONDS)
    memory.wait_for_texts('early', 'late', 'unknown')
    entries = {entry.text: entry for entry in memory.recall().entries}
    assert entries['early'].has_pose
    assert entries['early'].pose.header.frame_id == 'map'
    assert entries['early'].pose.pose.position.x == pytest.approx(15.0, abs=1e-3)
    assert entries['late'].pose.pose.position.x == pytest.approx(25.05, abs=1e-3)
    assert not entries['unknown'].has_pose
    place = PointStamped()
    place.header.frame_id = 'map'
    place.point.x = 14.5
    assert memory.texts(has_place=True, place=place, radius=2.0) == ['early']
    place.header.frame_id = 'kitchen'
    assert not memory.recall(has_place=True, place=place, radius=2.0).success
    memory.wait_for_entry('pose', WARN, 'nearest transform lies')


@pytest.mark.slow
def test_a_caption_waits_a_moment_for_transforms_that_come_after_it(memory: MemoryGraph) -> None:
    robot = Robot(memory)
    memory.start({'pose.wait': 20.0, 'pose.tolerance': 30.0}, with_tf=True)
    robot.move(BEGIN, 1)
    memory.wait_for_entry('pose', OK)
    memory.say('ahead', BEGIN + 2 * NANOSECONDS)
    robot.move(BEGIN + NANOSECONDS, 4)
    memory.wait_for_texts('ahead')
    assert memory.recall().entries[0].pose.pose.position.x == pytest.approx(11.0, abs=1e-3)


@pytest.mark.slow
def test_without_transforms_there_is_no_pose_and_that_is_said(memory: MemoryGraph) -> None:
    memory.start({'pose.wait': 30.0}, with_tf=True)
    start = time.monotonic()
    memory.say('somewhere', BEGIN)
    memory.wait_for_texts('somewhere')
    assert time.monotonic() - start < 25  # nobody waits for what nobody publishes
    assert not memory.recall().entries[0].has_pose
    memory.wait_for_entry('pose', WARN, 'nothing has arrived on /tf')


# --- clocks ---------------------------------------------------------------------------------------


def test_a_simulated_time_that_starts_again_begins_a_session_of_its_own(
    memory: MemoryGraph,
) -> None:
    from rosgraph_msgs.msg import Clock

    memory.start({'pose.base_frame': '', 'use_sim_time': True})
    clock = memory.graph.publisher(Clock, '/clock')

    def is_told(seconds: int) -> bool:
        clock.publish(Clock(clock=time_message(seconds * NANOSECONDS)))
        return bool(memory.diagnostics) and memory.diagnostics[-1].header.stamp.sec == seconds

    memory.graph.wait_for(lambda: is_told(100))
    memory.say('first run', 100 * NANOSECONDS)
    memory.wait_for_texts('first run')
    memory.graph.wait_for(lambda: is_told(1))
    assert memory.process is not None
    memory.process.wait_for_log('a new session begins')
    memory.say('second run', 50 * NANOSECONDS)
    memory.graph.wait_for(lambda: len(memory.texts()) == 2)
    second, first = memory.recall(is_newest_first=True).entries
    assert [second.text, first.text] == ['second run', 'first run']
    assert second.session > first.session


@pytest.mark.slow
def test_stamps_that_go_back_begin_a_session_of_their_own_too(memory: MemoryGraph) -> None:
    memory.start({'pose.base_frame': ''})
    for text, seconds in (('one', 100), ('two', 101), ('again', 1), ('and on', 2)):
        memory.say(text, BEGIN + seconds * NANOSECONDS)
    memory.wait_for_texts('one', 'two', 'again', 'and on')
    sessions = {entry.text: entry.session for entry in memory.recall().entries}
    assert sessions['one'] == sessions['two'] < sessions['again'] == sessions['and on']


@pytest.mark.slow
def test_an_event_keeps_its_picture_and_its_state(memory: MemoryGraph) -> None:
    from sensor_msgs.msg import CompressedImage

    memory.start({'pose.base_frame': ''})
    stamp = time_message(BEGIN)
    picture = CompressedImage(format='jpeg', data=b'\xff\xd8picture')
    picture.header.stamp = stamp
    fields = {'id': 'e', 'rule': 'door', 'condition': 'open', 'start': stamp, 'end': stamp}
    memory.publish_event(**fields, kind=Event.BEGIN, picture=[picture])
    memory.publish_event(**fields, kind=Event.END)
    memory.wait_for_texts('open', 'open')
    entries = memory.recall(wants_pictures=True).entries
    assert [bytes(each.data) for entry in entries for each in entry.picture] == [b'\xff\xd8picture']
