# SPDX-License-Identifier: Apache-2.0
"""`penguin parity`: compares this implementation with stored values of the reference, stage by
stage, without ROS.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from penguin_ros.atomic_file import check_output
from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import add_setting_options, config_from
from penguin_ros.config import ModelConfig, PenguinConfig
from penguin_ros.console import write_json
from penguin_ros.evaluation.golden import GoldenCase, GoldenValuesError, read_cases
from penguin_ros.evaluation.parity_report import print_report, report_record
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.settings import settings

EPILOG = """examples:
  penguin parity golden
  penguin parity golden --backend torch --set model.prefill_chunk=64
  penguin parity golden --device cuda --precision bfloat16 --json parity.json
  penguin parity golden --backend onnxruntime --precision int4
  penguin parity golden --bundle engines/NAME

The folder holds checkpoint/ (another one: --checkpoint) and cases/*.npz. A backend that runs
bundles gets one that is built of the checkpoint for this run, or the one named with --bundle. In
float32, types, sizes, ids and argmaxes must be identical, and tokens up to the first step whose
margin is under 1e-3. Pixels may differ by 1e-6; ||a-b||/||b|| is at most 1e-5 for features and 1e-4
for the logits of every step, for which the reference's tokens are fed. An argmax may differ where
our logits of both candidates lie within twice the margin: one may rise as the other falls. Float16
and bfloat16 are compared with the same float32 values under looser bounds, which the table shows.
For int8 and int4 the cosine, the agreement of the most probable token and the perplexity of the
reference's continuation are reported; they do not fail.

exit codes: 0 everything is within tolerance, 1 something is not, 2 the folder cannot be used"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument(
        'golden', type=Path, metavar='GOLDEN_DIR', help='folder with checkpoint/ and cases/*.npz'
    )
    parser.add_argument(
        '--case',
        action='append',
        default=[],
        metavar='NAME',
        help='this case only; may be repeated',
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all errors as JSON too')
    parser.add_argument(
        '--precision',
        dest='model.precision',
        choices=settings(PenguinConfig())['model.precision'][1].choices,
        help='number format of the network (default: float32; that of the bundle)',
    )
    options = {
        '--checkpoint': 'model.checkpoint',
        '--bundle': 'model.bundle',
        '--backend': 'model.backend',
        '--device': 'model.device',
    }
    add_setting_options(parser, options)


def run(arguments: argparse.Namespace) -> int:
    """Compares every case; exit code 1 when a stage is beyond its tolerance."""
    from penguin_ros.evaluation.parity import compare_all  # late: it brings the image libraries

    if arguments.json:
        check_output(arguments.json, option='--json FILE')
    cases = _chosen(read_cases(arguments.golden), arguments.case)
    longest = max(case.positions for case in cases)
    model = _model(config_from(arguments).model, arguments.golden, longest)
    with tempfile.TemporaryDirectory(prefix='penguin_parity_') as folder:
        found = compare_all(cases, with_bundle(model, Path(folder)))
    print_report(found)
    if arguments.json:
        write_json(arguments.json, report_record(found))
    return exit_codes.DONE if found.is_passed else exit_codes.FAILED


def _model(model: ModelConfig, golden: Path, longest: int) -> ModelConfig:
    """One KV slot for the longest case; the folder's checkpoint in float32 unless something else is
    named.
    """
    if not model.bundle:
        model = replace(
            model,
            checkpoint=model.checkpoint or str(golden / 'checkpoint'),
            precision='float32' if model.precision == 'auto' else model.precision,
        )
    return replace(model, kv_slots=1, max_length=max(model.max_length, longest))


def _chosen(cases: list[GoldenCase], names: list[str]) -> list[GoldenCase]:
    known = [case.name for case in cases]
    for name in names:
        if name not in known:
            raise GoldenValuesError(f'there is no case {name}', '', 'Cases: ' + ', '.join(known))
    return [case for case in cases if not names or case.name in names]
