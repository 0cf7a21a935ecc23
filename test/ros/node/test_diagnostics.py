# SPDX-License-Identifier: Apache-2.0
"""What diagnostics and status make of a snapshot."""

import dataclasses
from dataclasses import replace

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from penguin_msgs.msg import CameraStatus, ErrorCode

from penguin_ros.backends.base.backend import BackendStats
from penguin_ros.clip_buffer import BufferStatus
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import CheckpointNotFound, OutOfMemory, StaleFrames
from penguin_ros.generation.caches import CacheStats
from penguin_ros.generation.encoder_cache import EncoderCacheStats
from penguin_ros.generation.prefix_cache import PrefixCacheStats
from penguin_ros.pipeline_status import ModelDescription, PipelineStatus
from penguin_ros.ros.camera_input.health import CameraHealth, CameraState
from penguin_ros.ros.node.diagnostics import diagnostic_array
from penguin_ros.ros.node.snapshot import (
    CameraSnapshot,
    NodeSnapshot,
    TextStats,
    model_info_message,
    status_message,
)
from penguin_ros.scheduler.job import SchedulerStats, WorkerState, WorkerStatus
from penguin_ros.window.camera_window import WindowStatus

SECOND = 10**9
NOW = 1000 * SECOND
MODEL = ModelDescription(
    'tiny',
    'ab' * 32,
    '/models/tiny',
    'torch',
    'cpu',
    'float32',
    4096,
    2,
    512,
    1000,
    500,
    6000,
    3 * SECOND,
    'launched one by one',
)
WORKER = WorkerStatus(WorkerState.SERVING, NOW, 0, None)
BUFFER = BufferStatus('front', 8, 4096, NOW, 5, 2.0, 20, 11, 2, 1, {'corrupt': 3})
WINDOW = WindowStatus(frames=7, taken=30, skipped=4, restarts=2, unchanged=5, repeated=1)
HEALTH = CameraHealth(
    'front', '/front/image', 'raw', CameraState.OK, rate_hz=2.0, age_ns=SECOND // 2
)


def snapshot(worker=WORKER, model=MODEL, health=HEALTH, counts=None, **changes):
    pipeline = PipelineStatus(
        model,
        {'front': BUFFER},
        counts or SchedulerStats(),
        worker,
        0,
        None,
        windows={'front': WINDOW},
    )
    values = {
        'name': '/penguin',
        'stamp': Time(sec=7),
        'lifecycle_state': 'active',
        'config': PenguinConfig(),
        'steady_ns': NOW,
        'cameras': (CameraSnapshot('front', '/front/image', 'auto', health, BUFFER),),
        'pipeline': pipeline,
    }
    return NodeSnapshot(**{**values, **changes})


def entry(task, shot):
    return next(
        status for status in diagnostic_array(shot).status if status.name == f'/penguin: {task}'
    )


def values(status):
    return {value.key: value.value for value in status.values}


def test_all_is_well_is_told_as_such():
    array = diagnostic_array(snapshot())
    assert [status.name for status in array.status] == [
        f'/penguin: {task}' for task in ('camera front', 'model', 'queue', 'node')
    ]
    assert {status.level for status in array.status} == {DiagnosticStatus.OK}
    assert array.header.stamp == Time(sec=7)


@pytest.mark.parametrize(
    'state, cause, level',
    [
        (CameraState.WAITING, 'no_publisher', DiagnosticStatus.WARN),
        (CameraState.STALE, 'silent', DiagnosticStatus.ERROR),
        (CameraState.REJECTED, 'encoding', DiagnosticStatus.ERROR),
        (CameraState.WAITING, 'qos', DiagnosticStatus.ERROR),
        (CameraState.WAITING, 'wrong_type', DiagnosticStatus.ERROR),
    ],
)
def test_a_camera_that_gives_nothing_is_told_with_its_reason(state, cause, level):
    status = entry(
        'camera front',
        snapshot(health=dataclasses.replace(HEALTH, state=state, cause=cause, reason='because')),
    )
    assert (
        status.level == level and status.message == 'because' and values(status)['cause'] == cause
    )


def test_a_camera_with_a_warning_is_told_although_frames_arrive():
    status = entry(
        'camera front',
        snapshot(health=dataclasses.replace(HEALTH, warnings={'skew': 'stamps are ahead'})),
    )
    assert status.level == DiagnosticStatus.WARN and 'stamps are ahead' in status.message


