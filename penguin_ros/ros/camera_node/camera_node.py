# SPDX-License-Identifier: Apache-2.0
"""A node that publishes the images of a source as a camera does.

One thread paces, encodes and publishes; the executor's thread only serves parameters.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node
from std_msgs.msg import Header

from penguin_ros.frame import NANOSECONDS
from penguin_ros.media.source import CameraSource, open_source
from penguin_ros.media.video import BgrImage
from penguin_ros.ros.camera_node.image_publisher import ImagePublisher, ImageStats
from penguin_ros.ros.camera_node.parameters import CameraParameters, camera_parameters
from penguin_ros.ros.conversions.times import time_message


class CameraNode(Node):
    """Publishes from `start` to the end of the source or `stop`; stamps are the time of the start
    plus media time.

    Raises PenguinError when parameters or the source cannot be used. `on_end` is called once on the
    camera's thread when the source has ended, or with the error that ended it.
    """

    def __init__(
        self, on_end: Callable[[BaseException | None], None], **node_arguments: Any
    ) -> None:
        super().__init__('camera', **node_arguments)
        self._on_end = on_end
        self.parameters: CameraParameters = camera_parameters(self)
        settings = self.parameters
        self._source: CameraSource = open_source(
            settings.source,
            is_looping=settings.loop,
            hz=settings.rate,
            width=settings.width,
            height=settings.height,
        )
        self._hz = settings.rate or self._source.native_hz
        self._images = ImagePublisher(
            self, settings.topic, settings.encoding, settings.jpeg_quality
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='camera', daemon=True)
        self.stats = ImageStats()

    def start(self) -> None:
        """Begins to publish."""
        self.get_logger().info(
            f'{self.parameters.source} at {self._hz:.4g} Hz on {self._images.topic_name}'
        )
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Ends the camera's thread; to be called before the context is shut down."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    # --- the camera's thread ----------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._play()
        except Exception as failure:  # reported by whoever waits for the end
            error = failure
        finally:
            self._source.close()
        # A publisher whose context is gone is how the thread learns of a shutdown.
        if not self._stop.is_set() and self.context.ok():
            self._on_end(error)

    def _play(self) -> None:
        """Publishes one image per tick until the end or `stop`.

        Ticks that are over already are skipped, so that a slow machine lags by one image at most.
        """
        start_ns = self.get_clock().now().nanoseconds
        steady_start_ns = time.monotonic_ns()
        tick = 0
        while not self._stop.is_set():
            media_ns = round(tick * NANOSECONDS / self._hz)
            if not self._source.is_live and self._is_stopped_before(steady_start_ns + media_ns):
                return
            if not self._source.advance(media_ns):
                return
            elapsed_ns = time.monotonic_ns() - steady_start_ns
            self._publish(start_ns + (elapsed_ns if self._source.is_live else media_ns))
            elapsed_ns = time.monotonic_ns() - steady_start_ns
            next_tick = max(tick + 1, int(elapsed_ns * self._hz / NANOSECONDS))
            self.stats = ImageStats(self.stats.sent + 1, self.stats.skipped + next_tick - tick - 1)
            tick = next_tick

    def _is_stopped_before(self, steady_ns: int) -> bool:
        """Waits until then; returns True when the node is stopped meanwhile."""
        return self._stop.wait(max(0, steady_ns - time.monotonic_ns()) / NANOSECONDS)

    def _publish(self, stamp_ns: int) -> None:
        """Publishes the source's image, which is not even decoded while nobody has subscribed."""
        if not self._images.has_subscribers or not self._source.has_image:
            return
        header = Header(stamp=time_message(stamp_ns), frame_id=self.parameters.frame_id)
        image = self._resized(self._source.image())
        for publisher, message in self._images.messages(header, image):
            publisher.publish(message)

    def _resized(self, image: BgrImage) -> BgrImage:
        """Returns the image in the width and height of the parameters; one of them alone keeps the
        proportions.
        """
        height, width = image.shape[:2]
        wanted_width, wanted_height = self.parameters.width, self.parameters.height
        new_width = wanted_width or max(1, round(width * (wanted_height or height) / height))
        new_height = wanted_height or max(1, round(height * new_width / width))
        if (new_width, new_height) == (width, height):
            return image
        method = cv2.INTER_AREA if new_width < width else cv2.INTER_LINEAR
        return np.asarray(
            cv2.resize(image, (new_width, new_height), interpolation=method), dtype=np.uint8
        )
