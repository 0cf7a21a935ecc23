# SPDX-License-Identifier: Apache-2.0
"""A goal is cancelled in each phase of its life: it ends CANCELED within 100 ms and one step, with
the text it had.
"""

import time

import pytest
from action_msgs.msg import GoalStatus
from penguin_msgs.msg import ErrorCode

LONG = 1500  # tokens: far more than any test waits for
ATTEMPTS = 5
LIMIT_S = 0.1
# Small steps and long phases: a cancel meets the one that it is meant for.
PARAMETERS = {
    'caption.enabled': False,
    'clip.fps': 40.0,
    'clip.seconds': 3.0,
    'clip.max_frames': 64,
    'buffer.seconds': 30.0,
    'visual.max_visual_tokens': 1024,
    'model.encode_patches': 64,
    'model.prefill_chunk': 4,
    'question.max_tokens': LONG,
    'model.prefix_caching': False,
    'clip.precompute': 'off',
    'clip.window': 'recent',
    'generation.draft_tokens': 0,
}
LONG_QUESTION = 'What is happening in this video? ' * 100


@pytest.fixture(scope='module')
def node(live_node):
    """Active, with many frames."""
    node = live_node(PARAMETERS, frames_hz=40.0)
    node.graph.wait_for(lambda: node.camera_status().frames_buffered > 60, 40, 'a long clip')
    return node


@pytest.fixture(scope='module')
def phases(node):
    """Seconds that the long question takes until its first step, to encode, and to prefill."""
    evidence = node.ask(LONG_QUESTION, max_tokens=1).answer.evidence
    return seconds_of(evidence.wait), seconds_of(evidence.encode), seconds_of(evidence.prefill)


def seconds_of(duration):
    return duration.sec + duration.nanosec / 1e9


def time_to_cancel(goal):
    """Cancels a goal; returns the seconds until its result, and the result."""
    start = time.monotonic()
    goal.cancel()
    status, answer = goal.result(10)
    return time.monotonic() - start, status, answer


def assert_prompt(durations):
    """Other processes may delay any one attempt; a node that is slow by itself delays them all."""
    assert min(durations) < LIMIT_S, durations


def cancelled(node, question, is_ready, is_in_phase):
    """The answers of goals cancelled as soon as `is_ready(goal)`, those that were met in their
    phase; they were prompt.
    """
    durations, answers = [], []
    for _ in range(4 * ATTEMPTS):
        goal = node.send_goal(question, max_tokens=LONG)
        node.graph.wait_for(lambda goal=goal: is_ready(goal), 30, 'the moment to cancel')
        seconds, status, answer = time_to_cancel(goal)
        assert (status, answer.error_code) == (GoalStatus.STATUS_CANCELED, ErrorCode.CANCELLED)
        assert answer.evidence.stop_reason == answer.evidence.CANCELLED
        if is_in_phase(answer.evidence):
            durations.append(seconds)
            answers.append(answer)
        if len(answers) == ATTEMPTS:
            break
    assert answers, 'the phase was never met'
    assert_prompt(durations)
    return answers


def after(seconds):
    """Returns a condition that holds from so long after it was first asked for."""
    starts = {}
    return lambda goal: time.monotonic() - starts.setdefault(goal, time.monotonic()) > seconds


def test_while_it_waits(node, graph):
    running, waiting = node.send_goal(max_tokens=LONG), node.send_goal(max_tokens=LONG)
    running.wait_for_text()
    durations = []
    for _ in range(ATTEMPTS):
        seconds, status, answer = time_to_cancel(waiting)
        durations.append(seconds)
        assert (status, answer.error_code, answer.text) == (
            GoalStatus.STATUS_CANCELED,
            ErrorCode.CANCELLED,
            '',
        )
        assert not seconds_of(answer.evidence.encode) and not seconds_of(answer.evidence.prefill)
        assert seconds_of(answer.evidence.wait) > 0 and not answer.evidence.frames
        waiting = node.send_goal(max_tokens=LONG)
    assert_prompt(durations)
    assert not running.result_future.done(), 'the one that ran has nothing to do with it'
    running.cancel()
    waiting.cancel()
    assert running.result(10)[0] == waiting.result(10)[0] == GoalStatus.STATUS_CANCELED


def test_while_frames_are_encoded(node, phases):
    wait, encode, _ = phases
    answers = cancelled(
        node,
        LONG_QUESTION,
        after(wait + encode / 2),
        lambda evidence: seconds_of(evidence.encode) and not seconds_of(evidence.prefill),
    )
    assert all(
        answer.text == '' and not answer.evidence.generated_tokens and answer.evidence.frames
        for answer in answers
    )


def test_while_the_prompt_is_read(node, phases):
    wait, encode, prefill = phases
    answers = cancelled(
        node,
        LONG_QUESTION,
        after(wait + encode + prefill / 2),
        lambda evidence: seconds_of(evidence.prefill) and not evidence.generated_tokens,
    )
    assert all(answer.text == '' and answer.evidence.prompt_tokens > 1000 for answer in answers)
    assert all(not seconds_of(answer.evidence.first_token_latency) for answer in answers)


def test_while_the_text_grows_which_is_kept(node):
    goals = []

    def has_text(goal):
        if goal not in goals:
            goals.append(goal)
        return len(goal.feedback) > 2

    answers = cancelled(node, 'What?', has_text, lambda evidence: evidence.generated_tokens > 2)
    for goal, answer in zip(goals, answers, strict=True):
        assert answer.text.startswith(goal.feedback[-1].text) and len(goal.feedback[-1].text) > 0
        assert answer.evidence.is_truncated and 0 < answer.evidence.generated_tokens < LONG
        assert [feedback.sequence for feedback in goal.feedback] == sorted(
            {feedback.sequence for feedback in goal.feedback}
        )


def test_right_after_it_was_sent(node, graph):
    """Between its acceptance and its first step a goal can be cancelled as well."""
    for _ in range(10):
        goal = node.send_goal(max_tokens=LONG)
        goal.cancel()
        assert goal.result(10)[0] == GoalStatus.STATUS_CANCELED


def test_twice_and_after_the_end_does_no_harm(node, graph):
    goal = node.send_goal(max_tokens=LONG)
    goal.wait_for_text()
    first, second = goal.handle.cancel_goal_async(), goal.handle.cancel_goal_async()
    graph.wait_for(lambda: first.done() and second.done())
    assert goal.result(10)[0] == GoalStatus.STATUS_CANCELED
    goal.cancel()
    assert node.ask('And now?', max_tokens=4).success
    assert node.ask('And now?', max_tokens=4).answer.evidence.generated_tokens == 4
