# SPDX-License-Identifier: Apache-2.0
"""How captions and answers look on a terminal."""

import json

import pytest

messages = pytest.importorskip('penguin_msgs.msg')

from penguin_ros.ros.client.watcher import json_lines, plain_lines


def caption(**fields):
    message = messages.Caption(camera='front', text='A bear.', **fields)
    message.evidence.start.sec = 5
    message.evidence.end.sec = 9
    return message


def test_a_caption_shows_its_interval():
    assert plain_lines('caption', caption()) == 'front [5.000 – 9.000] A bear.'


def test_a_repeated_caption_says_since_when_nothing_has_changed():
    message = caption(state=messages.Caption.UNCHANGED)
    message.evidence.unchanged_since.sec = 7
    assert plain_lines('caption', message) == 'front [5.000 – 9.000] unchanged since 7.000: A bear.'
    assert json.loads(json_lines('caption', message))['evidence']['unchanged_since'] == 7 * 10**9


def test_an_error_is_told_in_front_of_what_text_there_is():
    message = caption(state=messages.Caption.ERROR, error_code=1, error_message='it failed')
    assert plain_lines('caption', message) == 'front [5.000 – 9.000] (it failed) A bear.'


def test_an_answer_shows_its_question():
    message = messages.Answer(camera='front', question='What?', text='A bear.')
    assert plain_lines('answer', message) == 'front [0.000 – 0.000] Q: What?\n  A: A bear.'
