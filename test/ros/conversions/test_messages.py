# SPDX-License-Identifier: Apache-2.0
"""Evidence, answers, captions and questions, to messages and back."""

import array
import dataclasses

import pytest
from builtin_interfaces.msg import Duration, Time
from penguin_msgs.msg import Caption, ErrorCode, Question
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage

from penguin_ros.errors import Busy, DeadlineExceeded
from penguin_ros.frame import FrameType, to_nanoseconds
from penguin_ros.request import (
    Answer,
    Evidence,
    FrameRef,
    GenerationStats,
    Interval,
    Priority,
    StopReason,
)
from penguin_ros.ros.conversions.messages import (
    answer_message,
    caption_message,
    evidence_message,
    question_id,
    request_from,
)

EVIDENCE = Evidence(
    frames=(
        FrameRef(1_500_000_001, 'front', 'front_optical', FrameType.KEY),
        FrameRef(2_000_000_002, 'front', 'front_optical', FrameType.INTERMEDIATE),
    ),
    start_ns=1_500_000_001,
    end_ns=2_000_000_002,
    age_ns=30,
    model_name='tiny',
    model_digest='ab',
    backend='torch',
    precision='float32',
    wait_ns=1,
    first_token_ns=6,
    stop_reason=StopReason.MAX_TOKENS,
    is_truncated=True,
    is_stale=True,
    frames_dropped=9,
    unchanged_since_ns=1_000_000_003,
    stats=GenerationStats(
        visual_tokens=5,
        prompt_tokens=50,
        generated_tokens=7,
        reused_tokens=10,
        reused_frames=11,
        forward_passes=12,
        drafted_tokens=13,
        accepted_tokens=14,
        encode_ns=2,
        prefill_ns=3,
        decode_ns=4,
    ),
)


@pytest.mark.parametrize(
    'text, clean',
    [
        ('plain, 日本語, 🐧\n\tline', 'plain, 日本語, 🐧\n\tline'),
        ('a\0b', 'ab'),
        ('\x1b[31mred\x07', '[31mred'),
        ('half \ud83d pair', 'half \ufffd pair'),
        ('\udcff', '\ufffd'),
        ('abc\u202edef', 'abcdef'),
    ],
)
def test_what_a_message_cannot_carry_is_cleaned_before(text, clean):
    message = answer_message(Answer('1', text, '', text))
    assert deserialize_message(serialize_message(message), type(message)).text == clean


def test_evidence_arrives_field_by_field():
    message = evidence_message(EVIDENCE)
    assert [
        (to_nanoseconds(frame.stamp), frame.camera, frame.frame_id, frame.type)
        for frame in message.frames
    ] == [
        (1_500_000_001, 'front', 'front_optical', 0),
        (2_000_000_002, 'front', 'front_optical', 1),
    ]
    assert (
        to_nanoseconds(message.start),
        to_nanoseconds(message.end),
        to_nanoseconds(message.age),
    ) == (
        1_500_000_001,
        2_000_000_002,
        30,
    )
    assert (message.model_name, message.model_digest, message.backend, message.precision) == (
        'tiny',
        'ab',
        'torch',
        'float32',
    )
    assert (
        message.visual_tokens,
        message.prompt_tokens,
        message.generated_tokens,
        message.frames_dropped,
    ) == (5, 50, 7, 9)
    assert [
        to_nanoseconds(value)
        for value in (
            message.wait,
            message.encode,
            message.prefill,
            message.decode,
            message.first_token_latency,
        )
    ] == [1, 2, 3, 4, 6]
    assert message.stop_reason == message.MAX_TOKENS and message.is_truncated and message.is_stale
    assert to_nanoseconds(message.unchanged_since) == 1_000_000_003
    assert (message.reused_tokens, message.reused_frames, message.forward_passes) == (10, 11, 12)
    assert (message.drafted_tokens, message.accepted_tokens) == (13, 14)


def test_the_stop_reasons_of_the_core_are_those_of_the_message():
    message = evidence_message(EVIDENCE)
    assert all(getattr(message, reason.name) == reason.value for reason in StopReason)


def test_an_answer_carries_its_error_as_code_and_text():
    message = answer_message(
        Answer('7', 'what?', 'front', '', error=Busy('full', 'too many', 'later'))
    )
    assert (message.id, message.question, message.camera) == ('7', 'what?', 'front')
    assert (message.error_code, message.error_message) == (ErrorCode.BUSY, 'full: too many. later')


def test_a_caption_has_the_header_of_its_newest_frame():
    message = caption_message(Answer('c', 'prompt', 'front', 'a cat', evidence=EVIDENCE))
    assert (
        to_nanoseconds(message.header.stamp) == 2_000_000_002
        and message.header.frame_id == 'front_optical'
    )
    assert (message.camera, message.text) == ('front', 'a cat')


def test_a_repeated_caption_says_so_and_has_the_stamp_of_the_newest_frame_it_holds_for():
    evidence = dataclasses.replace(EVIDENCE, end_ns=3_000_000_000)
    message = caption_message(Answer('c', 'prompt', 'front', 'a cat', evidence=evidence))
    assert (
        message.state == Caption.UNCHANGED and to_nanoseconds(message.header.stamp) == 3_000_000_000
    )
    assert caption_message(Answer('c', '', 'front', 'a cat')).state != Caption.UNCHANGED


@pytest.mark.parametrize(
    'reason, error, text, state',
    [
        (StopReason.STOP_TOKEN, None, 'a cat', Caption.OK),
        (StopReason.MAX_TOKENS, None, 'a c', Caption.PARTIAL),
        (StopReason.DEADLINE, DeadlineExceeded('late'), 'a c', Caption.PARTIAL),
        (StopReason.DEADLINE, DeadlineExceeded('late'), '', Caption.ERROR),
        (StopReason.ERROR, Busy('x'), 'a', Caption.ERROR),
    ],
)
def test_the_state_of_a_caption_says_whether_its_text_is_whole(reason, error, text, state):
    answer = Answer('c', '', 'front', text, evidence=Evidence(stop_reason=reason), error=error)
    assert caption_message(answer).state == state


def test_a_question_becomes_a_request():
    message = Question(
        id='q1',
        question='what <|im_start|>?',
        camera='rear',
        has_interval=True,
        start=Time(sec=5, nanosec=6),
        end=Time(sec=7),
        max_tokens=9,
        deadline=Duration(sec=1, nanosec=5),
    )
    request = request_from(message, 'q1')
    assert (request.id, request.text, request.camera) == ('q1', 'what <|im_start|>?', 'rear')
    assert request.interval == Interval(5_000_000_006, 7_000_000_000)
    assert (request.max_tokens, request.deadline_ns, request.priority) == (
        9,
        1_000_000_005,
        Priority.QUESTION,
    )


def test_images_are_passed_on_as_they_came():
    image = CompressedImage(format='jpeg', data=array.array('B', b'not decoded here'))
    (encoded,) = request_from(Question(images=[image]), 'x').images
    assert bytes(encoded.content) == b'not decoded here' and encoded.label == 'jpeg'
    assert len(encoded.content) == 16


def test_an_interval_that_is_not_asked_for_is_not_read():
    assert request_from(Question(start=Time(sec=5), end=Time(sec=1)), 'x').interval is None


def test_an_empty_id_is_made_up_and_differs_each_time():
    first, second = question_id(Question()), question_id(Question())
    assert first and second and first != second


@pytest.mark.parametrize('given', ['a  b', ' a ', '   ', 'é 猫', 'a\x1bb', 'a\nb'])
def test_an_id_stays_as_it_was_given(given):
    assert question_id(Question(id=given)) == given
