# SPDX-License-Identifier: Apache-2.0
"""`penguin caption`: describes a recording clip by clip through the pipeline. Knows no running ROS."""
from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from penguin_ros.cli import exits
from penguin_ros.cli.answer_record import answer_record
from penguin_ros.cli.built_bundle import with_bundle
from penguin_ros.cli.offline_runner import CAMERA, OfflineRunner, offline
from penguin_ros.cli.settings import MODEL_OPTIONS, add_setting_options, config_from
from penguin_ros.cli.subtitles import SubRipWriter
from penguin_ros.cli.terminal import clock, progress_bar, status_line
from penguin_ros.config import PenguinConfig
from penguin_ros.errors import SettingError
from penguin_ros.frame import NANOSECONDS, Frame, Image
from penguin_ros.recording.open_recording import Recording, open_recording
from penguin_ros.request import Answer

EPILOG = """examples:
  penguin caption drive.mp4 --checkpoint ./Penguin-VL-2B
  penguin caption drive.mp4 --bundle engines/Penguin-VL-2B
  penguin caption bag_folder --topic /front/image_raw --json > captions.jsonl
  penguin caption drive.mp4 --checkpoint tencent/Penguin-VL-2B --clip-seconds 8 --srt drive.srt

A checkpoint runs on PyTorch, or without it (or with --backend onnxruntime) on ONNX Runtime: its bundle is then built once and
kept in ~/.cache/penguin_ros."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.add_argument('source', type=Path, help='a video file, a rosbag2 folder, or an .mcap file')
    parser.add_argument('--topic', default='', help='image topic of a bag that has several')
    parser.add_argument('--json', action='store_true', help='one JSON object per caption instead of text')
    parser.add_argument('--srt', type=Path, metavar='FILE', help='write SubRip subtitles too')
    parser.add_argument('--start', type=float, default=0.0, metavar='S', help='begin here, in seconds of the recording')
    parser.add_argument('--end', type=float, default=float('inf'), metavar='S', help='stop here, in seconds of the recording')
    add_setting_options(parser, {**MODEL_OPTIONS, '--prompt': 'caption.prompt', '--clip-seconds': 'clip.seconds',
                                 '--fps': 'clip.fps', '--max-frames': 'clip.max_frames', '--max-tokens': 'caption.max_tokens',
                                 '--visual-tokens': 'visual.max_visual_tokens', '--policy': 'visual.policy'})


def run(arguments: argparse.Namespace) -> int:
    """Captions every clip; exit code 1 when one of them failed."""
    from penguin_ros.ros.image_conversion import message_to_rgb
    config = offline(config_from(arguments))
    if not config.model.checkpoint and not config.model.bundle and config.model.backend != 'scripted':
        raise SettingError('no model given', 'captions need a checkpoint or a bundle',
                           'penguin caption FILE --checkpoint DIR_OR_HUB_ID, for example tencent/Penguin-VL-2B')
    config = replace(config, model=with_bundle(config.model))
    recording = open_recording(arguments.source, message_to_rgb, arguments.topic)
    with ExitStack() as stack:
        subtitles = SubRipWriter(stack.enter_context(arguments.srt.open('w', encoding='utf-8'))) if arguments.srt else None
        return _caption_all(arguments, config, recording, subtitles, stack)


def _caption_all(arguments: argparse.Namespace, config: PenguinConfig, recording: Recording, subtitles: SubRipWriter | None,
                 stack: ExitStack) -> int:
    runner = stack.enter_context(OfflineRunner(config))
    total_s = min(arguments.end, recording.duration_ns / NANOSECONDS) - arguments.start
    failures = 0
    with progress_bar('captions', total_s) as show:
        frames = recording.frames(config.clip.fps)
        for origin_ns, clip in clips(frames, config.clip.seconds, arguments.start, arguments.end):
            show((clip[-1].stamp_ns - origin_ns) / NANOSECONDS - arguments.start,
                 clock((clip[0].stamp_ns - origin_ns) / NANOSECONDS))
            answer = runner.caption(clip)
            failures += answer.error is not None
            _print_caption(answer, origin_ns, arguments.json)
            if subtitles and answer.error is None:
                subtitles.write(clip[0].stamp_ns - origin_ns, _end_of_cue(clip, config) - origin_ns, answer.text)
    _report_drops(getattr(recording, 'dropped', {}))
    return exits.FAILED if failures else exits.DONE


def clips(frames: Iterable[tuple[int, Image]], seconds: float, start_s: float, end_s: float) -> Iterator[tuple[int, list[Frame]]]:
    """Cuts a recording into consecutive clips of `seconds`; yields (time of the recording's first frame, frames)."""
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
        print(f'[{clock(start)} – {clock(end)}] failed: {answer.error}', file=sys.stderr, flush=True)
    else:
        print(f'[{clock(start)} – {clock(end)}] {answer.text}', flush=True)


def _report_drops(dropped: dict[str, int]) -> None:
    for cause, count in dropped.items():
        status_line(f'{count} pictures dropped: {cause}')
