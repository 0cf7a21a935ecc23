# SPDX-License-Identifier: Apache-2.0
"""`penguin rules`: sets, lists, removes, tests and watches the rules of a running node, and replays
a recording without one.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from penguin_ros.cli import exit_codes, rules_replay
from penguin_ros.cli.rule_arguments import add_rule_arguments, rule_fields
from penguin_ros.cli.setting_options import endless_seconds, seconds
from penguin_ros.console import status_line

if TYPE_CHECKING:
    from penguin_ros.ros.client.rule_client import RuleClient
    from penguin_ros.ros.client.session import Session

EPILOG = """examples:
  penguin rules add intruder "Is there a person in the room?" --severity error --picture
  penguin rules add door "Is the door open?" --choice open --choice closed --fires open
  penguin rules list
  penguin rules test door --last 10
  penguin rules test --condition "Is the light on?"
  penguin rules watch --json | jq .rule
  penguin rules remove intruder door
  penguin rules replay drive.mp4 --rules rules.yaml --checkpoint ./Penguin-VL-2B

exit codes: 0 done, 1 the node refused or nothing came in time, 2 no node or wrong usage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    for name, text, add in (
        ('add', 'set a rule, or replace the one of its id', _add_arguments_of_add),
        ('list', 'show all rules and how they are doing', _add_arguments_of_list),
        ('remove', 'remove rules for good', _add_arguments_of_remove),
        ('test', 'evaluate a rule once', _add_arguments_of_test),
        ('watch', 'print events as they come', _add_arguments_of_watch),
    ):
        action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
        action.add_argument('--node', default='', help='full name of the node, when several run')
        add(action)
    text = 'tell which events would have fired in a recording; needs no ROS'
    replay = actions.add_parser(
        'replay',
        help=text,
        description=text[0].upper() + text[1:] + '.',
        epilog=rules_replay.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rules_replay.add_arguments(replay)


def run(arguments: argparse.Namespace) -> int:
    """Does what is asked of a running node, or of a recording; RuleRefused when the node does not
    do it.
    """
    if arguments.action == 'replay':
        return rules_replay.run(arguments)
    from penguin_ros.ros.process.requirements import require_messages

    require_messages()
    from penguin_ros.ros.client.rule_client import RuleClient, RuleRefused
    from penguin_ros.ros.client.session import session

    with session('penguin_rules') as client_session:
        name = client_session.find_node(arguments.node)
        if arguments.action == 'watch':
            return _watch(arguments, client_session, name)
        try:
            _ACTIONS[arguments.action](arguments, RuleClient(client_session, name))
        except RuleRefused as error:
            print(f'error: {error}', file=sys.stderr)
            return exit_codes.FAILED
    return exit_codes.DONE


# --- arguments ------------------------------------------------------------------------------------


def _add_arguments_of_add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('id', help='name of the rule: letters, digits, _ - .')
    parser.add_argument('condition', help='a question answered with yes or no, or a statement')
    add_rule_arguments(parser)


def _add_arguments_of_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--json', action='store_true', help='print everything as JSON')


def _add_arguments_of_remove(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('id', nargs='+', help='name of a rule')


def _add_arguments_of_test(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('id', nargs='?', default='', help='name of a rule of the node')
    parser.add_argument('--condition', default='', help='a condition that is no rule yet')
    parser.add_argument(
        '--last',
        type=seconds,
        default=0.0,
        metavar='S',
        help='look at the last S seconds instead of the newest clip',
    )
    parser.add_argument('--json', action='store_true', help='print everything as JSON')
    add_rule_arguments(parser)


def _add_arguments_of_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--seconds',
        type=endless_seconds,
        default=math.inf,
        metavar='S',
        help='stop after S seconds',
    )
    parser.add_argument('--count', type=int, default=0, metavar='N', help='stop after N events')
    parser.add_argument('--json', action='store_true', help='one JSON object per event')


# --- actions --------------------------------------------------------------------------------------


def _add(arguments: argparse.Namespace, client: RuleClient) -> None:
    response = client.set(rule_fields(arguments))
    verb = 'replaced' if response.is_replaced else 'set'
    rule = response.rule
    print(
        f'{rule.id} is {verb}: begins at {rule.threshold_begin:.2f} '
        f'({rule.confirm_count} of {rule.confirm_window}), ends below {rule.threshold_end:.2f} '
        f'({rule.heal_count} of {rule.heal_window})'
    )


def _list(arguments: argparse.Namespace, client: RuleClient) -> None:
    from penguin_ros.ros.client.message_dict import message_dict
    from penguin_ros.ros.client.rule_client import state_line

    listed = client.list()
    if arguments.json:
        print(json.dumps(message_dict(listed), ensure_ascii=False, indent=1))
        return
    for rule, origin in zip(listed.rules, listed.origins, strict=True):
        print(f'{rule.id}: {rule.condition} [{origin}]')
        for state in listed.states:
            if state.rule == rule.id:
                print(f'  {state_line(state)}')
    for problem in listed.problems:
        print(f'warning: {problem}', file=sys.stderr)
    if not listed.rules:
        status_line('no rules')


def _remove(arguments: argparse.Namespace, client: RuleClient) -> None:
    for rule_id in arguments.id:
        client.remove(rule_id)
        print(f'{rule_id} is removed')


def _test(arguments: argparse.Namespace, client: RuleClient) -> None:
    from penguin_ros.ros.client.message_dict import message_dict

    camera = arguments.camera[0] if arguments.camera else ''
    response = client.test(rule_fields(arguments), camera, arguments.last)
    if arguments.json:
        print(json.dumps(message_dict(response), ensure_ascii=False, indent=1))
        return
    verdict = 'reaches' if response.reaches_begin else 'does not reach'
    print(f'{response.probability:.3f}, which {verdict} the threshold to begin')
    for choice, probability in zip(response.choices, response.probabilities, strict=True):
        print(f'  {probability:.3f} {choice}')
    print(
        f'  {response.raw_probability:.3f} without calibration, {response.other_mass:.3f} for '
        f'other answers, {len(response.evidence.frames)} frames',
        file=sys.stderr,
    )


def _watch(arguments: argparse.Namespace, session: Session, name: str) -> int:
    from penguin_ros.ros.client.rule_client import EventWatcher, json_event, plain_event

    status_line(f'watching {name}')
    watcher = EventWatcher(session.node, name, json_event if arguments.json else plain_event)
    try:
        session.spin_until(lambda: 0 < arguments.count <= watcher.count, arguments.seconds)
    except KeyboardInterrupt:
        return exit_codes.DONE  # the ordinary way to end a watch
    return exit_codes.FAILED if watcher.count < arguments.count else exit_codes.DONE


_ACTIONS: dict[str, Callable[[Any, RuleClient], None]] = {
    'add': _add,
    'list': _list,
    'remove': _remove,
    'test': _test,
}
