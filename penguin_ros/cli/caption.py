# SPDX-License-Identifier: Apache-2.0
"""`penguin caption`: describes a recording clip by clip, without ROS, as text, as JSON lines, and
as SubRip subtitles.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from penguin_ros.atomic_file import atomic_file, check_output
from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import (
    MODEL_OPTIONS,
    add_setting_options,
    config_from,
    endless_seconds,
    seconds,
)
from penguin_ros.config import PenguinConfig
from penguin_ros.console import clock, progress_bar, status_line
from penguin_ros.errors import SettingError
from penguin_ros.evaluation.offline import (
    ANY_LENGTH,
    OfflineRunner,
    clip_thinner,
    cut_clips,
    offline,
    with_model,
)
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.request import Answer

if TYPE_CHECKING:
    from penguin_ros.media.recording import Account, Recording


EPILOG = """examples:
  penguin caption drive.mp4 --checkpoint ./Penguin-VL-2B
  penguin caption drive.mp4 --bundle engines/Penguin-VL-2B
  penguin caption bag_folder --topic /front/image_raw --json > captions.jsonl
  penguin caption drive.mp4 --checkpoint tencent/Penguin-VL-2B --clip-seconds 8 --srt drive.srt

A checkpoint runs on PyTorch. Without PyTorch, or with --backend onnxruntime, it runs on ONNX
Runtime: its bundle is built once and kept in ~/.cache/penguin_ros."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument(
        'source',
        type=Path,
        help='a video, an animated image, a rosbag2 folder, or an .mcap or .db3 file',
    )
    parser.add_argument('--topic', default='', help='image topic of a bag that has several')
    parser.add_argument(
        '--json', action='store_true', help='one JSON object per caption instead of text'
    )
    parser.add_argument('--srt', type=Path, metavar='FILE', help='write SubRip subtitles too')
    parser.add_argument(
        '--start',
        type=seconds,
        default=0.0,
        metavar='S',
        help='start S seconds into the recording',
    )
    parser.add_argument(
        '--end',
        type=endless_seconds,
        default=float('inf'),
        metavar='S',
        help='stop S seconds into the recording',
    )
    add_setting_options(
        parser,
        {
            **MODEL_OPTIONS,
            '--prompt': 'caption.prompt',
            '--clip-seconds': 'clip.seconds',
            '--fps': 'clip.fps',
            '--max-frames': 'clip.max_frames',
            '--max-tokens': 'caption.max_tokens',
            '--visual-tokens': 'visual.max_visual_tokens',
            '--policy': 'visual.policy',
        },
    )


def run(arguments: argparse.Namespace) -> int:
    """Captions every clip; exit code 0 only when images were seen to the end of the recording and
    every caption was made.
    """
    from penguin_ros.media.recordings import open_recording

    if arguments.start >= arguments.end:
        raise SettingError(
            f'--start {arguments.start:g} --end {arguments.end:g}', 'the end comes after the start'
        )
    if arguments.srt:
        check_output(arguments.srt, arguments.source, '--srt FILE')
    config = offline(config_from(arguments, ANY_LENGTH))
    recording = open_recording(arguments.source, arguments.topic)
    config = with_model(
        config,
        'captions need',
        'penguin caption FILE --checkpoint DIR_OR_HUB_ID, for example tencent/Penguin-VL-2B',
    )
    return _caption_all(arguments, config, recording)


def _caption_all(arguments: argparse.Namespace, config: PenguinConfig, recording: Recording) -> int:
    total_s = min(arguments.end, recording.duration_ns / NANOSECONDS) - arguments.start
    origin_ns, failures = recording.origin_ns, 0
    with ExitStack() as stack:
        runner = stack.enter_context(OfflineRunner(config))
        subtitles = (
            SubRipWriter(stack.enter_context(atomic_file(arguments.srt))) if arguments.srt else None
        )
        show = stack.enter_context(progress_bar('captions', total_s))
        for clip in _clips(arguments, config, recording):
            since_s = (clip[-1].stamp_ns - origin_ns) / NANOSECONDS
            show(since_s - arguments.start, clock((clip[0].stamp_ns - origin_ns) / NANOSECONDS))
            answer = runner.caption(clip)
            failures += answer.error is not None
            _print_caption(answer, origin_ns, arguments.json)
            if subtitles and answer.error is None:
                subtitles.write(
                    clip[0].stamp_ns - origin_ns, _end_of_cue(clip, config) - origin_ns, answer.text
                )
        _require_images(arguments, recording.account)
    account = recording.account
    for line in account.lines():
        status_line(line)
    return exit_codes.DONE if account.is_seen_to_the_end and not failures else exit_codes.FAILED


