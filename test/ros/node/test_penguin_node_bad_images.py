# SPDX-License-Identifier: Apache-2.0
"""Images that are wrong in every way a driver can think of: dropped, counted and named, and the
node goes on.
"""

import array
import io
import struct

import numpy as np
import PIL.Image
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from penguin_msgs.msg import ErrorCode
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from support.graph import SyntheticCamera, image_message, stamp_ns

WIDTH, HEIGHT = 64, 48
PARAMETERS = {
    'cameras': ['camera', 'jpeg'],
    'camera.camera.transport': 'raw',
    'camera.jpeg.transport': 'compressed',
    'clip.fps': 30.0,
    'clip.seconds': 3.0,
    'question.max_tokens': 16,
    'caption.enabled': False,
    'caption.period': 0.1,
}


@pytest.fixture(scope='module')
def node(live_node):
    """Active; no images yet."""
    return live_node(PARAMETERS)


@pytest.fixture(scope='module')
def raw(graph, node):
    return SyntheticCamera(graph, '/camera/image')


@pytest.fixture(scope='module')
def compressed(graph, node):
    return graph.publisher(CompressedImage, '/jpeg/image/compressed', 10)


def repeat_until(graph, publish, condition, what):
    """Publishes ten times per second, since images travel without guarantee."""
    timer = graph.node.create_timer(0.1, publish)
    try:
        graph.wait_for(condition, 20, what)
    finally:
        graph.node.destroy_timer(timer)


def assert_rejected(node, camera, publish, cause, reason):
    before = node.drops(cause, camera)

    def is_told():
        entry, values = node.entry(f'camera {camera}'), node.entry_values(f'camera {camera}')
        is_counted = int(values.get(f'dropped: {cause}', 0)) > before
        return is_counted and entry.level == DiagnosticStatus.ERROR and reason in entry.message

    repeat_until(
        node.graph,
        publish,
        lambda: is_told() and node.drops(cause, camera) > before,
        f'drops for {cause}: {reason}',
    )


# --- raw ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'fields, cause, reason',
    [
        ({'encoding': 'nv21'}, 'encoding', "encoding 'nv21'"),
        ({'encoding': ''}, 'encoding', "encoding ''"),
        ({'encoding': '16UC1'}, 'encoding', "encoding '16UC1'"),
        ({'width': 0}, 'shape', 'an image of 0x48'),
        ({'height': 0}, 'shape', 'an image of 64x0'),
        (
            {'width': 0, 'height': 0, 'step': 0, 'data': array.array('B')},
            'shape',
            'an image of 0x0',
        ),
        ({'data': array.array('B', bytes(WIDTH * HEIGHT))}, 'shape', 'it has 3072 bytes, 48 rows'),
        ({'data': array.array('B')}, 'shape', 'it has 0 bytes'),
        ({'step': WIDTH}, 'shape', 'step is 64 bytes'),
        ({'height': 2**32 - 1, 'step': 2**32 - 1}, 'shape', '4294967295 rows of 4294967295 bytes'),
    ],
    ids=[
        'nv21',
        'no encoding',
        'depth',
        'no width',
        'no height',
        'nothing',
        'short',
        'no data',
        'short step',
        'gigantic',
    ],
)
def test_a_bad_raw_image_is_dropped_counted_and_named(node, raw, fields, cause, reason):
    assert_rejected(node, 'camera', lambda: raw.publish(**fields), cause, reason)


def test_bytes_that_are_no_message_are_survived_and_not_taken_for_frames(graph, node, raw):
    image = image_message(3, 0)
    before = look_at(node, raw, image).text
    content = serialize_message(image)
    damaged = [
        b'\x00\x01\x00\x00\xff\xff\xff\xff no image',
        content[:-100],
        content[:12] + b'\xff\xff\xff\x7f' + content[16:],
    ]

    def frames_now():
        seen = len(node.statuses)
        graph.wait_for(lambda: len(node.statuses) > seen + 1, what='a status of now')
        return node.camera_status().frames_received

    received = frames_now()
    for content in damaged * 3:
        raw.publisher.publish(content)
        assert graph.holds_for(lambda: node.process.is_running, 0.05)
    assert frames_now() == received
    assert look_at(node, raw, image).text == before


