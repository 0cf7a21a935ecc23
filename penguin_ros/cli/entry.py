# SPDX-License-Identifier: Apache-2.0
"""The entry point of the command `penguin`. Until the front end is there, and after it has ended,
Ctrl-C ends the process without a word: nothing has begun yet, or all is done.
"""

from __future__ import annotations

import _signal  # the module `signal` takes longer to import than to be interrupted
import sys


def main() -> None:
    """Runs the command and ends the process with its exit code."""
    usual = _signal.getsignal(_signal.SIGINT)
    is_usual = usual is _signal.default_int_handler  # else somebody wants it ignored
    if is_usual:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from penguin_ros.cli.main import main as run

    if is_usual:
        _signal.signal(_signal.SIGINT, usual)
    try:
        code = run()
    except KeyboardInterrupt:  # between two lines of what would have caught it
        code = 130
    finally:
        if is_usual:
            _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    sys.exit(code)


if __name__ == '__main__':
    main()