def _clips(
    arguments: argparse.Namespace, config: PenguinConfig, recording: Recording
) -> Iterator[list[Frame]]:
    from penguin_ros.media.convert import reduced

    is_endless = math.isinf(arguments.end)
    frames = recording.frames(
        config.clip.fps,
        round(arguments.start * NANOSECONDS),
        None if is_endless else round(arguments.end * NANOSECONDS),
    )
    limits = config.clip.seconds, arguments.start, arguments.end
    # The pipeline would make them smaller, too, but a whole clip comes to it at once.
    small = ((time_ns, reduced(image, config.buffer.max_frame_pixels)) for time_ns, image in frames)
    for _, clip in cut_clips(small, *limits, recording.origin_ns, clip_thinner(config)):
        yield clip


def _require_images(arguments: argparse.Namespace, account: Account) -> None:
    """Raises MediaError, with what is known of the reasons, when no image was seen."""
    from penguin_ros.media.video import MediaError

    if account.used:
        return
    if account.left_out:
        entries = account.left_out.values()
        raise MediaError(
            f'none of the {account.left_out_count} images of {arguments.source} could be used',
            '; '.join([*(entry.reason for entry in entries), *account.notes]),
            next((entry.fix for entry in entries if entry.fix), ''),
        )
    if account.not_due:
        raise MediaError(
            f'{arguments.source} has no image from {arguments.start:g} to {arguments.end:g} s',
            'its images lie outside' if account.notes == [] else '; '.join(account.notes),
            'Give another --start or --end',
        )
    raise MediaError(f'{arguments.source} holds no image', '; '.join(account.notes))


class Writable(Protocol):
    """What text is written to."""

    def write(self, content: str, /) -> object:
        """Writes text."""


class SubRipWriter:
    """Writes one numbered cue for each caption to `stream`. Times are nanoseconds from the start of
    the recording.
    """

    def __init__(self, stream: Writable) -> None:
        self._stream = stream
        self._cues = 0

    def write(self, start_ns: int, end_ns: int, text: str) -> None:
        """Writes a cue without the blank lines in `text`: in this format a blank line ends a
        cue.
        """
        self._cues += 1
        lines = '\n'.join(line for line in text.splitlines() if line.strip()) or '…'
        self._stream.write(
            f'{self._cues}\n{timestamp(start_ns)} --> {timestamp(end_ns)}\n{lines}\n\n'
        )


def timestamp(time_ns: int) -> str:
    """Formats a time as HH:MM:SS,mmm, rounded to the millisecond."""
    milliseconds = max(0, (time_ns + 500_000) // 1_000_000)
    seconds, rest = divmod(milliseconds, 1000)
    return f'{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{rest:03d}'


def answer_record(answer: Answer) -> dict[str, object]:
    """Text, error and evidence as plain values; durations in seconds, stamps in nanoseconds."""
    evidence = answer.evidence
    stats = evidence.stats
    durations_ns = {
        'wait': evidence.wait_ns,
        'encode': stats.encode_ns,
        'prefill': stats.prefill_ns,
        'decode': stats.decode_ns,
        'first_token': evidence.first_token_ns,
    }
    return {
        'text': answer.text,
        'error': str(answer.error) if answer.error else None,
        'camera': answer.camera,
        'stamps_ns': [frame.stamp_ns for frame in evidence.frames],
        'frame_types': [frame.type.name.lower() for frame in evidence.frames],
        'model': evidence.model_name,
        'digest': evidence.model_digest,
        'backend': evidence.backend,
        'precision': evidence.precision,
        'tokens': {
            'visual': stats.visual_tokens,
            'prompt': stats.prompt_tokens,
            'generated': stats.generated_tokens,
            'reused': stats.reused_tokens,
            'drafted': stats.drafted_tokens,
            'accepted': stats.accepted_tokens,
        },
        'forward_passes': stats.forward_passes,
        'seconds': {
            name: round(duration / NANOSECONDS, 6) for name, duration in durations_ns.items()
        },
        'stop_reason': evidence.stop_reason.name.lower(),
        'is_truncated': evidence.is_truncated,
    }


def _end_of_cue(clip: list[Frame], config: PenguinConfig) -> int:
    """The time until which a cue is shown: when the frame after its last one would come."""
    return clip[-1].stamp_ns + int(NANOSECONDS / config.clip.fps)


def _print_caption(answer: Answer, origin_ns: int, as_json: bool) -> None:
    start = (answer.evidence.start_ns - origin_ns) / NANOSECONDS
    end = (answer.evidence.end_ns - origin_ns) / NANOSECONDS
    if as_json:
        record = {'start': round(start, 3), 'end': round(end, 3), **answer_record(answer)}
        print(json.dumps(record, ensure_ascii=False), flush=True)
    elif answer.error is not None:
        print(
            f'[{clock(start)} – {clock(end)}] failed: {answer.error}', file=sys.stderr, flush=True
        )
    else:
        print(f'[{clock(start)} – {clock(end)}] {answer.text}', flush=True)
