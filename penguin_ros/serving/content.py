# SPDX-License-Identifier: Apache-2.0
"""What the messages of a request show: pictures as bytes or by their uuid, and clips of them.

A picture comes with the request, in a data URI; nothing is ever fetched from an address, which
would let a client send this machine anywhere.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from penguin_ros.frame import NANOSECONDS, FrameType
from penguin_ros.serving.fields import Fields
from penguin_ros.serving.refusals import Refusal, bad_request

MAX_PARTS = 1024
MAX_FRAMES = 1024
MAX_UUID = 128
_DATA_URI = re.compile(r'data:([\w/+.-]*)((?:;[\w=+.-]+)*?)(;base64)?,', re.ASCII)
_STAMP = re.compile(r'[0-9]{1,19}', re.ASCII)
LAST_STAMP = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture: `content` are the bytes of a JPEG or PNG file, None where only the `uuid` is
    given; `place` is its name in the body.
    """

    content: bytes | None
    uuid: str
    place: str
    stamp_ns: int = 0


@dataclass(frozen=True, eq=False)
class Video:
    """Pictures as the frames of a video; see ShownVideo."""

    frames: tuple[Picture, ...]
    camera: str = ''
    has_times: bool = True
    types: tuple[FrameType, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    is_truncated: bool = False


Part = str | Picture | Video


@dataclass(frozen=True, eq=False)
class Message:
    """One message as it was sent."""

    role: str
    parts: tuple[Part, ...]

    def pictures(self) -> Iterator[Picture]:
        """Yields all pictures, frames too, in order."""
        for part in self.parts:
            if isinstance(part, Picture):
                yield part
            elif isinstance(part, Video):
                yield from part.frames


def parts_of(content: Any, place: str, media: Fields) -> tuple[Part, ...]:
    """Returns the parts of a message's `content`, a text or a list; `media` are the options for
    videos that the whole request has.
    """
    if content is None:
        return ()
    if isinstance(content, str):
        return (content,)
    if not isinstance(content, list) or len(content) > MAX_PARTS:
        raise bad_request(f'{place} takes a text, or a list of at most {MAX_PARTS} parts', place)
    return tuple(
        _part(Fields(each, f'{place}[{index}]'), media) for index, each in enumerate(content)
    )


def _part(part: Fields, media: Fields) -> Part:
    kind = part.text('type')
    if kind == 'text':
        return part.text('text')
    if kind == 'image_url':
        return _image(part)
    if kind == 'video_url':
        return _video(part, media)
    if kind == 'penguin_clip':
        return _clip(part.object('penguin_clip'))
    raise bad_request(
        f'{part.name("type")} takes text, image_url, video_url or penguin_clip', part.name('type')
    )


def _image(part: Fields) -> Picture:
    uuid = part.text('uuid', longest=MAX_UUID)
    given = part.raw('image_url')
    place = part.name('image_url')
    url = given if isinstance(given, str) else part.object('image_url').text('url')
    if not url and not uuid:
        raise bad_request(f'{place} has neither a url nor a uuid', place)
    return Picture(decoded(_body_of(url, place)[1], place) if url else None, uuid, place)


def _video(part: Fields, media: Fields) -> Video:
    """Reads frames that stand as files one after the other in `data:video/jpeg;base64,f1,f2`."""
    place = part.name('video_url')
    given = part.raw('video_url')
    url = given if isinstance(given, str) else part.object('video_url').text('url')
    kind, body = _body_of(url, place)
    if kind not in ('video/jpeg', 'video/png'):
        raise bad_request(
            f'{place} takes frames: data:video/jpeg;base64,FRAME1,FRAME2, ...',
            place,
            'unsupported_video',
        )
    files = body.split(',', MAX_FRAMES)
    if len(files) > MAX_FRAMES:
        raise bad_request(f'{place} takes at most {MAX_FRAMES} frames', place)
    stamps = _video_stamps(media.object('video'), len(files))
    frames = tuple(
        Picture(decoded(each, place), '', place, stamps[index] if stamps else 0)
        for index, each in enumerate(files)
    )
    return Video(frames, has_times=bool(stamps))


def _video_stamps(options: Fields, count: int) -> tuple[int, ...]:
    """Returns the times of frames from their rate and their places in the video; none without a
    rate.
    """
    fps = options.number('fps', 1e-6, 1e6)
    places = options.items('frames_indices', MAX_FRAMES) or list(range(count))
    name = options.name('frames_indices')
    is_sound = all(type(each) is int and 0 <= each < 2**31 for each in places)
    if len(places) != count or not is_sound or any(a >= b for a, b in pairwise(places)):
        raise bad_request(f'{name} takes one ascending whole number for each frame', name)
    return tuple(round(each / fps * NANOSECONDS) for each in places) if fps else ()


def _clip(clip: Fields) -> Video:
    frames = [
        Fields(each, f'{clip.name("frames")}[{index}]')
        for index, each in enumerate(clip.items('frames', MAX_FRAMES))
    ]
    if not frames:
        raise bad_request(f'{clip.name("frames")} is empty', clip.name('frames'))
    pictures = tuple(_frame(each) for each in frames)
    if any(later.stamp_ns <= earlier.stamp_ns for earlier, later in pairwise(pictures)):
        raise bad_request(f'the stamps of {clip.name("frames")} do not ascend', clip.name('frames'))
    planned = [each for each in frames if each.has('type') or each.has('size')]
    if planned and len(planned) != len(frames):
        raise bad_request(
            'all frames of a clip have a type and a size, or none', clip.name('frames')
        )
    return Video(
        pictures,
        clip.text('camera', longest=256),
        types=tuple(_type(each) for each in planned),
        sizes=tuple(_size(each) for each in planned),
        is_truncated=clip.flag('is_truncated'),
    )


def _frame(frame: Fields) -> Picture:
    uuid, image = frame.text('uuid', longest=MAX_UUID), frame.text('image')
    if not uuid and not image:
        raise bad_request(f'{frame.name("image")} and its uuid are missing', frame.name('image'))
    content = decoded(image, frame.name('image')) if image else None
    return Picture(content, uuid, frame.name('image'), _stamp(frame))


def _stamp(frame: Fields) -> int:
    """Reads nanoseconds: a number, or its digits where a client's numbers are too coarse."""
    given = frame.raw('stamp_ns')
    if isinstance(given, str) and _STAMP.fullmatch(given):
        given = int(given)
    if type(given) is not int or not 0 <= given <= LAST_STAMP:
        name = frame.name('stamp_ns')
        raise bad_request(f'{name} takes nanoseconds, a whole number from 0 on', name)
    return given


def _type(frame: Fields) -> FrameType:
    kinds = {each.name.lower(): each for each in FrameType}
    given = frame.text('type')
    if given not in kinds:
        raise bad_request(f'{frame.name("type")} takes {" or ".join(kinds)}', frame.name('type'))
    return kinds[given]


def _size(frame: Fields) -> tuple[int, int]:
    given = frame.items('size', 2)
    if len(given) != 2 or not all(type(each) is int and 0 < each <= 65536 for each in given):
        raise bad_request(f'{frame.name("size")} takes [height, width]', frame.name('size'))
    return given[0], given[1]


def _body_of(url: str, place: str) -> tuple[str, str]:
    """Returns the type and the base64 text of a data URI."""
    found = _DATA_URI.match(url)
    if found is None or not found.group(3):
        raise bad_request(
            f'{place} takes a data URI, data:image/jpeg;base64,...',
            place,
            'unsupported_url',
        )
    return found.group(1).lower(), url[found.end() :]


def decoded(text: str, place: str) -> bytes:
    """Returns the bytes of a base64 text."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_request(f'{place} is no base64: {error}', place, 'invalid_base64') from None


def unknown_uuids(pictures: list[Picture]) -> Refusal:
    """Returns the refusal that names the pictures to be sent again."""
    uuids = list(dict.fromkeys(picture.uuid for picture in pictures))
    return Refusal(
        400,
        'unknown_uuid',
        f'{len(uuids)} of the pictures named by a uuid are not kept here (any more): send them'
        ' again',
        pictures[0].place,
        more={'unknown_uuids': uuids},
    )
