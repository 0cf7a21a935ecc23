# SPDX-License-Identifier: Apache-2.0
"""Verdicts on a camera: each cause of silence is named, with what to do."""

from __future__ import annotations

import dataclasses

import pytest

from penguin_ros.ros.camera_input.health import (
    CameraObservation,
    CameraState,
    Publisher,
    camera_health,
)
from penguin_ros.ros.camera_input.stats import CameraStats

SECOND = 1_000_000_000
IMAGE = 'sensor_msgs/msg/Image'
DRIVER = Publisher('/front/driver', '/front/image', IMAGE)


def facts(stats=None, **changes):
    """A camera whose driver is there, 100 s after the start."""
    base = CameraObservation(
        camera='front',
        transport='raw',
        topic='/front/image',
        type=IMAGE,
        is_auto=False,
        publishers=(DRIVER,),
        clash_event='',
        image_topics=(),
        stats=stats or CameraStats(),
        now_ns=100 * SECOND,
        since_ns=0,
        ros_now_ns=1000 * SECOND,
        stale_after_ns=5 * SECOND,
        future_tolerance_ns=SECOND,
    )
    return dataclasses.replace(base, **changes)


def running(age_s=0.1, count=20, rate=15, message_bytes=6_220_800):
    """Stats of frames at 2 Hz that ends now; the publisher sent `rate` messages per sample."""
    stats = CameraStats()
    for index in range(count):
        now_ns = 100 * SECOND - (count - 1 - index) * SECOND // 2
        stats.note_arrival(now_ns, message_bytes, index * rate + 1)
        stats.note_frame(
            now_ns, 1000 * SECOND - (count - 1 - index) * SECOND // 2 - int(age_s * SECOND)
        )
    return stats


def test_a_camera_whose_frames_arrive_is_ok():
    health = camera_health(facts(running()))
    assert health.state is CameraState.OK and not health.reason and not health.warnings
    assert round(health.rate_hz, 2) == 2 and round(health.publish_rate_hz, 2) == 30
    assert health.age_ns == SECOND // 10


def test_no_publisher_is_named_with_the_topics_that_carry_images():
    health = camera_health(facts(publishers=(), image_topics=('/rear/image',)))
    assert (health.state, health.cause) == (CameraState.WAITING, 'no_publisher')
    assert '/front/image' in health.reason and '/rear/image' in health.reason


def test_auto_is_shown_until_a_publisher_decides():
    assert camera_health(facts(publishers=(), is_auto=True)).transport == 'auto'
    assert camera_health(facts(is_auto=True)).transport == 'raw'


def test_a_qos_clash_names_the_policy_and_the_node():
    health = camera_health(facts(publishers=(dataclasses.replace(DRIVER, clash=('RELIABILITY',)),)))
    assert (
        health.cause == 'qos'
        and 'RELIABILITY' in health.reason
        and '/front/driver' in health.reason
    )
    assert 'qos_overrides./front/image.subscription' in health.reason


def test_another_type_on_the_topic_is_named():
    health = camera_health(
        facts(publishers=(dataclasses.replace(DRIVER, type='std_msgs/msg/String'),))
    )
    assert health.cause == 'wrong_type' and 'std_msgs/msg/String' in health.reason


def test_silence_of_a_raw_topic_names_the_driver_and_the_shared_memory():
    health = camera_health(facts())
    assert (
        health.cause == 'silent'
        and '/front/driver' in health.reason
        and 'fastdds_images.xml' in health.reason
    )


