# SPDX-License-Identifier: Apache-2.0
"""A node that publishes the pictures of a source as a camera does: raw, and compressed below it.

Knows topics, parameters and time; the source gives pictures. One thread paces, encodes and
publishes; the executor's thread only serves parameters.
"""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from penguin_ros.errors import PenguinError
from penguin_ros.frame import NANOSECONDS
from penguin_ros.media.source import BgrImage, CameraSource, open_source
from penguin_ros.ros.camera_node.parameters import CameraParameters, camera_parameters
from penguin_ros.ros.conversions.topics import COMPRESSED, RAW, camera_qos, transport_topics

# From OpenCV's BGR to each encoding that is published.
_CONVERSIONS = {
    'rgb8': cv2.COLOR_BGR2RGB,
    'bgr8': None,
    'mono8': cv2.COLOR_BGR2GRAY,
    'rgba8': cv2.COLOR_BGR2RGBA,
    'bgra8': cv2.COLOR_BGR2BGRA,
}


@dataclass(frozen=True)
class Counts:
    """What a camera has done: pictures sent, and pictures that came too late because this process
    was too slow.
    """

    sent: int = 0
    skipped: int = 0


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
        topics = transport_topics(self, settings.topic)
        self._raw, self._compressed = (
            self._publisher(Image, topics[RAW]),
            self._publisher(CompressedImage, topics[COMPRESSED]),
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='camera', daemon=True)
        self.counts = Counts()

    def start(self) -> None:
        """Begins to publish."""
        self.get_logger().info(
            f'{self.parameters.source} at {self._hz:.4g} Hz on {self._raw.topic_name}'
        )
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Ends the camera's thread; to be called before the context is shut down."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _publisher(self, kind: type, topic: str) -> Publisher:
        return self.create_publisher(
            kind,
            topic,
            camera_qos(),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

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
        """One picture per tick; ticks that are over already are skipped, so that a slow machine
        lags by one picture at most.
        """
        start_ns, steady_start_ns = self.get_clock().now().nanoseconds, time.monotonic_ns()
        tick = sent = skipped = 0
        while not self._stop.is_set():
            media_ns = round(tick * NANOSECONDS / self._hz)
            if not self._source.is_live and self._is_stopped_before(steady_start_ns + media_ns):
                return
            if not self._source.advance(media_ns):
                return
            elapsed_ns = time.monotonic_ns() - steady_start_ns
            self._publish(start_ns + (elapsed_ns if self._source.is_live else media_ns))
            next_tick = max(
                tick + 1, int((time.monotonic_ns() - steady_start_ns) * self._hz / NANOSECONDS)
            )
            sent, skipped = sent + 1, skipped + next_tick - tick - 1
            self.counts, tick = Counts(sent, skipped), next_tick

    def _is_stopped_before(self, steady_ns: int) -> bool:
        """Waits until then; True when the node is stopped meanwhile."""
        return self._stop.wait(max(0, steady_ns - time.monotonic_ns()) / NANOSECONDS)

    def _publish(self, stamp_ns: int) -> None:
        """Nothing is decoded, converted or encoded that nobody has subscribed to."""
        is_raw_wanted = self._raw.get_subscription_count() > 0
        is_compressed_wanted = self._compressed.get_subscription_count() > 0
        if not is_raw_wanted and not is_compressed_wanted:
            return
        image = self._resized(self._source.image())
        seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS)
        header = Header(
            stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=self.parameters.frame_id
        )
        if is_raw_wanted:
            self._raw.publish(raw_message(header, image, self.parameters.encoding))
        if is_compressed_wanted:
            self._compressed.publish(
                jpeg_message(header, image, self.parameters.encoding, self.parameters.jpeg_quality)
            )

    def _resized(self, image: BgrImage) -> BgrImage:
        """To the width and height of the parameters; one of them alone keeps the proportions."""
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


def raw_message(header: Header, image: BgrImage, encoding: str) -> Image:
    """A BGR picture as sensor_msgs/Image."""
    conversion = _CONVERSIONS[encoding]
    pixels = image if conversion is None else cv2.cvtColor(image, conversion)
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        step=width * channels,
        data=_message_bytes(pixels),
    )


def jpeg_message(header: Header, image: BgrImage, encoding: str, quality: int) -> CompressedImage:
    """A BGR picture as sensor_msgs/CompressedImage, its format written as image_transport does."""
    source = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if encoding == 'mono8' else image
    is_encoded, content = cv2.imencode('.jpg', source, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_encoded:
        raise PenguinError('a picture could not be compressed', 'OpenCV gave no JPEG')
    stored = 'mono8' if encoding == 'mono8' else 'bgr8'
    return CompressedImage(
        header=header, format=f'{encoding}; jpeg compressed {stored}', data=_message_bytes(content)
    )


def _message_bytes(pixels: NDArray[Any]) -> array.array[int]:
    """An array.array: rclpy checks the elements of anything else one by one."""
    content = array.array('B')
    content.frombytes(np.ascontiguousarray(pixels).data.cast('B'))
    return content
