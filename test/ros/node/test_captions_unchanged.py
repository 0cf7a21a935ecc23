# SPDX-License-Identifier: Apache-2.0
"""Captions of a node whose image stands still, over real topics: signs of life in time, every
change told, all counted.
"""

import array
import time

import numpy as np
import pytest
from penguin_msgs.msg import Caption, Status
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from support.graph import SyntheticCamera, stamp_ns

PERIOD, HEARTBEAT = 0.4, 2.0
SLACK = 1.0  # of a machine that tests share


class Scenes(SyntheticCamera):
    """Shows `scene`, with some noise in every image; two scenes are not alike."""

    scene = 0

    def publish(self, *_, **__):
        self._count += 1
        pixels = 240 * np.random.default_rng(self.scene).integers(0, 2, (112, 112, 1)).repeat(3, 2)
        pixels = (
            pixels + np.random.default_rng(1000 + self._count).integers(0, 8, pixels.shape)
        ).astype(np.uint8)
        return super().publish(
            height=112, width=112, step=3 * 112, data=array.array('B', pixels.tobytes())
        )


@pytest.fixture(scope='module')
def node(graph, live_node):
    """Active, with images of one scene, noise and all; `arrivals` are captions with their times."""
    node = live_node(
        {
            'clip.window': 'growing',
            'clip.fps': 5.0,
            'caption.gate': True,
            'caption.period': PERIOD,
            'caption.heartbeat': HEARTBEAT,
        }
    )
    node.arrivals = []
    graph.node.create_subscription(
        Caption,
        '/penguin/caption',
        lambda caption: node.arrivals.append((time.monotonic(), caption)),
        QoSProfile(depth=100),
    )
    node.camera = Scenes(graph, '/camera/image')
    node.camera.start(10.0)
    graph.wait_for(lambda: node.arrivals, 30.0, 'the first caption')
    return node


def described(node):
    return [caption for _, caption in node.arrivals if caption.state != Caption.UNCHANGED]


def await_silence(node):
    """Waits until captions are unchanged, and returns the newest one that was made."""
    seen = len(node.arrivals)
    node.graph.wait_for(
        lambda: len(node.arrivals) > seen and node.arrivals[-1][1].state == Caption.UNCHANGED,
        20.0,
        'an unchanged caption',
    )
    return described(node)[-1]


def test_while_nothing_changes_only_signs_of_life_go_out_and_each_in_time(node):
    last, first = await_silence(node), len(node.arrivals) - 1
    node.graph.wait_for(lambda: len(node.arrivals) >= first + 4, 30.0, 'three more signs of life')
    quiet = node.arrivals[first : first + 4]
    assert {(caption.state, caption.text) for _, caption in quiet} == {
        (Caption.UNCHANGED, last.text)
    }
    gaps = [later - earlier for (earlier, _), (later, _) in zip(quiet, quiet[1:], strict=False)]
    assert max(gaps) <= HEARTBEAT + SLACK and min(gaps) > 2 * PERIOD, gaps


def test_the_evidence_of_an_unchanged_caption_names_the_frames_that_the_text_is_about(node):
    last = await_silence(node)
    caption = node.arrivals[-1][1]
    evidence = caption.evidence
    assert [stamp_ns(frame.stamp) for frame in evidence.frames] == [
        stamp_ns(frame.stamp) for frame in last.evidence.frames
    ]
    assert evidence.unchanged_since == last.evidence.end and evidence.start == last.evidence.start
    assert (
        stamp_ns(evidence.end) > stamp_ns(last.evidence.end)
        and caption.header.stamp == evidence.end
    )
    assert (evidence.generated_tokens, evidence.prompt_tokens) == (0, 0) and stamp_ns(
        last.evidence.unchanged_since
    ) == 0
    assert stamp_ns(evidence.end) in node.camera.stamps_ns


def test_a_change_is_told_within_a_period(node):
    await_silence(node)
    made = len(described(node))
    node.camera.scene += 1
    changed_ns = node.graph.node.get_clock().now().nanoseconds
    node.graph.wait_for(lambda: len(described(node)) > made, 20.0, 'a caption of the change')
    caption = described(node)[made]
    assert stamp_ns(caption.evidence.end) >= changed_ns
    arrived_ns = stamp_ns(caption.evidence.end) - changed_ns
    assert arrived_ns <= (PERIOD + SLACK) * 10**9, 'frames of one period, not of a heartbeat'


def test_what_needed_no_model_is_counted_in_status_and_diagnostics(node):
    await_silence(node)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    texts, statuses = (
        node.graph.collect(String, '/penguin/caption_text'),
        node.graph.collect(Status, '/penguin/status', latched),
    )
    node.graph.wait_for(
        lambda: statuses and statuses[-1].captions_unchanged > 5,
        20.0,
        'unchanged captions in the status',
    )
    node.graph.wait_for(
        lambda: int(node.entry_values('camera camera').get('captions repeated', 0)) > 1,
        20.0,
        'diagnostics',
    )
    told = node.entry_values('camera camera')
    assert (
        int(told['captions unchanged']) > int(told['captions repeated']) > 0
        and int(told['frames taken']) > 5
    )
    assert (
        statuses[-1].captions_published < statuses[-1].captions_unchanged + len(described(node)) + 1
    )
    node.graph.wait_for(lambda: texts, 20.0, 'the text for overlays')


def test_a_question_is_answered_by_the_model_although_nothing_changes(node):
    await_silence(node)
    response = node.ask('What is there?')
    assert response.answer.error_code == 0 and response.answer.evidence.generated_tokens > 0
    assert (
        response.answer.evidence.reused_frames > 0
        and stamp_ns(response.answer.evidence.unchanged_since) == 0
    )


def test_without_the_gate_captions_are_made_again(node):
    await_silence(node)
    assert node.set(caption__gate=False)[0].successful
    made = len(described(node))
    node.graph.wait_for(
        lambda: len(described(node)) >= made + 3, 30.0, 'captions of what does not change'
    )
    assert node.set(caption__gate=True)[0].successful
