# SPDX-License-Identifier: Apache-2.0
"""Nonsense in parameters: at the start it ends the process with a sentence, at run time it is
refused with the reason.
"""

import math

import pytest
from penguin_msgs.msg import ErrorCode
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter

PARAMETER_FILE = """
/**:
  ros__parameters:
    clip:
      fps: 5.0
      secnds: 2.0
    captoin.period: 0.5
    question.max_tokens: 6
    camera.camera.transprt: raw
    completely_unknown: 3
    clip.ahead: prefill
    caption:
      max_pause: 3.0
"""


# --- at the start ---------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def refused(graph):
    """Starts a process for every case at once, since each takes a second to import what it needs;
    gives them by case. Which other values are refused tells test_parameters, in one process.
    """
    return {case: graph.start(arguments=arguments) for case, (arguments, _) in START_CASES.items()}


def given(name, value):
    return '-p', f'{name}:={value}'


START_CASES = {
    'NaN': (given('clip.fps', '.nan'), ('clip.fps', 'nan')),
    'wrong type': (given('question.max_tokens', 'many'), ('question.max_tokens', 'STRING')),
    'camera with blanks': (given('cameras', '["front left"]'), ("'front left' is no name",)),
    'no topic': (
        given('camera.camera.topic', '"not a topic"'),
        ('camera.camera.topic', 'not a topic'),
    ),
    'clip longer than buffer': (
        (*given('clip.seconds', '60.0'), *given('buffer.seconds', '10.0')),
        ('clip.seconds', 'buffer'),
    ),
    'no such file': (('--params-file', '/nowhere/parameters.yaml'), ('/nowhere/parameters.yaml',)),
    'bad argument': (('-p', 'clip.fps'), ('clip.fps',)),
}


@pytest.mark.parametrize('case', START_CASES)
def test_nonsense_at_the_start_ends_the_process_with_a_sentence(refused, case):
    process, told = refused[case], START_CASES[case][1]
    assert process.wait_for_exit(60) == 2, process.log
    assert all(text in process.log for text in ('penguin_node cannot start', *told)), process.log
    assert 'Traceback' not in process.log, process.log


# --- at run time ----------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def node(live_node, tmp_path_factory):
    """Active, started with a parameter file full of slips."""
    path = tmp_path_factory.mktemp('parameters') / 'slips.yaml'
    path.write_text(PARAMETER_FILE)
    old_name = ('-p', f'model.feature_cache_bytes:={2**20}')
    return live_node(
        {'caption.enabled': False},
        frames_hz=10.0,
        arguments=('--params-file', str(path), *old_name),
    )


@pytest.mark.parametrize(
    'slip, meant',
    [
        ('clip.secnds', 'clip.seconds'),
        ('captoin.period', 'caption.period'),
        ('camera.camera.transprt', 'camera.camera.transport'),
    ],
)
def test_a_slip_in_the_parameter_file_is_warned_about_with_the_nearest_name(node, slip, meant):
    line = next(
        line for line in node.process.log.splitlines() if f'unknown parameter {slip}' in line
    )
    assert f'Did you mean {meant}?' in line and 'WARN' in line


def test_a_parameter_like_no_other_is_warned_about_without_a_guess(node):
    line = next(
        line
        for line in node.process.log.splitlines()
        if 'unknown parameter completely_unknown' in line
    )
    assert 'Did you mean' not in line and 'docs/parameters.md' in line
    assert node.process.log.count('unknown parameter') == 4


@pytest.mark.parametrize(
    'old, new',
    [
        ('clip.ahead', 'clip.precompute'),
        ('caption.max_pause', 'caption.max_preemption'),
        ('model.feature_cache_bytes', 'model.encoder_cache_bytes'),
    ],
)
def test_an_old_name_in_the_file_or_on_the_command_line_is_warned_about(node, old, new):
    line = next(line for line in node.process.log.splitlines() if f'{old} is now called' in line)
    assert f'is now called {new}' in line and 'WARN' in line


def test_what_is_given_under_an_old_name_applies(node):
    names = 'clip.precompute', 'caption.max_preemption', 'model.encoder_cache_bytes'
    assert values(node, *names) == ['prefill', 3.0, 2**20]


