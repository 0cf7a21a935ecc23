# SPDX-License-Identifier: Apache-2.0
"""`penguin bench rules`: what 1, 5, 10 and 50 rules on one clip cost, against one rule and against
asking one after another.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from penguin_ros.atomic_file import check_output
from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.benchmark.rules.tasks import RulesTask
from penguin_ros.benchmark.tasks import Target
from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import add_setting_options, config_from, require_least
from penguin_ros.config import PenguinConfig
from penguin_ros.console import print_error, write_json
from penguin_ros.errors import PenguinError, SettingError
from penguin_ros.settings import changed_values
from penguin_ros.shipped import shipped_model

EPILOG = """examples:
  penguin bench rules
  penguin bench rules engines/penguin_2b --json rules.json
  penguin bench rules engines/penguin_2b --counts 1 20 --suffix 40 --clip-tokens 400

A rule is a question with a few tokens behind a clip that all rules share. The clip is encoded and
prefilled once; all rules are then read as branches of it. The column 'new clip' is such a whole
evaluation, 'clip read before' the rules alone, 'one after another' the same with each rule asked by
itself behind the same prefix. All ways take turns in each round. The logits of all rules are
compared; beside that stands what decoding the same tokens one by one differs by, which is rounding.
Without a model it is the included one.

exit codes: 0 measured, 1 a model failed or a logit differs by more than rounding,
2 nothing could be measured"""

LEAST = {'rounds': 1, 'suffix': 3, 'clip_tokens': 1}
"""The smallest value that each option takes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the kind."""
    default = RulesTask()
    parser.add_argument(
        'models',
        metavar='MODEL',
        nargs='*',
        help='folders of bundles, or folders or hub ids of checkpoints (default: the included one)',
    )
    parser.add_argument(
        '--counts',
        type=int,
        nargs='+',
        default=list(default.counts),
        metavar='N',
        help='numbers of rules (default: 1 5 10 50)',
    )
    for option, value, text in (
        ('--suffix', default.suffix, 'tokens of each rule, the markup of the prompt included'),
        ('--clip-tokens', default.clip_tokens, 'tokens of the clip at least'),
        ('--rounds', default.rounds, 'measurements of each'),
    ):
        parser.add_argument(
            option, type=int, default=value, metavar='N', help=f'{text} (default: {value})'
        )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write every round as JSON too')
    options = {
        '--device': 'model.device',
        '--precision': 'model.precision',
        '--threads': 'model.threads',
    }
    add_setting_options(parser, options)


def run(arguments: argparse.Namespace) -> int:
    """Measures the models in turn and prints."""
    from penguin_ros.benchmark.machine import machine
    from penguin_ros.benchmark.rules.measures import measure_rules
    from penguin_ros.benchmark.rules.report import print_results, record

    task, config = _task(arguments), config_from(arguments)
    load = os.getloadavg()[0]
    results, has_failed = [], False
    for target in _targets(arguments, config):
        try:
            results.append(measure_rules(target, task))
        except PenguinError as error:
            print_error(error)
            has_failed = True
    if not results:
        return exit_codes.UNUSABLE
    where = f'{machine(config.model.threads or usable_cores())}, load {load:.1f} before'
    print_results(results, where)
    if arguments.json:
        write_json(arguments.json, record(results, where))
    differs = not all(each.is_exact for each in results)
    return exit_codes.FAILED if has_failed or differs else exit_codes.DONE


def _targets(arguments: argparse.Namespace, config: PenguinConfig) -> list[Target]:
    models = arguments.models
    if not models:
        included = shipped_model()
        if included is None:
            raise SettingError(
                'no model', 'the included one is not here', 'Name a bundle or a checkpoint'
            )
        models = [str(included)]
    given = changed_values(PenguinConfig(), config)
    return [Target(model, '', given) for model in models]


def _task(arguments: argparse.Namespace) -> RulesTask:
    require_least(arguments, LEAST)
    counts = tuple(sorted({1, *arguments.counts}))
    if counts[0] < 1:
        raise SettingError(f'--counts {counts[0]}', 'it takes 1 or more')
    if arguments.json:
        check_output(arguments.json, option='--json FILE')
    return RulesTask(counts, arguments.suffix, arguments.clip_tokens, arguments.rounds)
