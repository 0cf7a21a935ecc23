# SPDX-License-Identifier: Apache-2.0
"""`penguin caption`: describes a recording clip by clip through the pipeline. Knows no running ROS.

An answer as plain JSON values, for scripts that read our output. Knows the value rooms only.

Writes captions as SubRip (.srt). Knows the format only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import MODEL_OPTIONS, add_setting_options, config_from
from penguin_ros.config import PenguinConfig
from penguin_ros.console import clock, progress_bar, status_line
from penguin_ros.errors import SettingError
from penguin_ros.evaluation.offline import CAMERA, OfflineRunner, offline
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.frame import NANOSECONDS, Frame, Image
from penguin_ros.media.bag import Recording, open_recording
from penguin_ros.request import Answer


class SubRipWriter:
    """Writes one numbered cue per caption to `stream`; times in nanoseconds from the start of the
    recording.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._cues = stream, 0

    def write(self, start_ns: int, end_ns: int, text: str) -> None:
        """A blank line ends a cue in this format, so blank lines inside `text` are left out."""
        self._cues += 1
        lines = '\n'.join(line for line in text.splitlines() if line.strip()) or '…'
        self._stream.write(
            f'{self._cues}\n{timestamp(start_ns)} --> {timestamp(end_ns)}\n{lines}\n\n'
        )
        self._stream.flush()


def timestamp(time_ns: int) -> str:
    """HH:MM:SS,mmm, rounded to the millisecond."""
    milliseconds = max(0, (time_ns + 500_000) // 1_000_000)
    seconds, rest = divmod(milliseconds, 1000)
    return f'{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{rest:03d}'


def answer_record(answer: Answer) -> dict[str, object]:
    """Text, error and evidence; durations in seconds, stamps in integer nanoseconds."""
    evidence, stats = answer.evidence, answer.evidence.stats
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


EPILOG = """examples:
  penguin caption drive.mp4 --checkpoint ./Penguin-VL-2B
  penguin caption drive.mp4 --bundle engines/Penguin-VL-2B
  penguin caption bag_folder --topic /front/image_raw --json > captions.jsonl
  penguin caption drive.mp4 --checkpoint tencent/Penguin-VL-2B --clip-seconds 8 --srt drive.srt

A checkpoint runs on PyTorch, or without it (or with --backend onnxruntime) on ONNX Runtime: its bundle is then built once and
kept in ~/.cache/penguin_ros."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument(
        'source', type=Path, help='a video file, a rosbag2 folder, or an .mcap file'
    )
    parser.add_argument('--topic', default='', help='image topic of a bag that has several')
    parser.add_argument(
        '--json', action='store_true', help='one JSON object per caption instead of text'
    )
    parser.add_argument('--srt', type=Path, metavar='FILE', help='write SubRip subtitles too')
    parser.add_argument(
        '--start',
        type=float,
        default=0.0,
        metavar='S',
        help='begin here, in seconds of the recording',
    )
    parser.add_argument(
        '--end',
        type=float,
        default=float('inf'),
        metavar='S',
        help='stop here, in seconds of the recording',
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
    """Captions every clip; exit code 1 when one of them failed."""
    config = offline(config_from(arguments))
    if not config.model.checkpoint and not config.model.bundle:
        raise SettingError(
            'no model given',
            'captions need a checkpoint or a bundle',
            'penguin caption FILE --checkpoint DIR_OR_HUB_ID, for example tencent/Penguin-VL-2B',
        )
    config = replace(config, model=with_bundle(config.model))
    recording = open_recording(arguments.source, arguments.topic)
    with ExitStack() as stack:
        subtitles = (
            SubRipWriter(stack.enter_context(arguments.srt.open('w', encoding='utf-8')))
            if arguments.srt
            else None
        )
        return _caption_all(arguments, config, recording, subtitles, stack)


def _caption_all(
    arguments: argparse.Namespace,
    config: PenguinConfig,
    recording: Recording,
    subtitles: SubRipWriter | None,
    stack: ExitStack,
) -> int:
    runner = stack.enter_context(OfflineRunner(config))
    total_s = min(arguments.end, recording.duration_ns / NANOSECONDS) - arguments.start
    failures = 0
    with progress_bar('captions', total_s) as show:
        frames = recording.frames(config.clip.fps)
        for origin_ns, clip in clips(frames, config.clip.seconds, arguments.start, arguments.end):
            show(
                (clip[-1].stamp_ns - origin_ns) / NANOSECONDS - arguments.start,
                clock((clip[0].stamp_ns - origin_ns) / NANOSECONDS),
            )
            answer = runner.caption(clip)
            failures += answer.error is not None
            _print_caption(answer, origin_ns, arguments.json)
            if subtitles and answer.error is None:
                subtitles.write(
                    clip[0].stamp_ns - origin_ns, _end_of_cue(clip, config) - origin_ns, answer.text
                )
    _report_drops(getattr(recording, 'dropped', {}))
    return exit_codes.FAILED if failures else exit_codes.DONE


def clips(
    frames: Iterable[tuple[int, Image]], seconds: float, start_s: float, end_s: float
) -> Iterator[tuple[int, list[Frame]]]:
    """Cuts a recording into consecutive clips of `seconds`; yields (time of the recording's first
    frame, frames).
    """
    origin_ns, number, clip = None, 0, list[Frame]()
    for time_ns, image in frames:
        origin_ns = time_ns if origin_ns is None else origin_ns
        since_start = (time_ns - origin_ns) / NANOSECONDS - start_s
        if since_start < 0:
            continue
        if since_start + start_s >= end_s:
            break
        if clip and (int(since_start / seconds) != number or clip[-1].image.shape != image.shape):
            yield origin_ns, clip
            clip = []
        number = int(since_start / seconds)
        clip.append(Frame(time_ns, image, CAMERA))
    if clip and origin_ns is not None:
        yield origin_ns, clip


def _end_of_cue(clip: list[Frame], config: PenguinConfig) -> int:
    """A cue stays until the frame after its last one would come."""
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


def _report_drops(dropped: dict[str, int]) -> None:
    for cause, count in dropped.items():
        status_line(f'{count} pictures dropped: {cause}')
