# SPDX-License-Identifier: Apache-2.0
"""`penguin rules replay`: lets rules watch a recording, without ROS, and tells which events would
have fired.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import (
    MODEL_OPTIONS,
    add_setting_options,
    config_from,
    endless_seconds,
    seconds,
)
from penguin_ros.console import print_line, progress_bar, status_line
from penguin_ros.errors import SettingError
from penguin_ros.evaluation.offline import ANY_LENGTH, offline, with_model
from penguin_ros.frame import NANOSECONDS

EPILOG = """examples:
  penguin rules replay drive.mp4 --rules rules.yaml --checkpoint ./Penguin-VL-2B
  penguin rules replay bag_folder --topic /front/image_raw --camera front --rules rules.yaml \\
      --bundle engines/Penguin-VL-2B --picture replay.png
  penguin rules replay bag_folder --rules rules.yaml --bundle engines/Penguin-VL-2B --json

exit codes: 0 replayed, 1 an entry of the file of rules was left out or the recording was not read
to its end, 2 wrong usage or something missing"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this kind."""
    parser.add_argument(
        'source',
        type=Path,
        help='a video, an animated image, a rosbag2 folder, or an .mcap or .db3 file',
    )
    parser.add_argument(
        '--rules', type=Path, required=True, metavar='FILE', help='YAML file of rules'
    )
    parser.add_argument('--topic', default='', help='image topic of a bag that has several')
    parser.add_argument(
        '--camera',
        default='',
        metavar='NAME',
        help='only the rules that watch this camera; without it all rules watch the recording',
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument(
        '--picture',
        type=Path,
        metavar='FILE',
        help='draw the probabilities over time, with thresholds and events (.png, .svg, .pdf)',
    )
    parser.add_argument(
        '--start', type=seconds, default=0.0, metavar='S', help='start at S seconds'
    )
    parser.add_argument(
        '--end', type=endless_seconds, default=float('inf'), metavar='S', help='stop at S seconds'
    )
    options = {
        **MODEL_OPTIONS,
        '--clip-seconds': 'clip.seconds',
        '--fps': 'clip.fps',
        '--max-frames': 'clip.max_frames',
        '--visual-tokens': 'visual.max_visual_tokens',
        '--policy': 'visual.policy',
    }
    add_setting_options(parser, options)


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 when something was left out, of the rules or of the recording."""
    from penguin_ros.evaluation.rule_evaluator import RuleEvaluator
    from penguin_ros.evaluation.rule_picture import check_picture, draw
    from penguin_ros.evaluation.rule_replay import record, replay, rules_of, table
    from penguin_ros.media.convert import reduced
    from penguin_ros.media.recordings import open_recording

    if arguments.start >= arguments.end:
        given = f'--start {arguments.start:g} --end {arguments.end:g}'
        raise SettingError(given, 'the end comes after the start')
    if arguments.picture:
        check_picture(arguments.picture)
    config = offline(config_from(arguments, ANY_LENGTH))
    rules, problems = rules_of(arguments.rules, config, arguments.camera)
    recording = open_recording(arguments.source, arguments.topic)
    fix = 'penguin rules replay RECORDING --rules FILE --checkpoint DIR_OR_HUB_ID'
    config = with_model(config, 'rules need', fix)
    end_ns = None if arguments.end == float('inf') else round(arguments.end * NANOSECONDS)
    start_ns = round(arguments.start * NANOSECONDS)
    origin_ns = recording.origin_ns
    total_s = min(arguments.end, recording.duration_ns / NANOSECONDS) - arguments.start
    with RuleEvaluator(config) as evaluator, progress_bar('seconds', total_s) as show:

        def frames():  # type: ignore[no-untyped-def]
            for time_ns, image in recording.frames(config.clip.fps, start_ns, end_ns):
                show((time_ns - origin_ns - start_ns) / NANOSECONDS, 'rules')
                yield time_ns, reduced(image, config.buffer.max_frame_pixels)

        found = replay(frames(), rules, evaluator, config)
    found.problems = problems
    if arguments.picture:
        draw(arguments.picture, found, origin_ns, arguments.source.name)
    shown = json.dumps(record(found, origin_ns), indent=1) if arguments.json else None
    print_line(shown or table(found, origin_ns))
    for line in (*problems, *recording.account.lines()):
        status_line(line)
    is_whole = recording.account.is_seen_to_the_end and not problems
    return exit_codes.DONE if is_whole else exit_codes.FAILED
