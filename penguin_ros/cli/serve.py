# SPDX-License-Identifier: Apache-2.0
"""`penguin serve`: a model behind the protocol of OpenAI's chat completions; needs no ROS."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from penguin_ros.cli import exit_codes
from penguin_ros.cli.setting_options import MODEL_OPTIONS, add_setting_options, config_from

if TYPE_CHECKING:
    from penguin_ros.config import PenguinConfig
    from penguin_ros.pipeline_status import ModelDescription
    from penguin_ros.serving.main import ServeOptions

EPILOG = """examples:
  penguin serve engines/penguin_2b
  penguin serve penguin_sim                # the small model that is included
  curl http://127.0.0.1:8360/v1/models
  penguin serve engines/penguin_2b --bind 0.0.0.0 --api-key-file keys \\
      --tls-certificate robot.pem --tls-key robot.key

Clients: anything that speaks OpenAI's chat completions, with base_url http://127.0.0.1:8360/v1.
API keys stand in a file that only its owner may read, one a line, or in PENGUIN_API_KEYS.

With --ray it is deployed in a Ray cluster and stays there when this command ends; typed again with
another bundle it is replaced without a lost request. --remove takes it out.

exit codes: 0 ended by Ctrl-C or SIGTERM, 2 wrong usage or something missing"""

SERVED = {
    'question.max_characters': 262144,
    'question.max_tokens': 4096,
    'question.queue_length': 32,
}
"""Defaults that differ from those of a node."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the verb."""
    parser.add_argument(
        'source', nargs='?', metavar='BUNDLE', help='a bundle, or a checkpoint: a folder or hub id'
    )
    parser.add_argument('--bind', default='127.0.0.1', metavar='IP', help='default: 127.0.0.1')
    parser.add_argument('--port', type=_port, default=8360, metavar='N', help='default: 8360')
    parser.add_argument(
        '--name',
        action='append',
        default=[],
        metavar='HOST',
        help='a name under which clients reach it, through a reverse proxy say; may be repeated',
    )
    parser.add_argument(
        '--model-name', default='', metavar='NAME', help='what clients call the model'
    )
    parser.add_argument('--api-key-file', type=Path, metavar='FILE', help='API keys, one a line')
    parser.add_argument('--tls-certificate', type=Path, metavar='FILE', help='PEM file for TLS')
    parser.add_argument('--tls-key', type=Path, metavar='FILE', help='PEM file of its key')
    parser.add_argument(
        '--in-flight', type=_count, default=32, metavar='N', help='requests at once (default: 32)'
    )
    parser.add_argument(
        '--max-body', type=_count, default=32, metavar='MB', help='a body at most (default: 32)'
    )
    parser.add_argument(
        '--picture-cache',
        type=_count,
        default=256,
        metavar='MB',
        help='pictures that clients sent with a uuid (default: 256)',
    )
    _add_cluster_arguments(parser)
    add_setting_options(
        parser,
        {**MODEL_OPTIONS, '--deadline': 'question.deadline', '--max-tokens': 'question.max_tokens'},
    )


def _add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--ray', metavar='ADDRESS', help='deploy it in a Ray cluster: auto, or HOST:PORT'
    )
    parser.add_argument(
        '--replicas',
        type=_replicas,
        default=1,
        metavar='N',
        help='with --ray; 0: by load (default: 1)',
    )
    for option, kind, metavar, what in SCALING:
        parser.add_argument(option, type=kind, metavar=metavar, help=f'with --replicas 0: {what}')
    parser.add_argument(
        '--replica-cpus', type=float, default=1.0, metavar='X', help='CPUs of each (default: 1)'
    )
    parser.add_argument(
        '--replica-gpus', type=float, default=0.0, metavar='X', help='GPUs of each (default: 0)'
    )
    parser.add_argument('--remove', action='store_true', help='with --ray: take it out again')


def run(arguments: argparse.Namespace) -> int:
    """Serves until Ctrl-C, and lets answers under way end."""
    from penguin_ros.errors import SettingError
    from penguin_ros.serving.main import checked_keys, serve

    if arguments.ray:
        return _deploy(arguments)
    if arguments.remove or arguments.replicas != 1 or _scaling(arguments):
        raise SettingError('replicas need --ray', 'one process serves one', 'Give --ray ADDRESS')
    options = _options(arguments)
    checked_keys(options)  # before the model is touched
    stop, before = threading.Event(), signal.getsignal(signal.SIGINT)

    def begin(address: str, model: ModelDescription) -> None:
        _let_answers_end(stop)
        _print_address(address, model)

    try:
        serve(_config(arguments), options, begin, stop.is_set)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, before)
    return exit_codes.DONE


