# SPDX-License-Identifier: Apache-2.0
"""`penguin ask`: asks a running node one question and prints the answer as it grows."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import seconds
from penguin_ros.console import GrowingText
from penguin_ros.errors import InvalidQuestion

EPILOG = """examples:
  penguin ask "What is in front of the robot?"
  penguin ask "Did somebody enter the room?" --camera door --last 20
  penguin ask "Which of these is broken?" --image a.jpg --image b.jpg --json
  penguin ask "Is the door open?" --choice yes --choice no
  penguin ask "What stands there? Answer in JSON." --json-schema examples/thing.schema.json
  penguin ask "What is in the corner?" --follow
  penguin ask "And what colour is it?" --follow

exit codes: 0 answered, 1 the node answered with an error, 2 no node or wrong usage,
130 interrupted (the question is cancelled)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument('question', help='the question; - reads it from standard input')
    parser.add_argument('--node', default='', help='full name of the node, when several run')
    parser.add_argument(
        '--camera', default='', help='camera to look at (default: that of the node)'
    )
    parser.add_argument(
        '--last',
        type=seconds,
        default=0.0,
        metavar='S',
        help='look at the last S seconds instead of the newest clip',
    )
    parser.add_argument(
        '--image',
        type=Path,
        action='append',
        default=[],
        metavar='FILE',
        help='a JPEG or PNG to look at instead of a camera; may be repeated',
    )
    parser.add_argument(
        '--json', action='store_true', help='print the whole answer with its evidence as JSON'
    )
    _add_forms(parser)
    _add_limits(parser)


def _add_forms(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--choice',
        action='append',
        default=[],
        metavar='TEXT',
        help='the answer is one of these, each with its probability; repeat it for each choice',
    )
    parser.add_argument(
        '--json-schema',
        type=Path,
        metavar='FILE',
        help='the answer is JSON that conforms to the schema in this file (- is standard input)',
    )
    parser.add_argument(
        '--logprobs', action='store_true', help='print each token with its log probability'
    )
    parser.add_argument(
        '--follow',
        action='store_true',
        help='go on with the conversation of the last question that was asked with --follow; '
        'without --camera, --last or --image it is about what that one has shown',
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--max-tokens',
        type=int,
        default=0,
        metavar='N',
        help='longest answer (default: that of the node)',
    )
    parser.add_argument(
        '--deadline',
        type=seconds,
        default=0.0,
        metavar='S',
        help='seconds for the complete answer (default: that of the node)',
    )
    parser.add_argument(
        '--timeout',
        type=seconds,
        default=600.0,
        metavar='S',
        help='give up when nothing came after S seconds (default: 600)',
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the answer as it grows, and its evidence in one line on stderr."""
    from penguin_ros.ros.process.requirements import require_messages

    require_messages()
    from penguin_ros.ros.client.chat import Chat, keep_conversation, kept_conversation
    from penguin_ros.ros.client.question_client import AskedQuestion, QuestionClient
    from penguin_ros.ros.client.session import session

    _check(arguments)
    ask = AskedQuestion(
        sys.stdin.read() if arguments.question == '-' else arguments.question,
        arguments.camera,
        arguments.last,
        arguments.image,
        max(0, arguments.max_tokens),
        max(0.0, arguments.deadline),
        choices=arguments.choice,
        json_schema=_schema(arguments.json_schema),
        logprobs=arguments.logprobs,
    )
    with session('penguin_ask') as client_session:
        name = client_session.find_node(arguments.node)
        stream = GrowingText(is_silent=arguments.json)
        client = QuestionClient(client_session, name)
        if arguments.follow:
            chat = Chat(client, arguments.timeout, kept_conversation(name))
            answer = chat.ask(ask, stream.show)
            keep_conversation(name, chat.conversation)
        else:
            answer = client.ask(ask, stream.show, arguments.timeout)
    return _finish(answer, stream, arguments.json)


def _schema(path: Path | None) -> str:
    """Returns the schema in a file, or from standard input; '' for none."""
    if path is None:
        return ''
    return sys.stdin.read() if str(path) == '-' else path.read_text(encoding='utf-8')


def _check(arguments: argparse.Namespace) -> None:
    schema = arguments.json_schema
    named = [('--image', path) for path in arguments.image]
    named += [('--json-schema', schema)] if schema and str(schema) != '-' else []
    for option, path in named:
        if not path.is_file():
            raise InvalidQuestion(
                f'cannot read {path}', 'no such file', f'Check the path after {option}'
            )
    if not arguments.question.strip():
        raise InvalidQuestion('the question is empty', '', 'penguin ask "What do you see?"')


def _finish(answer: Any, stream: GrowingText, as_json: bool) -> int:
    from penguin_ros.ros.client.message_dict import duration_seconds, message_dict

    stream.finish(answer.text)
    if as_json:
        print(json.dumps(message_dict(answer), ensure_ascii=False, indent=1))
    elif answer.error_code:
        print(f'error: {answer.error_message}', file=sys.stderr)
    else:
        _print_typed(answer)
        evidence = answer.evidence
        print(
            f'  {len(evidence.frames)} frames, newest {duration_seconds(evidence.age):.2f} s old, '
            f'first token after {duration_seconds(evidence.first_token_latency):.2f} s, '
            f'{evidence.generated_tokens} tokens, {evidence.model_name}',
            file=sys.stderr,
        )
    return exit_codes.FAILED if answer.error_code else exit_codes.DONE


def _print_typed(answer: Any) -> None:
    """Prints probabilities on stdout, below the text."""
    for choice, probability in zip(answer.choices, answer.probabilities, strict=True):
        print(f'  {probability:6.1%}  {choice}')
    if answer.choices:
        print(f'  {answer.cannot_tell:6.1%}  cannot tell; something else {answer.other_mass:.1%}')
    for token in answer.logprobs:
        print(f'  {token.logprob:8.3f}  {token.token!r}')
    if answer.confidence and not answer.choices:
        print(f'  confidence {answer.confidence:.3f}')
