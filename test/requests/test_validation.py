# SPDX-License-Identifier: Apache-2.0
"""Requests are completed, or refused with the error that names the field."""

from __future__ import annotations

from typing import Any

import pytest

from penguin_ros.config import PenguinConfig
from penguin_ros.errors import (
    ImageTooLarge,
    InvalidQuestion,
    InvalidRequest,
    PenguinError,
    QuestionTooLong,
    TooManyImages,
    UnknownCamera,
)
from penguin_ros.frame import NANOSECONDS
from penguin_ros.request import NO_CAMERA, EncodedImage, Interval, Request
from penguin_ros.requests.validation import checked_question, checked_request
from penguin_ros.settings import with_values

CONFIG = with_values(
    PenguinConfig(),
    {
        'question.max_tokens': 50,
        'question.deadline': 20.0,
        'question.max_images': 2,
        'question.max_image_bytes': 100,
    },
)
IMAGE = EncodedImage(b'a PNG file')
NOW = 1_000 * NANOSECONDS


def checked(
    config: PenguinConfig = CONFIG, cameras: tuple[str, ...] = ('front', 'rear'), **facts: Any
) -> Request:
    return checked_request(Request(**{'id': 'q', 'text': 'What?', **facts}), config, cameras)


def test_what_is_left_out_gets_the_defaults() -> None:
    request = checked(id='')
    assert len(request.id) == 32 and request.id != checked(id='').id
    assert (request.camera, request.max_tokens, request.deadline_ns) == (
        'front',
        50,
        20 * NANOSECONDS,
    )


def test_what_is_given_stays() -> None:
    request = checked(camera='rear', max_tokens=7, deadline_ns=3)
    assert (request.id, request.camera, request.max_tokens, request.deadline_ns) == (
        'q',
        'rear',
        7,
        3,
    )


def test_the_default_camera_can_be_configured() -> None:
    assert checked(with_values(CONFIG, {'question.camera': 'rear'})).camera == 'rear'


def test_more_tokens_than_the_maximum_become_the_maximum() -> None:
    assert checked(max_tokens=51).max_tokens == 50


def test_images_take_the_place_of_the_camera() -> None:
    request = checked(images=(IMAGE,), camera='front')
    assert request.camera == '' and request.images == (), 'the caller decodes them'


@pytest.mark.parametrize(
    ('facts', 'error'),
    [
        ({'camera': 'nowhere'}, UnknownCamera),
        ({'max_tokens': -1}, InvalidRequest),
        ({'deadline_ns': -1}, InvalidRequest),
        ({'deadline_ns': 20 * NANOSECONDS + 1}, InvalidRequest),
        ({'id': 'x' * 257}, InvalidRequest),
        ({'interval': Interval(NOW - 1, NOW - 2)}, InvalidRequest),
        ({'interval': Interval(0, 1), 'images': (IMAGE,)}, InvalidRequest),
        ({'images': (IMAGE,) * 3}, TooManyImages),
        ({'images': (EncodedImage(bytes(60)), EncodedImage(memoryview(bytes(41))))}, ImageTooLarge),
    ],
)
def test_a_field_out_of_range_is_named(facts: dict[str, Any], error: type[PenguinError]) -> None:
    with pytest.raises(error):
        checked(**facts)


def test_a_question_about_no_camera_looks_at_nothing_unless_a_camera_is_called_so() -> None:
    assert checked(camera=NO_CAMERA).camera == ''
    assert checked(camera=NO_CAMERA, cameras=('front', NO_CAMERA)).camera == NO_CAMERA
    with pytest.raises(InvalidRequest, match='no frames'):
        checked(camera=NO_CAMERA, interval=Interval(1, 2))


def test_without_cameras_only_images_can_be_asked_about() -> None:
    assert checked(cameras=(), images=(IMAGE,)).camera == ''
    assert checked(cameras=(), camera=NO_CAMERA).camera == ''
    with pytest.raises(UnknownCamera):
        checked(cameras=())


def test_a_default_camera_that_does_not_exist_is_named_when_it_is_needed() -> None:
    with pytest.raises(UnknownCamera, match='side'):
        checked(with_values(CONFIG, {'question.camera': 'side'}))


@pytest.mark.parametrize(
    'text', ['', ' ', '\n\t ', '\0\0', '\x1b\x07', '\u2066\u2069', '\u00a0\u3000']
)
def test_a_question_without_a_visible_character_is_invalid(text: str) -> None:
    with pytest.raises(InvalidQuestion):
        checked_question(text, 100)


def test_the_length_is_checked_before_cleaning() -> None:
    assert checked_question('x' * 100, 100) == 'x' * 100
    with pytest.raises(QuestionTooLong, match='1000000 characters'):
        checked_question('\0' * 1_000_000, 100)


@pytest.mark.parametrize('given', ['a  b', ' a ', '   ', 'é 猫', 'x' * 256])
def test_an_id_comes_back_as_it_was_given(given: str) -> None:
    assert checked(id=given).id == given


@pytest.mark.parametrize('given', ['a\nb', 'a\tb', 'a\x1b[31m', 'a\0', 'a\u202eb', 'a\ud800'])
def test_an_id_that_could_not_come_back_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest, match='not printable'):
        checked(id=given)