@pytest.mark.parametrize('cause', ['slow', 'still'])
def test_a_camera_that_is_merely_slower_than_the_settings_is_a_warning(cause):
    health = replace(HEALTH, state=CameraState.STALE, cause=cause, reason='raise it')
    status = entry('camera front', snapshot(health=health))
    assert status.level == DiagnosticStatus.WARN and status.message == 'raise it'


def test_a_note_is_told_and_is_no_warning():
    health = replace(HEALTH, notes={'frozen': 'all the same'})
    status = entry('camera front', snapshot(health=health))
    assert status.level == DiagnosticStatus.OK and 'note: all the same' in status.message


def test_a_byte_cap_that_keeps_no_clip_is_a_warning():
    held = {'frames': 2, 'dropped': {'bytes': 90}, 'span_ns': SECOND // 2, 'bytes': 2**28 - 5}
    shot = snapshot()
    pipeline = replace(shot.pipeline, cameras={'front': replace(BUFFER, **held)})
    cameras = tuple(replace(each, buffer=pipeline.cameras['front']) for each in shot.cameras)
    status = entry('camera front', replace(shot, pipeline=pipeline, cameras=cameras))
    assert status.level == DiagnosticStatus.WARN and 'buffer.max_bytes' in status.message


def test_what_became_of_messages_is_counted_to_the_end():
    health = replace(HEALTH, received=9, used=5, drops={'late': 3, 'corrupt': 1})
    told = values(entry('camera front', snapshot(health=health)))
    assert (told['messages received'], told['messages used']) == ('9', '5')
    assert (told['refused: late'], told['refused: corrupt']) == ('3', '1')


def test_drops_are_listed_by_cause():
    assert values(entry('camera front', snapshot()))['dropped: corrupt'] == '3'


def test_what_became_of_frames_that_were_taken_is_told_too():
    told = values(entry('camera front', snapshot()))
    assert (told['frames'], told['buffered frames'], told['expired frames']) == ('20', '8', '11')
    assert told['frames stamped in the future'] == '2' and told['changes of the image size'] == '1'


def test_the_window_of_a_camera_and_its_captions_without_a_model_are_counted():
    told = values(entry('camera front', snapshot()))
    assert (told['frames in the window'], told['frames skipped'], told['captions unchanged']) == (
        '7',
        '4',
        '5',
    )
    assert status_message(snapshot()).captions_unchanged == 5


def test_a_camera_of_an_inactive_node_is_no_alarm():
    assert entry('camera front', snapshot(health=None)).level == DiagnosticStatus.OK


@pytest.mark.parametrize(
    'worker, level, text',
    [
        (
            WorkerStatus(WorkerState.SERVING, NOW, 61 * SECOND, None),
            DiagnosticStatus.ERROR,
            'hangs',
        ),
        (WorkerStatus(WorkerState.SERVING, NOW, 59 * SECOND, None), DiagnosticStatus.OK, 'loaded'),
        (
            WorkerStatus(WorkerState.SERVING, NOW - 6 * SECOND, 0, None),
            DiagnosticStatus.ERROR,
            'no sign of life',
        ),
        (
            WorkerStatus(WorkerState.FAILED, NOW, 0, OutOfMemory('no memory is left')),
            DiagnosticStatus.ERROR,
            'no memory is left',
        ),
        (WorkerStatus(WorkerState.OPENING, NOW, 0, None), DiagnosticStatus.WARN, 'reading weights'),
    ],
)
def test_the_model_is_judged_by_its_worker(worker, level, text):
    status = entry('model', snapshot(worker=worker, loading='reading weights'))
    assert status.level == level and text in status.message


def test_the_last_error_of_a_request_is_told_with_the_time_since_then():
    error = StaleFrames('the newest frame is 6.4 s old', 'the camera went silent')
    shot = snapshot()
    pipeline = dataclasses.replace(
        shot.pipeline, last_error=error, last_error_ns=shot.steady_ns - 90 * 10**9
    )
    status = status_message(dataclasses.replace(shot, pipeline=pipeline))
    assert status.last_error_message == f'{error} (90 s ago)'
    assert status.last_error_code == ErrorCode.STALE_FRAMES


def test_a_model_that_could_not_be_loaded_is_an_error_until_it_is():
    failure = CheckpointNotFound('no folder /models/x', '', 'Check the path')
    shot = snapshot(pipeline=None, load_failure=failure)
    assert (
        entry('model', shot).level == DiagnosticStatus.ERROR
        and 'Check the path' in entry('model', shot).message
    )
    status = status_message(shot)
    assert status.last_error_code == ErrorCode.CHECKPOINT and not status.is_model_loaded
    assert entry('model', snapshot(pipeline=None)).level == DiagnosticStatus.WARN


def test_a_backend_that_is_slower_than_it_could_be_is_a_warning_and_its_counts_are_shown():
    stats = BackendStats({'CUDA graphs captured': 3}, 'CUDA graphs are not used: no reason')
    shot = snapshot()
    slow = dataclasses.replace(shot, pipeline=dataclasses.replace(shot.pipeline, backend=stats))
    status = entry('model', slow)
    assert status.level == DiagnosticStatus.WARN and status.message == stats.slowdown
    assert values(status)['CUDA graphs captured'] == '3'


def test_every_count_of_the_caches_is_told_and_with_which_words():
    encoder = EncoderCacheStats(*range(101, 108))
    prefix = PrefixCacheStats(*range(201, 211))
    shot = snapshot()
    counted = dataclasses.replace(shot.pipeline, caches=CacheStats(encoder, prefix))
    told = values(entry('model', dataclasses.replace(shot, pipeline=counted)))
    counts = {*vars(encoder).values(), *vars(prefix).values()}
    assert {str(count) for count in counts} <= set(told.values())
    assert told['KV slots'] == str(MODEL.slots)
    assert (told['device'], told['way']) == (MODEL.device, 'launched one by one')
    assert told['encoder cache hits'] == str(encoder.hits)
    assert told['encoder cache misses'] == str(encoder.misses)
    assert told['prefix cache hits [tokens]'] == str(prefix.reused)
    assert told['prefix cache misses [tokens]'] == str(prefix.computed)


def test_a_full_queue_is_a_warning():
    assert (
        entry('queue', snapshot(counts=SchedulerStats(questions_waiting=15))).level
        == DiagnosticStatus.OK
    )
    assert (
        entry('queue', snapshot(counts=SchedulerStats(questions_waiting=16))).level
        == DiagnosticStatus.WARN
    )


def test_exceptions_of_callbacks_are_an_error_with_their_counts():
    status = entry(
        'node', snapshot(faults={'KeyError in tick': 3}, last_fault='KeyError in tick: x')
    )
    assert status.level == DiagnosticStatus.ERROR and '3 exceptions' in status.message
    assert values(status)['KeyError in tick'] == '3'


def test_warnings_about_the_node_are_warnings():
    assert entry('node', snapshot(warnings=('two of one name',))).level == DiagnosticStatus.WARN


def test_the_status_message_carries_cameras_counts_and_means():
    texts = TextStats(
        answered=2,
        refused=3,
        failed=4,
        captions_published=5,
        answer_ns=(SECOND, 3 * SECOND),
        caption_ns=(),
        first_token_ns=(0, SECOND),
    )
    message = status_message(
        snapshot(
            texts=texts,
            counts=SchedulerStats(
                questions_waiting=2, questions_running=1, captions_replaced=7, captions_dropped=9
            ),
        )
    )
    camera = message.cameras[0]
    assert (camera.name, camera.topic, camera.transport, camera.state) == (
        'front',
        '/front/image',
        'raw',
        CameraStatus.OK,
    )
    assert (camera.frames_received, camera.frames_buffered, camera.bytes_buffered) == (20, 8, 4096)
    assert (list(camera.drop_causes), list(camera.drop_counts)) == (['corrupt'], [3])
    assert message.questions_queued == 3
    assert (message.questions_answered, message.questions_refused, message.questions_failed) == (
        2,
        3,
        4,
    )
    assert (message.captions_published, message.captions_replaced, message.captions_dropped) == (
        5,
        7,
        9,
    )
    assert message.mean_answer_latency.sec == 2 and message.mean_caption_latency.sec == 0
    assert message.mean_first_token_latency.sec == 1, 'a text without tokens has no first one'


def test_the_description_of_a_model_becomes_a_message():
    message = model_info_message(MODEL, 1024)
    assert (message.name, message.source, message.backend, message.weight_bytes) == (
        'tiny',
        '/models/tiny',
        'torch',
        6000,
    )
    assert (message.max_length, message.vocabulary_size, message.max_visual_tokens) == (
        4096,
        512,
        1024,
    )
    assert message.load_duration.sec == 3


def test_texts_in_diagnostics_are_printable():
    status = entry('node', snapshot(warnings=('a\0b \ud83d',)))
    assert status.message == 'ab \ufffd'