def _let_answers_end(stop: threading.Event) -> None:
    """Has Ctrl-C and SIGTERM set `stop` from now on; a second one interrupts at once."""

    def tell(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, tell)


def _deploy(arguments: argparse.Namespace) -> int:
    """Deploys into a cluster, and returns when the first request can be answered."""
    from penguin_ros.cluster.ray_crew import LOCAL
    from penguin_ros.cluster.ray_serve import Deployment, deploy, remove
    from penguin_ros.errors import SettingError
    from penguin_ros.serving.main import checked_keys

    if arguments.ray == LOCAL:
        raise SettingError(
            f'--ray {LOCAL}',
            'a cluster of this command would end with it',
            'Type: ray start --head, then this with --ray auto',
        )
    if arguments.remove:
        remove(arguments.ray)
        return exit_codes.DONE
    options = _options(arguments)
    keys = checked_keys(options)
    deployment = Deployment(
        options.bind,
        options.port,
        options.names,
        options.certificate,
        options.key,
        arguments.replicas,
        gpus=arguments.replica_gpus,
        cpus=arguments.replica_cpus,
        **_scaling(arguments),
    )
    config = _config(arguments)
    deploy(arguments.ray, config, options.limits, keys, options.model_name, deployment)
    print(f'Deployed at {deployment.url}', flush=True)
    return exit_codes.DONE


def _scaling(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what was said about replicas by load, under the names of Deployment."""
    from penguin_ros.errors import SettingError

    given = {
        'most': arguments.max_replicas,
        'grow_s': arguments.grow_after,
        'shrink_s': arguments.shrink_after,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if given and arguments.replicas:
        names = ', '.join(option for option, *_ in SCALING)
        raise SettingError(
            f'{names} are for replicas by load',
            f'{arguments.replicas} were asked for',
            'Leave them out, or give --replicas 0',
        )
    return given


def _config(arguments: argparse.Namespace) -> PenguinConfig:
    from penguin_ros.config import PenguinConfig
    from penguin_ros.evaluation.offline import with_model
    from penguin_ros.settings import with_values

    config = config_from(arguments, with_values(PenguinConfig(), SERVED))
    source = arguments.source
    if source:
        is_bundle = (Path(source) / 'bundle.yaml').is_file()
        config = with_values(config, {'model.bundle' if is_bundle else 'model.checkpoint': source})
    return with_model(config, 'a server needs', 'penguin serve BUNDLE')


def _options(arguments: argparse.Namespace) -> ServeOptions:
    from penguin_ros.serving.chat_service import ServiceLimits
    from penguin_ros.serving.main import ServeOptions

    limits = ServiceLimits(
        arguments.in_flight, arguments.max_body * 1_000_000, arguments.picture_cache * 1_000_000
    )
    return ServeOptions(
        arguments.bind,
        arguments.port,
        tuple(arguments.name),
        arguments.model_name,
        arguments.api_key_file,
        arguments.tls_certificate,
        arguments.tls_key,
        limits,
    )


def _print_address(address: str, model: ModelDescription) -> None:
    print(f'Serving {model.name} ({model.backend}, {model.precision}) at {address}', flush=True)


def _port(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError('a port is a number from 1 to 65535')
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError('it takes a whole number from 1 on')
    return number


def _replicas(text: str) -> int:
    return _count(text) if text != '0' else 0


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 86400:
        raise argparse.ArgumentTypeError('it takes seconds, up to a day')
    return number


SCALING: tuple[tuple[str, Callable[[str], float], str, str], ...] = (
    ('--max-replicas', _count, 'N', 'this many at most (default: 8)'),
    ('--grow-after', _seconds, 'S', 'seconds of load until one is added (default: 30)'),
    ('--shrink-after', _seconds, 'S', 'seconds without until one goes (default: 300)'),
)
"""Options that count where replicas come and go by load."""
