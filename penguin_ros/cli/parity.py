# SPDX-License-Identifier: Apache-2.0
"""`penguin parity`: compares this implementation with stored values of the reference, stage by
stage. Needs no ROS.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penguin_ros.backends.base.backend import BackendDescription
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import add_setting_options, config_from
from penguin_ros.config import ModelConfig, PenguinConfig
from penguin_ros.console import progress_bar, status_line
from penguin_ros.evaluation.golden import GoldenCase, GoldenValuesError, read_cases
from penguin_ros.evaluation.tolerance import StageResult, Tolerance, Verdict, tolerance_of
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.requests.loaded_model import open_model
from penguin_ros.settings import settings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Results = dict[str, list[StageResult]]

EPILOG = """examples:
  penguin parity golden
  penguin parity golden --backend torch --set model.prefill_chunk=64
  penguin parity golden --device cuda --precision bfloat16 --json parity.json
  penguin parity golden --backend onnxruntime --precision int4
  penguin parity golden --bundle engines/NAME

A backend that runs bundles gets one that is built from the checkpoint for the occasion, or the one named. The folder holds
checkpoint/ (another one: --checkpoint) and cases/*.npz. In float32, types, sizes, ids and argmaxes must be identical, tokens up
to the first step whose margin is under 1e-3; pixels may differ by 1e-6, ||a-b||/||b|| is at most 1e-5 for features and 1e-4 for
the logits of every step, for which the reference's tokens are fed. An argmax may differ where both candidates lie within the
margin. Float16 and bfloat16 are compared with the same float32 values under looser bounds, which the table shows. For int8 and
int4 cosine, agreement of the most probable token and perplexity of the reference's continuation are reported; they do not fail.

exit codes: 0 all within tolerance, 1 something is not, 2 the folder cannot be used"""

STYLES = {
    Verdict.OK: '[green]OK[/]',
    Verdict.FAIL: '[bold red]FAIL[/]',
    Verdict.NOT_GIVEN: '[dim]not given[/]',
    Verdict.NOT_REACHED: '[red]not reached[/]',
    Verdict.REPORTED: '[cyan]reported[/]',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
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
    add_setting_options(
        parser,
        {
            '--checkpoint': 'model.checkpoint',
            '--bundle': 'model.bundle',
            '--backend': 'model.backend',
            '--device': 'model.device',
        },
    )


def run(arguments: argparse.Namespace) -> int:
    """Compares every case; exit code 1 when a stage is beyond its tolerance."""
    if arguments.json and not arguments.json.parent.is_dir():
        raise GoldenValuesError(
            f'{arguments.json} cannot be written', f'there is no folder {arguments.json.parent}'
        )
    cases = _chosen(read_cases(arguments.golden), arguments.case)
    model = _model(
        config_from(arguments).model, arguments.golden, max(case.positions for case in cases)
    )
    with tempfile.TemporaryDirectory(prefix='penguin_parity_') as folder:
        description, results = _compare_all(cases, with_bundle(model, Path(folder)))
    tolerance = tolerance_of(description.precision)
    _print(results, description, tolerance)
    if arguments.json:
        _write_json(arguments.json, results, description, tolerance)
    return exit_codes.DONE if _is_passed(results) else exit_codes.FAILED


def _model(model: ModelConfig, golden: Path, longest: int) -> ModelConfig:
    """One slot for the longest case; the folder's checkpoint in float32 unless something else is
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


def _compare_all(cases: list[GoldenCase], model: ModelConfig) -> tuple[BackendDescription, Results]:
    from penguin_ros.evaluation.parity import (
        Bench,
        compare,
    )  # brings the picture libraries, which --help does not need

    source = open_model(model, status_line)
    backend = make_backend(model, source)
    try:
        description = backend.open()
        bench = Bench(backend, source, tolerance_of(description.precision), model.prefill_chunk)
        results: Results = {}
        with progress_bar('cases', len(cases)) as show:
            for count, case in enumerate(cases):
                show(count, case.name)
                results[case.name] = compare(case, bench)
        return description, results
    finally:
        backend.close()


def _is_passed(results: Results) -> bool:
    bad = (Verdict.FAIL, Verdict.NOT_REACHED)
    return not any(stage.verdict in bad for stages in results.values() for stage in stages)


def _print(results: Results, description: BackendDescription, tolerance: Tolerance) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(
            highlight=False, width=140
        )  # a file or pipe has no width: keep rows in one line
    console.print(_table(results))
    _print_summary(console, results, description, tolerance)


def _table(results: Results) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ('case', 'stage'):
        table.add_column(column, no_wrap=True)
    for column in ('error', 'tolerance'):
        table.add_column(column, justify='right', no_wrap=True)
    table.add_column('result', no_wrap=True)
    table.add_column('note', overflow='fold')
    for name, stages in results.items():
        for index, stage in enumerate(stages):
            table.add_row(
                escape(name) if index == 0 else '',
                stage.stage,
                _number(stage.error),
                _number(stage.tolerance),
                STYLES[stage.verdict],
                escape(stage.note),
                end_section=index + 1 == len(stages),
            )
    return table


def _print_summary(
    console: Console, results: Results, description: BackendDescription, tolerance: Tolerance
) -> None:
    from rich.markup import escape

    verdicts = [stage.verdict for stages in results.values() for stage in stages]
    judged = sum(verdict not in (Verdict.NOT_GIVEN, Verdict.REPORTED) for verdict in verdicts)
    good, absent, shown = (
        verdicts.count(verdict) for verdict in (Verdict.OK, Verdict.NOT_GIVEN, Verdict.REPORTED)
    )
    console.print()
    console.print(
        f'{escape(description.model_name)} on {description.name}, {description.device}, {description.precision}: '
        f'{len(results)} cases, {good} of {judged} stages within tolerance, {shown} reported, {absent} not given. '
        f'Tokens are compared up to the first margin under {tolerance.margin:g}.',
        soft_wrap=True,
    )
    console.print('[green]OK[/]' if _is_passed(results) else '[bold red]FAIL[/]')


def _number(value: float | None) -> str:
    if value is None:
        return ''
    return f'{value:g}' if float(value).is_integer() else f'{value:.2g}'


def _write_json(
    path: Path, results: Results, description: BackendDescription, tolerance: Tolerance
) -> None:
    """Errors that are no finite numbers become text: JSON has no such numbers."""
    record = {
        'is_passed': _is_passed(results),
        'backend': asdict(description),
        'tolerance': asdict(tolerance),
        'cases': {name: [_record(stage) for stage in stages] for name, stages in results.items()},
    }
    try:
        path.write_text(
            json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + '\n',
            encoding='utf-8',
        )
    except OSError as error:
        raise GoldenValuesError(
            f'{path} cannot be written', error.strerror or str(error)
        ) from error


def _record(stage: StageResult) -> dict[str, Any]:
    error = stage.error if stage.error is None or math.isfinite(stage.error) else str(stage.error)
    return {**asdict(stage), 'error': error, 'verdict': stage.verdict.value}
