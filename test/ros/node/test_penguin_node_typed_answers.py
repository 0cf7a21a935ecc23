# SPDX-License-Identifier: Apache-2.0
"""Choices, JSON, log probabilities and conversations over real topics, services and actions, from
clients of every kind and from the command line.
"""

from __future__ import annotations

import array
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from penguin_msgs.msg import ErrorCode
from penguin_msgs.srv import Ask
from sensor_msgs.msg import CompressedImage
from support.live_node import LiveNode
from support.stock_commands import WITH_MESSAGE, filled, quoted_in_text, shown, words_of

SCHEMA = json.dumps(
    {
        'type': 'object',
        'properties': {'colour': {'enum': ['red', 'blue']}, 'is_near': {'type': 'boolean'}},
        'required': ['colour', 'is_near'],
        'additionalProperties': False,
    }
)
numbers = itertools.count()


@pytest.fixture(scope='module')
def node(live_node: Callable[..., LiveNode]) -> LiveNode:
    """Active, with frames arriving, and a real network of random weights."""
    return live_node({'caption.enabled': False, 'question.max_tokens': 40}, frames_hz=10.0)


def ask(node: LiveNode, question: str = 'What is this?', **fields: Any) -> Any:
    """The answer of the service, which says whether it went well."""
    response = node.ask(question, **fields)
    assert response.success == (response.answer.error_code == 0)
    assert response.message == response.answer.error_message
    return response.answer


def image(level: int) -> CompressedImage:
    stream = io.BytesIO()
    PIL.Image.fromarray(np.full((56, 84, 3), level, np.uint8)).save(stream, 'PNG')
    return CompressedImage(format='png', data=array.array('B', stream.getvalue()))


def test_choices_come_with_probabilities_at_each_entry(node: LiveNode) -> None:
    choices = ['yes', 'no']
    answers = [ask(node, choices=choices), node.send_goal(choices=choices).result()[1]]
    name = f'topic {next(numbers)}'
    node.publish_question(id=name, choices=choices)
    answers.append(node.wait_for_answer(name))
    for answer in answers:
        assert answer.error_code == 0, answer.error_message
        assert list(answer.choices) == choices and len(answer.probabilities) == 2
        assert sum(answer.probabilities) == pytest.approx(1, abs=1e-6)
        assert answer.choice == '' if answer.is_cannot_tell else answer.choice in choices
        assert answer.text == (answer.choice or 'I cannot tell.')
        assert answer.confidence == (0 if answer.is_cannot_tell else max(answer.probabilities))
        assert 0 <= answer.cannot_tell <= 1 and 0 <= answer.other_mass <= 1
        assert answer.evidence.frames and answer.evidence.prompt_tokens > 0
        assert answer.json == '' and not answer.logprobs and answer.conversation == ''


def test_the_threshold_of_cannot_tell_is_a_parameter(node: LiveNode) -> None:
    assert all(result.successful for result in node.set(question__cannot_tell_threshold=0.0))
    answer = ask(node, choices=['here', 'there'])
    assert answer.is_cannot_tell and (answer.choice, answer.confidence) == ('', 0)
    assert answer.text == 'I cannot tell.' and len(answer.probabilities) == 2
    assert not node.set(question__cannot_tell_threshold=1.5)[0].successful
    node.set(question__cannot_tell_threshold=1.0)
    assert not ask(node, choices=['here', 'there']).is_cannot_tell


def test_json_conforms_and_streams(node: LiveNode) -> None:
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    goal = node.send_goal(json_schema=SCHEMA)
    status, answer = goal.result()
    assert status == GoalStatus.STATUS_SUCCEEDED, answer.error_message
    value = json.loads(answer.json)
    assert set(value) == {'colour', 'is_near'} and type(value['is_near']) is bool
    assert answer.text == answer.json and 0 < answer.confidence <= 1
    node.graph.wait_for(lambda: goal.feedback, what='feedback')
    assert all(answer.text.startswith(each.text) for each in goal.feedback)
    assert not answer.evidence.is_truncated and ask(node, json_schema=SCHEMA).json
    cut = ask(node, json_schema=SCHEMA, max_tokens=6)
    assert cut.error_code == 0 and cut.json == '' and cut.evidence.is_truncated and cut.text


def test_log_probabilities_come_when_they_are_asked_for(node: LiveNode) -> None:
    assert not ask(node).logprobs
    answer = ask(node, logprobs=True, max_tokens=5)
    assert len(answer.logprobs) == answer.evidence.generated_tokens > 0
    mean = sum(each.logprob for each in answer.logprobs) / len(answer.logprobs)
    assert answer.confidence == pytest.approx(np.exp(mean), rel=1e-5)


