# SPDX-License-Identifier: Apache-2.0
"""The facts that a verdict on a camera is made from, as values."""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.ros.camera_input.stats import CameraStats


@dataclass(frozen=True)
class Publisher:
    """A publisher on one of the camera's topics; `clash` names the QoS policies that keep its
    messages out; `is_latched`: it keeps its last messages for those who come later.
    """

    node: str
    topic: str
    type: str
    clash: tuple[str, ...] = ()
    is_latched: bool = False


@dataclass(frozen=True)
class PixelFacts:
    """What the pixels tell.

    `frozen_ns`: for how long images have been the same to the last byte, while stamps rose;
    `dark_level`: the largest sample of a 16-bit stream that stays dark, None of others.
    """

    frozen_ns: int = 0
    dark_level: int | None = None


@dataclass(frozen=True)
class CameraObservation:
    """The facts about one camera.

    `since_ns` is the start of the subscription; it and `now_ns` are times of the steady clock,
    `ros_now_ns` is a time of the node's clock. `clash_event` names the last QoS policy that the
    middleware reported as incompatible. `sample_period_ns` is the time between two images that are
    asked for.
    """

    camera: str
    transport: str
    topic: str
    type: str
    is_auto: bool
    publishers: tuple[Publisher, ...]
    clash_event: str
    image_topics: tuple[str, ...]
    stats: CameraStats
    now_ns: int
    since_ns: int
    ros_now_ns: int
    stale_after_ns: int
    future_tolerance_ns: int
    sample_period_ns: int = 0
    pixels: PixelFacts = PixelFacts()

    @property
    def on_topic(self) -> list[Publisher]:
        """The publishers on the topic that is subscribed to."""
        return [publisher for publisher in self.publishers if publisher.topic == self.topic]

    @property
    def silent_ns(self) -> int | None:
        """How long ago the last frame that is used arrived; None before the first."""
        last_ns = self.stats.last_frame_ns
        return None if last_ns is None else self.now_ns - last_ns

    @property
    def is_slow(self) -> bool:
        """Whether images usually come further apart than those of the present may be old."""
        return (self.stats.interval_ns() or 0) > self.stale_after_ns

    @property
    def is_arriving(self) -> bool:
        """Whether messages come, however slowly."""
        last_ns = self.stats.last_arrival_ns
        patience_ns = max(self.stale_after_ns, 5 * (self.stats.interval_ns() or 0) // 2)
        return last_ns is not None and self.now_ns - last_ns <= patience_ns
