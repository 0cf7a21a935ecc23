# SPDX-License-Identifier: Apache-2.0
"""Opens a recording, whichever it is. The first bytes of a file decide, not its name; what is no
recording is called what it is.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from penguin_ros.media.animation import AnimationRecording
from penguin_ros.media.bag import BagRecording
from penguin_ros.media.bag_files import BAG_SUFFIXES, METADATA, has_bag_files
from penguin_ros.media.bag_storage import ZSTD_MAGIC
from penguin_ros.media.db3_file import MAGIC as DB3
from penguin_ros.media.mcap_file import MAGIC as MCAP
from penguin_ros.media.recording import Recording
from penguin_ros.media.source import IMAGE_SUFFIXES
from penguin_ros.media.video import MediaError, VideoRecording, require_readable
from penguin_ros.system_reasons import system_reason

HEAD_BYTES = 64
BAGS = (MCAP, DB3, ZSTD_MAGIC)
IMAGES = (b'GIF8', b'\x89PNG\r\n')
JPEG, JPEG_SUFFIXES = b'\xff\xd8\xff', ('.jpg', '.jpeg', '.jpe')
ROS1 = b'#ROSBAG V'

OTHERS = {
    b'version https://git-lfs': (
        'it is a pointer of Git LFS, and the recording itself was not fetched',
        'Type: git lfs pull',
    ),
    b'\x1f\x8b': ('it is compressed with gzip', 'Type: gunzip -k {path}'),
    b'BZh': ('it is compressed with bzip2', 'Type: bunzip2 -k {path}'),
    b'\xfd7zXZ': ('it is compressed with xz', 'Type: unxz -k {path}'),
    b'\x04"M\x18': ('it is compressed with lz4', 'Type: lz4 -d {path}'),
    b'PK\x03\x04': ('it is a zip archive', 'Type: unzip {path}'),
    b'7z\xbc\xaf': ('it is a 7-zip archive', 'Type: 7z x {path}'),
    b'<!DOCTYPE': ('it is a web page, which was saved in the place of the recording', ''),
    b'<html': ('it is a web page, which was saved in the place of the recording', ''),
}
"""What files are that are taken for recordings, by how they begin, and what to type."""


def open_recording(path: Path, topic: str = '') -> Recording:
    """Opens a video, an animated image, or a bag: its folder, or one of its files; MediaError
    otherwise.
    """
    try:
        return _opened(path, topic)
    except OSError as error:
        why, fix = system_reason(error)
        raise MediaError(f'cannot read {path}', why, fix) from error


def _opened(path: Path, topic: str) -> Recording:
    path.stat()  # its refusal has a name of its own
    if path.name == METADATA and path.is_file():
        path = path.absolute().parent
    if path.is_dir():
        _require_bag(path)
        return BagRecording(path, topic)
    require_readable(path)
    with path.open('rb') as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(ROS1):
        target = path.with_suffix('')
        raise MediaError(
            f'{path} is a bag of ROS 1',
            'only those of ROS 2 are read',
            f'Type: rosbags-convert --src {_quoted(path)} --dst {_quoted(target)}',
        )
    for start, (why, fix) in OTHERS.items():
        if head.startswith(start):
            raise MediaError(f'cannot read {path}', why, fix.format(path=_quoted(path)))
    if not head.strip(b'\0'):
        raise MediaError(
            f'cannot read {path}',
            'it begins with zeros, as a file does whose content never reached the disk',
            'Copy it again, or record it again',
        )
    if _is_image(path, head):
        return AnimationRecording(path)
    if head.startswith(BAGS) or path.name.lower().endswith(BAG_SUFFIXES):
        return BagRecording(path, topic)
    return VideoRecording(path)


def _is_image(path: Path, head: bytes) -> bool:
    """Whether Pillow reads a file. A row of JPEG images, one after the other, is a video."""
    is_jpeg = head.startswith(JPEG) and path.suffix.lower() in JPEG_SUFFIXES
    is_webp = head[:4] == b'RIFF' and head[8:12] == b'WEBP'
    return is_jpeg or is_webp or head.startswith(IMAGES)


def _require_bag(folder: Path) -> None:
    """Raises MediaError when a folder holds no bag; it says what else it holds."""
    if has_bag_files(folder):
        return
    entries = sorted(folder.iterdir())
    bags = [each for each in entries if each.is_dir() and has_bag_files(each)]
    images = [each for each in entries if each.suffix.lower() in IMAGE_SUFFIXES]
    why = f'neither {METADATA} nor an .mcap or .db3 file is in it'
    fix = 'Give the folder of a bag, one of its files, or a video'
    if bags:
        why = f'it holds {len(bags)} bags, each in a folder of its own'
        fix = f'Give one of them, for example: {_quoted(bags[0])}'
    elif images:
        suffix = images[0].suffix
        why = f'it holds {len(images)} images and no recording'
        fix = (
            'Make a video of them, for example: ffmpeg -framerate 5 -pattern_type glob -i '
            f"{_quoted(folder)}/'*{suffix}' video.mp4"
        )
    raise MediaError(f'{folder} holds no bag', why, fix)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