@pytest.mark.parametrize(
    ('fields', 'code'),
    [
        ({'choices': ['a', 'a']}, 'INVALID_CHOICES'),
        ({'choices': [str(number) for number in range(10_000)]}, 'INVALID_CHOICES'),
        ({'choices': ['']}, 'INVALID_CHOICES'),
        ({'choices': ['a', 'x' * 100_000]}, 'INVALID_CHOICES'),
        ({'choices': ['a'], 'json_schema': '{}'}, 'INVALID_REQUEST'),
        ({'json_schema': '{'}, 'INVALID_SCHEMA'),
        ({'json_schema': '{"not": {}}'}, 'INVALID_SCHEMA'),
        ({'json_schema': '{"$ref": "#"}'}, 'INVALID_SCHEMA'),
        ({'json_schema': '{"const": "%s"}' % ('x' * 1_000_000)}, 'INVALID_SCHEMA'),
        ({'json_schema': '{"items":' * 9_000 + '{}' + '}' * 9_000}, 'INVALID_SCHEMA'),
        ({'conversation': 'mine'}, 'UNKNOWN_CONVERSATION'),
        ({'conversation': 'x' * 100_000}, 'UNKNOWN_CONVERSATION'),
        ({'forget_conversation': True}, 'INVALID_REQUEST'),
        ({'image_stamps': [Time(sec=1)]}, 'INVALID_REQUEST'),
        ({'images': [image(1)] * 2, 'image_stamps': [Time(sec=1)] * 2}, 'INVALID_REQUEST'),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(
    node: LiveNode, fields: dict[str, Any], code: str
) -> None:
    if code == 'INVALID_SCHEMA':
        pytest.importorskip('llguidance', reason='llguidance is not installed')
    answer = ask(node, **fields)
    assert answer.error_code == getattr(ErrorCode, code), answer.error_message
    assert answer.error_message and len(answer.error_message) < 1000
    assert (answer.json, answer.choice, len(answer.probabilities)) == ('', '', 0)


def test_stamped_images_give_evidence_with_their_times(node: LiveNode) -> None:
    stamps = [Time(sec=100), Time(sec=107, nanosec=500_000_000)]
    answer = ask(node, images=[image(9), image(200)], image_stamps=stamps)
    assert answer.error_code == 0, answer.error_message
    assert [frame.stamp for frame in answer.evidence.frames] == stamps
    assert (answer.evidence.start, answer.evidence.end) == (stamps[0], stamps[1])


def test_a_conversation_costs_its_own_tokens_and_is_nobody_elses(node: LiveNode) -> None:
    first = ask(node, 'What is this?', conversation='new', max_tokens=6)
    assert first.error_code == 0 and len(first.conversation) >= 20
    ask(node, 'Something else?', max_tokens=6)
    second = ask(node, 'And why?', conversation=first.conversation, max_tokens=6)
    assert second.error_code == 0 and second.conversation == first.conversation
    shown = [frame.stamp for frame in first.evidence.frames]
    assert [frame.stamp for frame in second.evidence.frames] == shown
    evidence = second.evidence
    assert evidence.prompt_tokens > first.evidence.prompt_tokens
    assert evidence.reused_tokens > evidence.visual_tokens > 0
    own = evidence.prompt_tokens - first.evidence.prompt_tokens
    assert evidence.prompt_tokens - evidence.reused_tokens <= own + 8
    published = node.wait_for_answer(first.id)
    assert published.text == first.text and published.conversation == '', 'not for everybody'
    done = ask(node, '', conversation=first.conversation, forget_conversation=True)
    assert (done.error_code, done.text, done.conversation) == (0, '', '')
    late = ask(node, 'And?', conversation=first.conversation)
    assert late.error_code == ErrorCode.UNKNOWN_CONVERSATION


def test_a_conversation_by_topic_and_action(node: LiveNode) -> None:
    name = f'topic {next(numbers)}'
    node.publish_question(id=name, conversation='new')
    begun = node.wait_for_answer(name).conversation
    assert begun
    _, answer = node.send_goal('And?', conversation=begun).result()
    assert answer.conversation == begun
    _, done = node.send_goal('', conversation=begun, forget_conversation=True).result()
    assert done.error_code == 0


# --- stock tools ----------------------------------------------------------------------------------

QUOTED = [
    line
    for line in dict.fromkeys((*shown(), *quoted_in_text()))
    if words_of(line)[0] in WITH_MESSAGE and 'Bool' not in line
]


@pytest.mark.parametrize('line', QUOTED)
def test_a_question_that_the_documentation_quotes_is_answered(node: LiveNode, line: str) -> None:
    """The message is read as `ros2` reads it, and sent."""
    (verb, _), (_, kind, text) = words_of(line)
    if 'json_schema' in text:
        pytest.importorskip('llguidance', reason='llguidance is not installed')
    message = filled(kind, text)
    message.id = f'quoted {next(numbers)}'
    if verb == 'topic':
        node.question_publisher.publish(message)
        answer = node.wait_for_answer(message.id)
    elif verb == 'service':
        answer = node.graph.call(node._client(Ask, 'ask'), message, 30.0).answer
    else:
        fields = {name: getattr(message, name) for name in message.get_fields_and_field_types()}
        answer = node.send_goal(**fields).result()[1]
    assert answer.error_code == 0, answer.error_message
    assert answer.question == message.question and answer.text and answer.evidence.frames
    assert bool(answer.choice or answer.is_cannot_tell) == bool(message.choices)
    assert bool(answer.conversation) == bool(message.conversation)
    assert bool(answer.logprobs) == message.logprobs


# --- the command line -----------------------------------------------------------------------------


def penguin(node: LiveNode, *words: str, typed: str = '') -> subprocess.CompletedProcess[str]:
    """Runs `penguin` beside the node, while the camera publishes."""
    environment = {
        **os.environ,
        'ROS_DOMAIN_ID': str(node.graph.domain.number),
        'XDG_CACHE_HOME': str(node.graph.folder / 'cache'),
    }
    out, err = (node.graph.folder / name for name in ('out.log', 'err.log'))
    with out.open('wb') as output, err.open('wb') as errors:
        program = subprocess.Popen(
            [sys.executable, '-m', 'penguin_ros.cli.main', *words],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            assert program.stdin is not None
            program.stdin.write(typed.encode())
            program.stdin.close()
            node.graph.wait_for(lambda: program.poll() is not None, 90.0, f'the end of {words}')
        finally:
            program.kill()
            program.wait()
    return subprocess.CompletedProcess(words, program.returncode, out.read_text(), err.read_text())


def test_ask_prints_probabilities_json_and_log_probabilities(
    node: LiveNode, tmp_path: Path
) -> None:
    done = penguin(node, 'ask', 'Is it near?', '--choice', 'yes', '--choice', 'no')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] in ('yes', 'no', 'I cannot tell.')
    assert [line.split()[-1] for line in lines[1:3]] == ['yes', 'no'] and '%' in lines[1]
    assert 'cannot tell' in lines[3]
    done = penguin(node, 'ask', 'What is it?', '--logprobs', '--max-tokens', '3')
    assert done.returncode == 0 and 'confidence 0.' in done.stdout
    pytest.importorskip('llguidance', reason='llguidance is not installed')
    schema = tmp_path / 'schema.json'
    schema.write_text(SCHEMA)
    done = penguin(node, 'ask', 'What is it?', '--json-schema', str(schema))
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[0]), done.stderr
    schema.write_text('{"not": {}}')
    done = penguin(node, 'ask', 'What is it?', '--json-schema', str(schema))
    assert done.returncode == 1 and 'schema' in done.stderr


def test_ask_follows_the_conversation_of_this_user(node: LiveNode) -> None:
    first, second = (
        penguin(node, 'ask', text, '--follow', '--json', '--max-tokens', '4')
        for text in ('What is it?', 'And why?')
    )
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    answers = [json.loads(done.stdout) for done in (first, second)]
    assert answers[0]['conversation'] == answers[1]['conversation'] != ''
    frames = [answer['evidence']['frames'] for answer in answers]
    assert frames[0] == frames[1]
    [kept] = (node.graph.folder / 'cache' / 'penguin_ros' / 'conversations').iterdir()
    assert kept.read_text() == answers[0]['conversation'] and kept.stat().st_mode & 0o77 == 0
    kept.write_text('something else')
    third = penguin(node, 'ask', 'Anew?', '--follow', '--json', '--max-tokens', '4')
    assert third.returncode == 0, 'what the node does not know begins anew'
    assert kept.read_text() == json.loads(third.stdout)['conversation']


def test_chat_is_one_conversation_until_it_ends(node: LiveNode) -> None:
    seen = len(node.answers)
    done = penguin(
        node, 'chat', typed='What is it?\n\nAnd why?\n/help\n/look\nAnd now?\n/last x\n/quit\nNot'
    )
    assert done.returncode == 0, done.stderr
    assert '/look' in done.stderr and '/last takes seconds' in done.stderr
    questions = [answer.question for answer in node.answers[seen:] if answer.question]
    assert questions == ['What is it?', 'And why?', 'And now?']
    first, second, third = node.answers[seen : seen + 3]
    assert len(done.stdout.splitlines()) >= 3
    assert [frame.stamp for frame in second.evidence.frames] == [
        frame.stamp for frame in first.evidence.frames
    ]
    assert third.evidence.visual_tokens > second.evidence.visual_tokens, 'it looked again'
