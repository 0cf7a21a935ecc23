# SPDX-License-Identifier: Apache-2.0
"""Finds why no image of a camera arrives, as a word and a sentence."""

from __future__ import annotations

from penguin_ros.frame import NANOSECONDS
from penguin_ros.ros.camera_input.observation import CameraObservation, Publisher
from penguin_ros.ros.conversions.topics import COMPRESSED, RAW, TYPES
from penguin_ros.ros.process.image_profile import profile_variables
from penguin_ros.text import counted

LARGE_MESSAGE_BYTES = 500_000
"""A larger message does not fit into the 512 KiB of shared memory that Fast DDS has by default."""
HINT_AFTER_NS = 10 * NANOSECONDS
"""A camera that has sent nothing yet may have its pauses: only then a loss is suspected."""


def silence(facts: CameraObservation) -> tuple[str, str]:
    """Returns why nothing arrives, as a word and a sentence."""
    on_topic = facts.on_topic
    if not on_topic:
        return 'no_publisher', 'no publisher' + _other_topics(facts)
    of_type = [publisher for publisher in on_topic if publisher.type == facts.type]
    if not of_type:
        return 'wrong_type', _wrong_type(on_topic[0], facts)
    matching = [publisher for publisher in of_type if not publisher.clash]
    if not matching:
        return 'qos', clash(of_type[0], facts)
    lost = facts.stats.lost_lately(facts.now_ns)
    if lost:
        advice = segment_advice(facts)
        messages = f'{counted(lost, "message")} of {names(matching)}'
        return 'transport', f'lost in transport: {messages}{advice}'
    if facts.stats.used and all(publisher.is_latched for publisher in matching):
        return 'still', (
            f'{names(matching)} latches it, as stills are: raise watch.stale_after to have it '
            'count as the present for longer, or ask about its interval'
        )
    return 'silent', _silent_publisher(names(matching), facts)


def _wrong_type(publisher: Publisher, facts: CameraObservation) -> str:
    text = f'{publisher.node} publishes {publisher.type} there, not {facts.type}'
    if publisher.type == TYPES[COMPRESSED]:
        return f'{text}: set camera.{facts.camera}.transport to auto'
    return text


def _silent_publisher(who: str, facts: CameraObservation) -> str:
    if facts.stats.received:
        return (
            f'{who} has a publisher there and has published nothing since; a camera that is slower '
            'needs a larger watch.stale_after'
        )
    silent = f'{who} has a publisher there, but nothing arrives'
    if facts.transport == RAW and facts.now_ns - facts.since_ns > HINT_AFTER_NS:
        return f'{silent}: it publishes nothing, or {_segment_fix()}'
    return silent


def _segment_fix() -> str:
    return (
        'raw images over 0.5 MB overflow the default shared memory of Fast DDS unless the process '
        f'of the camera has {" and ".join(profile_variables())} set to config/fastdds_images.xml '
        'of penguin_ros; its compressed topic needs none'
    )


def clash(publisher: Publisher, facts: CameraObservation) -> str:
    """Returns which QoS policies keep a publisher's messages out, and what to change."""
    policies = ', '.join(publisher.clash) or facts.clash_event
    return (
        f'incompatible QoS policy {policies}: {publisher.node} offers less than this subscription '
        'asks for; change the publisher, or the parameter '
        f'qos_overrides.{facts.topic}.subscription'
    )


def _other_topics(facts: CameraObservation) -> str:
    if not facts.image_topics:
        return ', and no other topic carries images'
    return ', while images are published on ' + ', '.join(facts.image_topics)


def segment_advice(facts: CameraObservation) -> str:
    """Returns what helps against losses in transport, beginning with a colon."""
    is_large = facts.stats.message_bytes == 0 or facts.stats.message_bytes > LARGE_MESSAGE_BYTES
    slow = 'the network or the machine is too slow for them'
    if facts.transport == RAW and is_large:
        return f': {_segment_fix()}. Where it is set, {slow}'
    return f': {slow}'


def names(publishers: list[Publisher]) -> str:
    """Returns the nodes of publishers, in their order."""
    return ' and '.join(sorted(publisher.node for publisher in publishers))
