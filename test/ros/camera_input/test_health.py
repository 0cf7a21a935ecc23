# SPDX-License-Identifier: Apache-2.0
"""Verdicts on a camera: each cause of silence is named, with what to do."""

from __future__ import annotations

import dataclasses

import pytest

from penguin_ros.ros.camera_input.health import CameraState, camera_health
from penguin_ros.ros.camera_input.observation import CameraObservation, PixelFacts, Publisher
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
    now_ns = changes.get('now_ns', base.now_ns)
    return dataclasses.replace(base, **{'ros_now_ns': now_ns + 900 * SECOND, **changes})


def running(age_s=0.1, count=20, rate=15, message_bytes=6_220_800):
    """Stats of frames at 2 Hz that ends now; the publisher sent `rate` messages per sample."""
    stats = CameraStats()
    for index in range(count):
        now_ns = 100 * SECOND - (count - 1 - index) * SECOND // 2
        stats.note_arrival(now_ns, message_bytes, index * rate + 1)
        ros_ns = now_ns + 900 * SECOND
        stats.note_frame(now_ns, ros_ns - int(age_s * SECOND), ros_ns)
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
        stats.note_frame(now_ns, now_ns + 900 * SECOND, now_ns + 900 * SECOND)
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
    stats.note_drop(100 * SECOND, 'encoding', "encoding '32FC1' of an image")
    health = camera_health(facts(stats))
    assert (health.state, health.cause) == (
        CameraState.REJECTED,
        'encoding',
    ) and '32FC1' in health.reason
    assert health.drops == {'encoding': 1}


def test_one_bad_image_among_good_ones_is_only_counted():
    stats = running()
    stats.note_drop(100 * SECOND, 'corrupt', 'it does not decode')
    assert camera_health(facts(stats)).state is CameraState.OK
    assert not camera_health(facts(stats)).warnings
    for _ in range(2):
        stats.note_drop(100 * SECOND, 'corrupt', 'it does not decode')
    health = camera_health(facts(stats))
    assert health.state is CameraState.REJECTED and 'last 3 images' in health.reason


def test_two_publishers_are_named():
    health = camera_health(
        facts(running(), publishers=(DRIVER, dataclasses.replace(DRIVER, node='/bag_player')))
    )
    assert '/bag_player and /front/driver' in health.warnings['publishers']


@pytest.mark.parametrize(
    ('age_s', 'words'),
    [(-3, 'ahead of'), (-37.2, '37 s ahead of UTC'), (-3600, 'use_sim_time')],
)
def test_stamps_ahead_of_the_clock_are_a_warning(age_s, words):
    health = camera_health(facts(running(age_s=age_s)))
    assert health.state is CameraState.OK and words in health.warnings['clock_skew']
    assert 'clock_skew' not in camera_health(facts(running(age_s=-0.5))).warnings