# --- compressed -----------------------------------------------------------------------------------


def jpeg(width=WIDTH, height=HEIGHT, kind='JPEG'):
    pixels = np.frombuffer(image_message(1, 0, width, height).data, np.uint8).reshape(
        height, width, 3
    )
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def jpeg_that_claims(width, height):
    """Returns a real JPEG whose header claims another size."""
    content = bytearray(jpeg())
    start = content.index(b'\xff\xc0')
    content[start + 5 : start + 9] = struct.pack('>HH', height, width)
    return bytes(content)


def png_that_claims(width, height):
    """Returns a real PNG whose header claims another size, with the checksum to match."""
    import zlib

    content = bytearray(jpeg(kind='PNG'))
    content[16:24] = struct.pack('>II', width, height)
    content[29:33] = struct.pack('>I', zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize(
    'content, label, cause, reason',
    [
        (b'', 'jpeg', 'corrupt', 'it is empty'),
        (jpeg()[: len(jpeg()) // 2], 'jpeg', 'corrupt', 'truncated'),
        (jpeg()[:20] + bytes(300), 'jpeg', 'corrupt', 'truncated'),
        (b'<html>not here</html>', 'jpeg', 'corrupt', 'neither'),
        (jpeg_that_claims(10000, 10000), 'jpeg', 'too_large', '10000x10000'),
        (png_that_claims(60000, 60000), 'png', 'too_large', '60000x60000'),
        (b'RIFF0000WEBPVP8 ', 'webp', 'encoding', "'webp'"),
    ],
    ids=['empty', 'cut', 'damaged', 'text', 'jpeg bomb', 'png bomb', 'webp'],
)
def test_a_bad_compressed_image_is_dropped_counted_and_named(
    node, compressed, content, label, cause, reason
):
    def publish():
        message = CompressedImage(format=label, data=array.array('B', content))
        message.header.stamp = node.graph.node.get_clock().now().to_msg()
        compressed.publish(message)

    assert_rejected(node, 'jpeg', publish, cause, reason)


# --- what the model sees --------------------------------------------------------------------------


def look_at(node, camera, message, topic_camera='camera'):
    """The answer about exactly this image, which is published with a new stamp until it has been
    taken.
    """
    now_ns = node.graph.node.get_clock().now().nanoseconds
    stamp = Time(sec=now_ns // 10**9, nanosec=now_ns % 10**9)
    message.header.stamp = stamp

    def answer():
        (camera.publisher if hasattr(camera, 'publisher') else camera).publish(message)
        found = node.ask(
            'What is this?', camera=topic_camera, has_interval=True, start=stamp, end=stamp
        ).answer
        return found if found.error_code != ErrorCode.INTERVAL_UNAVAILABLE else None

    found = node.graph.wait_for(answer, 20, 'an answer about the image')
    assert found.error_code == ErrorCode.NONE and [
        stamp_ns(frame.stamp) for frame in found.evidence.frames
    ] == [now_ns]
    return found


def pixels_of(message):
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)


def message_of(pixels, encoding, padding=0, big_endian=0):
    """An image message whose rows are followed by `padding` bytes of noise."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
    noise = np.random.default_rng(5).integers(0, 256, (height, padding), np.uint8)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=big_endian,
        step=rows.shape[1] + padding,
        data=array.array('B', np.concatenate([rows, noise], axis=1).tobytes()),
    )


def test_the_model_sees_the_same_image_whatever_its_encoding_padding_and_byte_order(
    node, raw, compressed
):
    rgb = pixels_of(image_message(7, 0))
    seen = look_at(node, raw, message_of(rgb, 'rgb8')).text
    alpha = np.dstack([rgb, np.full(rgb.shape[:2], 99, np.uint8)])
    same = {
        'rgb8, padded': message_of(rgb, 'rgb8', 17),
        'bgr8': message_of(rgb[..., ::-1], 'bgr8', 1),
        'rgba8': message_of(alpha, 'rgba8'),
        'bgra8': message_of(alpha[..., [2, 1, 0, 3]], 'bgra8', 4),
        'rgb16, big-endian': message_of(rgb.astype('>u2') * 257, 'rgb16', 2, big_endian=1),
    }
    assert {
        name: look_at(node, raw, message).text for name, message in same.items()
    } == dict.fromkeys(same, seen)
    # The label says JPEG; what the first bytes say counts.
    png = CompressedImage(format='jpeg', data=array.array('B', jpeg(kind='PNG')))
    one = look_at(node, raw, message_of(pixels_of(image_message(1, 0)), 'rgb8')).text
    assert look_at(node, compressed, png, 'jpeg').text == one
    # The model is not blind: colours exchanged, and rows sheared by padding that is not left out,
    # give other words.
    sheared = np.resize(np.frombuffer(message_of(rgb, 'rgb8', 17).data, np.uint8), rgb.shape)
    others = {
        look_at(node, raw, message_of(pixels, 'rgb8')).text for pixels in (rgb[..., ::-1], sheared)
    }
    assert seen not in others


# --- a change of size -----------------------------------------------------------------------------


def test_a_clip_never_mixes_sizes_when_the_resolution_changes(graph, node, raw):
    sizes, published = {}, [0]
    start_ns = graph.node.get_clock().now().nanoseconds

    def publish():
        size = ((64, 48), (96, 64))[published[0] // 6 % 2]
        now_ns = graph.node.get_clock().now().nanoseconds
        sizes[now_ns] = size
        raw.publisher.publish(image_message(published[0], now_ns, *size))
        published[0] += 1

    def sizes_of(caption):
        stamps = [stamp_ns(frame.stamp) for frame in caption.evidence.frames]
        return {sizes[stamp] if stamp >= start_ns else (WIDTH, HEIGHT) for stamp in stamps}

    timer = graph.node.create_timer(0.05, publish)
    assert node.set(caption__enabled=True)[0].successful
    seen = len(node.captions)
    graph.wait_for(
        lambda: (
            {
                frozenset(sizes_of(caption))
                for caption in node.captions[seen:]
                if len(caption.evidence.frames) > 1
            }
            >= {frozenset([(64, 48)]), frozenset([(96, 64)])}
            and len(node.captions) > seen + 12
        ),
        40,
        'captions of both sizes with several frames',
    )
    assert all(len(sizes_of(caption)) == 1 for caption in node.captions[seen:])
    stamps = sorted(sizes)[-24:-2]
    bounds = {
        name: Time(sec=value // 10**9, nanosec=value % 10**9)
        for name, value in (('start', stamps[0]), ('end', stamps[-1]))
    }
    answer = node.ask(has_interval=True, **bounds).answer
    assert answer.error_code == ErrorCode.NONE and len(answer.evidence.frames) > 1
    assert (
        len({sizes[stamp_ns(frame.stamp)] for frame in answer.evidence.frames}) == 1
        and answer.evidence.is_truncated
    )
    graph.node.destroy_timer(timer)
    assert node.set(caption__enabled=False)[0].successful


# --- afterwards -----------------------------------------------------------------------------------


def test_good_images_after_bad_ones_make_everything_well_again(graph, node, raw):
    assert_rejected(node, 'camera', lambda: raw.publish(encoding='nv12'), 'encoding', "'nv12'")
    raw.start(20.0)
    node.wait_for_entry('camera camera', DiagnosticStatus.OK)
    answer = node.ask(camera='camera').answer
    raw.stop()
    assert answer.error_code == ErrorCode.NONE and answer.text and not answer.evidence.is_stale
