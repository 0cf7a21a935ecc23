# SPDX-License-Identifier: Apache-2.0
"""The front end of the command `penguin`: finds the verb, runs it, and turns errors into messages
and exit codes.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from penguin_ros.cli import exit_codes
from penguin_ros.console import print_error, use_any_encoding
from penguin_ros.errors import PenguinError, system_refusal
from penguin_ros.libraries import libraries_needed

VERBS = {
    'caption': 'describe a video file or a ROS 2 bag, clip by clip; needs no ROS',
    'ask': 'ask a running node a question and follow the answer',
    'chat': 'talk with a running node: later questions mean earlier ones',
    'recall': 'find what a robot saw, by words, meaning, time and place; needs no ROS',
    'index': 'fill a memory from recordings, so that they can be searched; needs no ROS',
    'summarise': 'have a running memory node tell what happened in an interval',
    'memory': 'what a memory holds; check it, export it, forget; needs no ROS',
    'demo': 'run a camera and the node for a while: captions, and one question',
    'build': 'turn a checkpoint into a bundle for ONNX Runtime or TensorRT; needs no PyTorch',
    'bench': 'measure speed, memory and agreement of a model on this machine; needs no ROS',
    'serve': 'serve a model to robots and other clients, by the protocol of OpenAI; needs no ROS',
    'console': 'serve a page with pictures, captions and questions for the browser',
    'mcp': 'offer a running node to LLM agents by the Model Context Protocol',
    'watch': 'show captions and answers of a running node as they come',
    'rules': 'set, list, test and watch the rules of a running node: "tell me when ..."',
    'score': 'ask a model about simulated scenes and count how often it is right; needs no ROS',
    'parity': 'compare this implementation with stored values of the reference',
    'doctor': 'check this machine, and say what is missing and how to get it',
}

EPILOG = """examples:
  penguin caption drive.mp4 --checkpoint ./Penguin-VL-2B --srt drive.srt
  penguin ask "Is the door open?" --camera front
  penguin watch
  penguin doctor

exit codes: 0 done, 1 the work failed or a check found a fault, 2 wrong usage or something missing,
130 interrupted"""


def parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The whole parser, with the arguments of `verb` only, so that `penguin --help` imports nothing
    heavy.
    """
    top = argparse.ArgumentParser(
        prog='penguin',
        description='Dense captions and answers from camera streams with Penguin-VL.',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest='verb', metavar='VERB', required=True)
    for name, text in VERBS.items():
        sub = verbs.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + '.',
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == verb:
            module = importlib.import_module(f'penguin_ros.cli.{name}')
            sub.epilog = getattr(module, 'EPILOG', None)
            module.add_arguments(sub)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code. Expected errors are printed as what failed, why, and
    what to type next.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = words[0] if words and words[0] in VERBS else None
    use_any_encoding()

    def run() -> int:
        parsed = parser(verb).parse_args(words)
        return int(importlib.import_module(f'penguin_ros.cli.{parsed.verb}').run(parsed))

    return guarded(run)


def guarded(run: Callable[[], int]) -> int:
    """Runs a verb and returns its exit code, or that of the error which it raised and which is
    printed here. SIGTERM ends it as Ctrl-C does.
    """
    try:
        with libraries_needed(), _sigterm_like_ctrl_c():
            return run()
    except PenguinError as error:
        print_error(error)
        return exit_codes.UNUSABLE
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) went away: not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.DONE
    except OSError as error:  # a disk that is full, say: what the system calls it says the most
        print_error(system_refusal(error))
        return exit_codes.UNUSABLE


@contextlib.contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    """Lets SIGTERM end a verb as Ctrl-C does, so that what it started ends with it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == '__main__':
    sys.exit(main())