@pytest.mark.parametrize(
    ('distribution', 'variable', 'other'),
    [
        ('humble', 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_'),
        ('lyrical', 'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_'),
    ],
)
def test_the_cure_names_the_variable_that_the_distribution_reads(
    monkeypatch, distribution, variable, other
):
    monkeypatch.setenv('ROS_DISTRO', distribution)
    reason = camera_health(facts()).reason
    assert variable in reason and other not in reason


def test_silence_is_not_blamed_on_shared_memory_where_images_are_small_or_compressed():
    assert (
        'fastdds_images.xml'
        not in camera_health(facts(running(message_bytes=1000), now_ns=200 * SECOND)).reason
    )
    compressed = dataclasses.replace(
        DRIVER, topic='/front/image/compressed', type='sensor_msgs/msg/CompressedImage'
    )
    health = camera_health(
        facts(
            transport='compressed',
            topic=compressed.topic,
            type=compressed.type,
            publishers=(compressed,),
        )
    )
    assert health.cause == 'silent' and 'fastdds_images.xml' not in health.reason


def test_losses_in_transport_are_the_cause_when_the_middleware_counts_them():
    stats = CameraStats()
    stats.note_lost(99 * SECOND, 40)
    health = camera_health(facts(stats))
    assert (
        health.cause == 'transport'
        and '40 messages' in health.reason
        and 'fastdds_images.xml' in health.reason
    )


def test_losses_while_some_frames_arrive_are_a_warning_with_their_share():
    stats = running()
    stats.note_lost(99 * SECOND, 180)
    health = camera_health(facts(stats))
    assert health.state is CameraState.OK and health.lost == 180
    assert (
        '180 of about 300' in health.warnings['transport']
        and 'fastdds_images.xml' in health.warnings['transport']
    )


@pytest.mark.parametrize(('lost', 'is_warned'), [(15, False), (16, True)])
def test_where_the_rate_of_the_publisher_is_not_known_thirty_images_a_second_are_assumed(
    lost, is_warned
):
    stats = CameraStats()
    for index in range(20):
        now_ns = 100 * SECOND - (19 - index) * SECOND // 2
        stats.note_arrival(now_ns, 6_220_800, None)
        stats.note_frame(now_ns, now_ns + 900 * SECOND)
    stats.note_lost(99 * SECOND, lost)
    health = camera_health(facts(stats))
    assert health.state is CameraState.OK and health.publish_rate_hz == 0
    assert ('transport' in health.warnings) is is_warned
    assert 'of about' not in health.warnings.get('transport', '')


def test_a_few_losses_and_old_ones_are_no_warning():
    stats = running()
    stats.note_lost(99 * SECOND, 10)
    stats.note_lost(50 * SECOND, 1000)
    assert not camera_health(facts(stats)).warnings


def test_frames_that_stop_make_the_camera_stale():
    health = camera_health(facts(running(), now_ns=106 * SECOND))
    assert (health.state, health.cause) == (CameraState.STALE, 'silent') and '6 s' in health.reason
    assert (
        camera_health(facts(running(), now_ns=106 * SECOND, publishers=())).cause == 'no_publisher'
    )


def test_the_rate_falls_when_frames_stop():
    assert camera_health(facts(running(), now_ns=200 * SECOND)).rate_hz < 0.2


def test_images_that_cannot_be_used_make_it_rejected_with_the_last_reason():
    stats = CameraStats()
    stats.note_arrival(99 * SECOND, 100, 1)
    stats.note_drop('encoding', "encoding '32FC1' of an image")
    health = camera_health(facts(stats))
    assert (health.state, health.cause) == (
        CameraState.REJECTED,
        'encoding',
    ) and '32FC1' in health.reason
    assert health.drops == {'encoding': 1}


def test_one_bad_image_among_good_ones_is_only_counted():
    stats = running()
    stats.note_drop('corrupt', 'it does not decode')
    assert camera_health(facts(stats)).state is CameraState.OK
    for _ in range(2):
        stats.note_drop('corrupt', 'it does not decode')
    health = camera_health(facts(stats))
    assert health.state is CameraState.REJECTED and 'last 3 images' in health.reason


def test_two_publishers_are_named():
    health = camera_health(
        facts(running(), publishers=(DRIVER, dataclasses.replace(DRIVER, node='/bag_player')))
    )
    assert '/bag_player and /front/driver' in health.warnings['publishers']


def test_stamps_off_the_clock_are_a_warning():
    assert 'ahead' in camera_health(facts(running(age_s=-3))).warnings['clock_skew']
    assert 'behind' in camera_health(facts(running(age_s=60))).warnings['clock_skew']
    assert not camera_health(facts(running(age_s=-0.5))).warnings


def test_missing_stamps_are_a_warning():
    stats = running()
    for second in (98, 99, 100):
        stats.note_zero_stamp(second * SECOND)
    assert '3 frames' in camera_health(facts(stats)).warnings['zero_stamp']


def test_the_warning_about_missing_stamps_goes_when_frames_have_stamps_again_and_the_count_stays():
    stats = running()
    stats.note_zero_stamp(89 * SECOND)
    health = camera_health(facts(stats))
    assert not health.warnings and health.zero_stamps == 1
    assert 'zero_stamp' in camera_health(facts(stats, stale_after_ns=20 * SECOND)).warnings