@pytest.mark.parametrize(
    ('age_s', 'ros_s', 'words'),
    [
        (60, 900, 'behind'),
        (86400, 1_800_000_000, 'ros2 bag play --clock'),
        (1_799_999_000, 1_800_000_000, 'from the start of the camera'),
    ],
)
def test_frames_that_arrive_with_stamps_of_the_past_are_not_those_of_the_present(
    age_s, ros_s, words
):
    stats = CameraStats()
    for index in range(20):
        now_ns, ros_ns = (90 * SECOND + index * SECOND // 2), ros_s * SECOND + index * SECOND // 2
        stats.note_arrival(now_ns, 100, index + 1)
        stats.note_frame(now_ns, ros_ns - age_s * SECOND, ros_ns)
    health = camera_health(facts(stats, ros_now_ns=ros_s * SECOND + 10 * SECOND))
    assert (health.state, health.cause) == (CameraState.STALE, 'clock_skew')
    assert words in health.reason and 'the clocks differ' in health.reason


def test_the_clocks_are_compared_when_frames_arrive_and_one_odd_frame_says_nothing():
    stats = running()
    stats.note_frame(100 * SECOND, 400 * SECOND, 1000 * SECOND)
    assert 'clock_skew' not in camera_health(facts(stats)).warnings
    silent = camera_health(facts(running(), now_ns=120 * SECOND))
    assert silent.cause == 'silent' and 'clocks' not in silent.reason


def test_after_a_jump_of_ros_time_a_camera_is_not_said_to_be_silent():
    stats = running()
    stats.forget_clock()
    health = camera_health(facts(stats))
    assert (health.state, health.cause) == (CameraState.STALE, 'clock_jump')
    assert health.age_ns is None and not health.warnings


def of_outcomes(*causes, period_s=0.5):
    """Stats of messages that end now, each used ('') or refused for a cause."""
    stats = CameraStats()
    for index, cause in enumerate(causes):
        now_ns = 100 * SECOND - round((len(causes) - 1 - index) * period_s * SECOND)
        stats.note_arrival(now_ns, 100, index + 1)
        if cause:
            stats.note_drop(now_ns, cause, f'reason of {cause}')
        else:
            stats.note_frame(now_ns, now_ns + 900 * SECOND, now_ns + 900 * SECOND)
    return stats


@pytest.mark.parametrize(
    'causes',
    [
        ('corrupt', 'corrupt', '') * 6,
        ('', 'duplicate', 'late', 'late') * 5,
        ('encoding',) * 6 + ('',) * 5,
        ('',) * 5 + ('wild',) * 6,
        ('too_large', '') * 3 + ('too_large',),
    ],
)
@pytest.mark.parametrize('period_s', [0.1, 0.5])
def test_a_camera_most_of_whose_images_are_refused_is_never_ok(causes, period_s):
    health = camera_health(facts(of_outcomes(*causes, period_s=period_s)))
    assert health.state is CameraState.REJECTED and 'reason of' in health.reason
    assert health.cause in health.reason and health.cause in causes
    assert health.received == health.used + sum(health.drops.values()) == len(causes)


@pytest.mark.parametrize('causes', [('', '', 'corrupt') * 6, ('', 'late') * 8 + ('',)])
def test_a_camera_that_loses_a_part_of_its_images_is_warned_of(causes):
    health = camera_health(facts(of_outcomes(*causes)))
    assert health.state is CameraState.OK
    assert any(
        causes[-1 if causes[-1] else 1] in text or 'reason of' in text
        for text in health.warnings.values()
    )


def test_refusals_of_long_ago_are_forgotten_and_those_of_slow_cameras_are_not():
    long_ago = of_outcomes(*['corrupt'] * 10, *[''] * 25)
    assert not camera_health(facts(long_ago)).warnings
    slow = of_outcomes('', 'corrupt', 'corrupt', 'corrupt', '', period_s=20)
    assert camera_health(facts(slow)).state is CameraState.REJECTED


def test_the_late_frames_that_show_a_second_lap_are_no_fault_but_one_lap_after_the_other_is():
    stats = of_outcomes(*[''] * 10, 'late', 'late', 'late')
    stats.note_frame(100 * SECOND, 1000 * SECOND, 1000 * SECOND, True)
    assert not camera_health(facts(stats)).warnings
    for _ in range(4):
        for _ in range(3):
            stats.note_drop(100 * SECOND, 'late', 'reason of late')
        stats.note_frame(100 * SECOND, 1000 * SECOND, 1000 * SECOND, True)
    health = camera_health(facts(stats))
    assert health.state is CameraState.REJECTED or health.warnings


@pytest.mark.parametrize(('period_s', 'wanted_s'), [(8, 16), (6, 12), (600, 1200)])
def test_a_slow_camera_is_told_which_setting_to_raise_and_nothing_else(period_s, wanted_s):
    stats = of_outcomes('', '', '', '', period_s=period_s)
    for wait_s in (0, 4, 5.5, 1.5 * period_s):
        health = camera_health(facts(stats, now_ns=100 * SECOND + round(wait_s * SECOND)))
        texts = [health.reason, *health.warnings.values()]
        assert health.state in (CameraState.OK, CameraState.STALE)
        assert any(f'watch.stale_after to {wanted_s} s' in text for text in texts)
        assert not any('publishes nothing' in text or 'clock' in text for text in texts)
    gone = camera_health(facts(stats, now_ns=100 * SECOND + 3 * period_s * SECOND))
    assert gone.cause == 'silent' and 'watch.stale_after' in gone.reason


def test_images_that_are_asked_for_less_often_than_the_present_lasts_are_told_with_clip_fps():
    stats = of_outcomes('', '', '', period_s=10)
    health = camera_health(facts(stats, sample_period_ns=10 * SECOND))
    assert 'clip.fps' in health.warnings['slow']


def test_a_still_that_is_latched_is_told_from_a_camera_that_fell_silent():
    latched = (dataclasses.replace(DRIVER, is_latched=True),)
    stats = of_outcomes('')
    health = camera_health(facts(stats, publishers=latched, now_ns=110 * SECOND))
    assert (health.state, health.cause) == (CameraState.STALE, 'still')
    assert 'latches' in health.reason and 'watch.stale_after' in health.reason


def test_while_ros_time_stands_still_frames_stay_those_of_the_present_and_the_clock_is_named():
    health = camera_health(facts(running(), now_ns=140 * SECOND, ros_now_ns=1000 * SECOND))
    assert health.state is CameraState.OK
    assert '40 s' in health.warnings['paused'] and '/clock is paused' in health.warnings['paused']


def test_what_the_pixels_tell_is_a_warning_or_a_note():
    frozen = camera_health(facts(running(), pixels=PixelFacts(frozen_ns=45 * SECOND)))
    assert '45 s' in frozen.notes['frozen'] and not frozen.warnings
    assert not camera_health(facts(running(), pixels=PixelFacts(frozen_ns=9 * SECOND))).notes
    dark = camera_health(facts(running(), pixels=PixelFacts(dark_level=4112)))
    assert '4112' in dark.warnings['dark'] and 'buffer.white_level' in dark.warnings['dark']


def test_a_camera_that_has_sent_nothing_yet_is_not_suspected_of_a_loss_at_once():
    early = camera_health(facts(since_ns=95 * SECOND))
    assert early.cause == 'silent' and 'fastdds_images.xml' not in early.reason


def test_compressed_images_on_the_raw_topic_are_told_with_what_to_set():
    other = dataclasses.replace(DRIVER, type='sensor_msgs/msg/CompressedImage')
    assert 'camera.front.transport to auto' in camera_health(facts(publishers=(other,))).reason


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