def values(node, *names):
    client = node.graph.client(GetParameters, f'{node.name}/get_parameters')
    messages = node.graph.call(client, GetParameters.Request(names=list(names))).values
    return [
        Parameter.from_parameter_msg(ParameterMessage(name='x', value=message)).value
        for message in messages
    ]


def test_what_is_right_in_that_file_applies(node):
    assert values(node, 'clip.fps', 'question.max_tokens') == [5.0, 6]
    assert node.ask().answer.evidence.generated_tokens == 6


@pytest.mark.parametrize(
    'name, value, reason',
    [
        ('clip.fps', math.nan, 'clip.fps'),
        ('clip.fps', math.inf, 'clip.fps'),
        ('clip.fps', -1.0, '0.01'),
        ('clip.fps', 0, '0.01'),
        ('clip.fps', 'fast', 'clip.fps'),
        ('clip.fps', True, 'a number'),
        ('clip.max_frames', 0, '1'),
        ('clip.max_frames', 10**12, '180'),
        ('clip.max_frames', 2.5, 'Wrong parameter type'),
        ('caption.enabled', 1, 'Wrong parameter type'),
        ('caption.prompt', '', 'caption.prompt is empty'),
        ('caption.prompt', ['a', 'b'], 'Wrong parameter type'),
        ('generation.temperature', 11.0, '10'),
        ('generation.top_p', -0.5, '0'),
        ('visual.policy', 'best', 'reference, fixed'),
        ('clip.seconds', 31.0, 'the buffer keeps 30.0 s only'),
        ('model.checkpoint', '/elsewhere', 'cleanup'),
        ('model.backend', 'magic', 'it takes one of auto'),
        ('cameras', ['other'], 'cleanup'),
        ('camera.camera.topic', 'elsewhere', 'cleanup'),
        ('camera.camera.transport', 'h264', 'cleanup'),
        ('autostart', False, 'autostart'),
        ('no.such.parameter', 1, 'undeclared'),
    ],
)
def test_nonsense_at_run_time_is_refused_with_the_reason_and_changes_nothing(
    node, name, value, reason
):
    known = name != 'no.such.parameter'
    before = values(node, name) if known else None
    result = node.set(**{name.replace('.', '__'): value})[0]
    assert not result.successful and reason in result.reason, result.reason
    assert not known or values(node, name) == before


def test_a_whole_number_for_a_double_comes_back_as_a_double(node):
    client = node.graph.client(GetParameters, f'{node.name}/get_parameters')
    for given in (6, 5):
        assert node.set(clip__fps=given)[0].successful
        (value,) = node.graph.call(client, GetParameters.Request(names=['clip.fps'])).values
        assert (value.type, value.double_value) == (ParameterType.PARAMETER_DOUBLE, given)


def test_a_parameter_cannot_be_removed(node):
    client = node.graph.client(SetParameters, f'{node.name}/set_parameters')
    nothing = ParameterMessage(
        name='clip.fps', value=ParameterValue(type=ParameterType.PARAMETER_NOT_SET)
    )
    result = node.graph.call(client, SetParameters.Request(parameters=[nothing])).results[0]
    assert not result.successful and result.reason and values(node, 'clip.fps') == [5.0]


def test_a_set_with_one_bad_value_changes_nothing_at_all(node):
    client = node.graph.client(SetParametersAtomically, f'{node.name}/set_parameters_atomically')
    changes = [Parameter('question.max_tokens', value=3), Parameter('clip.fps', value=-1.0)]
    request = SetParametersAtomically.Request(
        parameters=[change.to_parameter_msg() for change in changes]
    )
    result = node.graph.call(client, request).result
    assert not result.successful and result.reason
    assert values(node, 'question.max_tokens', 'clip.fps') == [6, 5.0]


def test_after_all_that_the_node_answers_and_takes_good_values(node):
    assert all(
        result.successful
        for result in node.set(question__max_tokens=3, clip__fps=8, caption__prompt='Что это?')
    )
    answer = node.ask().answer
    assert answer.error_code == ErrorCode.NONE and answer.evidence.generated_tokens == 3
    assert values(node, 'caption.prompt') == ['Что это?']
