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
"""Errors, and warnings of one build or load, that are kept."""

MEMORY_WORDS = ('MemUsageChange', ' Memory', 'memory usage', 'Memory:', 'allocat')
"""What lines of TensorRT about memory contain, such as "Total Weights Memory"."""

MEMORY_FAILURES = ('out of memory', 'outofmemory', 'bad_alloc', 'nvmapmem', 'memoryallocation')
MAX_MEMORY_LINES = 64


class Log(trt.ILogger):
    """TensorRT's logger; TensorRT calls it, also from threads of its own."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []
        self.ignored_inputs: list[str] = []
        self.warnings: list[str] = []
        self.memory_lines: list[str] = []
        self.lacked_memory = False

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Takes one message."""
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors = [*self.errors[1 - KEPT :], msg.strip()]
            lowered = msg.lower()
            self.lacked_memory |= any(words in lowered for words in MEMORY_FAILURES)
            logging.getLogger(__name__).info('TensorRT: %s', msg)
        elif severity == trt.ILogger.Severity.WARNING:
            logging.getLogger(__name__).debug('TensorRT: %s', msg)
            if msg.strip() not in self.warnings and len(self.warnings) < KEPT:
                self.warnings.append(msg.strip())
            if 'is unused' in msg:
                self.ignored_inputs.append(msg.strip())
        elif severity == trt.ILogger.Severity.INFO and any(word in msg for word in MEMORY_WORDS):
            self.memory_lines = [*self.memory_lines[1 - MAX_MEMORY_LINES :], msg.strip()]

    def clear(self) -> None:
        """Forgets what was said."""
        self.errors = []
        self.ignored_inputs = []
        self.warnings = []
        self.memory_lines = []
        self.lacked_memory = False

    def show_warnings(self, what: str) -> None:
        """Tells, once for a build or load, what TensorRT warned of."""
        for text in self.warnings:
            logging.getLogger(__name__).warning('TensorRT, %s: %s', what, text)

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
