# SPDX-License-Identifier: Apache-2.0
"""What TensorRT says is passed on to Python's logging, and its last errors are kept for the text of
an exception.

Importing this file needs tensorrt.
"""

from __future__ import annotations

import logging

from penguin_ros.backends.tensorrt.bindings import trt
from penguin_ros.errors import BackendError

KEPT = 8


class Log(trt.ILogger):
    """TensorRT's logger; TensorRT calls it, also from threads of its own."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []
        self.ignored_inputs: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Takes one message."""
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors = [*self.errors[1 - KEPT :], msg.strip()]
            logging.getLogger(__name__).info('TensorRT: %s', msg)
        elif severity == trt.ILogger.Severity.WARNING:
            logging.getLogger(__name__).debug('TensorRT: %s', msg)
            if 'is unused' in msg:
                self.ignored_inputs.append(msg.strip())

    def clear(self) -> None:
        """Forgets what was said."""
        self.errors = []
        self.ignored_inputs = []

    def reason(self) -> str:
        """Returns the last errors as one text, oldest first, and forgets them."""
        errors = self.errors
        self.errors = []
        return '; '.join(errors) or 'TensorRT gave no reason'


# TensorRT keeps the first logger of a process for all its objects, so there is one.
LOG = Log()


def failed(what: str) -> BackendError:
    """Returns a BackendError with TensorRT's last messages."""
    return BackendError(what, LOG.reason())
