# SPDX-License-Identifier: Apache-2.0
"""Stamps that are missing, late, doubled or ahead, and images that come far too fast: clips keep
rising stamps and bounds.
"""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from penguin_msgs.msg import ErrorCode
from support.graph import SyntheticCamera, stamp_ns

SECOND = 10**9
FRAME_BYTES = 64 * 48 * 3
BUFFERED_FRAMES = 40
PARAMETERS = {
    'camera.camera.transport': 'raw',
    'clip.fps': 30.0,
    'clip.seconds': 3.0,
    'caption.period': 0.2,
    'buffer.seconds': 10.0,
    'buffer.max_bytes': BUFFERED_FRAMES * FRAME_BYTES,
    'watch.future_tolerance': 1.0,
}


@pytest.fixture(scope='module')
def node(live_node):
    """Active, captioning; no images yet."""
    return live_node(PARAMETERS)


@pytest.fixture(scope='module')
def camera(graph, node):
    return SyntheticCamera(graph, '/camera/image')


def now_ns(node):
    return node.graph.node.get_clock().now().nanoseconds


def publish_until(node, camera, stamps, condition, what):
    """Publishes an image each 50 ms, with the next of `stamps`, until the condition holds."""
    timer = node.graph.node.create_timer(0.05, lambda: camera.publish(next(stamps)))
    try:
        return node.graph.wait_for(condition, 20, what)
    finally:
        node.graph.node.destroy_timer(timer)


def with_now(node, *offsets):
    """Yields, again and again, the time now and a stamp for each offset from it in nanoseconds."""
    while True:
        stamp = now_ns(node)
        yield stamp
        for offset in offsets:
            yield stamp + offset


def assert_rising(captions):
    assert captions
    for caption in captions:
        stamps = [stamp_ns(frame.stamp) for frame in caption.evidence.frames]
        assert all(earlier < later for earlier, later in zip(stamps, stamps[1:], strict=False)), (
            stamps
        )
        assert stamp_ns(caption.evidence.start) <= stamp_ns(caption.evidence.end) or not stamps


def settled(node, camera):
    """Waits until only present frames are left and nothing is wrong any more."""
    publish_until(
        node,
        camera,
        with_now(node),
        lambda: node.entry('camera camera').level == DiagnosticStatus.OK,
        'health',
    )


@pytest.mark.parametrize('offset, cause', [(-SECOND // 2, 'late'), (0, 'duplicate')])
def test_late_and_doubled_stamps_are_dropped_and_counted_and_clips_keep_rising(
    node, camera, offset, cause
):
    before, seen = node.drops(cause), len(node.captions)
    publish_until(
        node,
        camera,
        with_now(node, offset),
        lambda: node.drops(cause) > before + 5 and len(node.captions) > seen + 3,
        f'drops for {cause}',
    )
    assert_rising(node.captions[seen:])
    assert any(len(caption.evidence.frames) > 1 for caption in node.captions[seen:])


def test_stamps_ahead_of_the_clock_are_used_and_reported_and_the_stream_recovers(node, camera):
    ahead = (stamp + 5 * SECOND for stamp in with_now(node))
    publish_until(
        node,
        camera,
        ahead,
        lambda: 'ahead of' in node.entry('camera camera').message,
        'a warning about the clock',
    )
    assert node.entry('camera camera').level == DiagnosticStatus.WARN
    answer = node.ask().answer
    assert answer.error_code == ErrorCode.NONE and stamp_ns(answer.evidence.end) > now_ns(node)
    assert stamp_ns(answer.evidence.age) < 0
    # The clock of the camera is set right: its frames are behind the newest one, until the buffer
    # sees that it began anew.
    restart, seen = now_ns(node), node.drops('restarted')
    publish_until(
        node, camera, with_now(node), lambda: node.drops('restarted') > seen, 'a new beginning'
    )
    settled(node, camera)
    end = stamp_ns(node.ask().answer.evidence.end)
    assert restart <= end <= now_ns(node)


def test_a_film_that_begins_again_starts_a_new_clip(node, camera):
    base, seen, captions = now_ns(node), node.drops('restarted'), len(node.captions)
    lap = [base + frame * SECOND // 20 for frame in range(30)]
    film = (stamp for _ in iter(int, 1) for stamp in lap)
    publish_until(node, camera, film, lambda: node.drops('restarted') > seen + 20, 'a second lap')
    assert_rising(node.captions[captions:])


def test_a_burst_stays_within_the_buffer_and_the_sampling_rate(graph, node, camera):
    settled(node, camera)
    received, start = node.camera_status().frames_received, now_ns(node)

    def burst():
        for number in range(30):  # 300 images per second, ten times what is sampled
            camera.publish(now_ns(node) + number)

    timer = graph.node.create_timer(0.1, burst)
    graph.wait_for(
        lambda: node.camera_status().frames_received > received + BUFFERED_FRAMES, 20, 'frames'
    )
    graph.wait_for(lambda: node.drops('bytes') > 0, 20, 'the oldest to go')
    graph.node.destroy_timer(timer)
    status = node.camera_status()
    assert (
        0 < status.frames_buffered <= BUFFERED_FRAMES
        and status.bytes_buffered <= BUFFERED_FRAMES * FRAME_BYTES
    )
    seconds = (stamp_ns(node.status.header.stamp) - start) / SECOND
    assert (
        status.frames_received - received <= 30 * seconds + 35
    )  # the status before it may be a second old
    assert int(node.entry_values('camera camera')['frames']) < len(camera.stamps_ns)
    answer = node.ask().answer
    assert answer.error_code == ErrorCode.NONE
    assert stamp_ns(answer.evidence.end) >= start, 'the newest frames win'


def test_a_missing_stamp_is_replaced_by_the_time_of_receipt_and_reported(node, camera):
    start, seen = now_ns(node), len(node.captions)
    publish_until(
        node,
        camera,
        iter(lambda: 0, None),
        lambda: (
            len(node.captions) > seen + 2
            and 'carried no stamp' in node.entry('camera camera').message
        ),
        'captions and a warning',
    )
    assert node.entry('camera camera').level == DiagnosticStatus.WARN
    assert_rising(node.captions[seen:])
    newest = [stamp_ns(caption.header.stamp) for caption in node.captions[seen:]]
    assert start <= newest[-1] <= now_ns(node) and newest[0] > 0
