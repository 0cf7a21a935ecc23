# SPDX-License-Identifier: Apache-2.0
"""The circuit breaker of one endpoint: it decides whether a request may be sent there.

Closed, requests pass. Several failures in a row open it: nothing is sent, however many requests
come. Failed requests and bad checks of the server's health count alike. An answer clears both, a
good check only bad ones, since a server may say that it is well and answer nothing. When the
breaker has been open for a while and checks have been good, one request is let through as a trial.
Its success closes the breaker; its failure opens it for twice as long. So a server that comes and
goes is not asked each time that it comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MAX_RECOVERY_S = 60.0
NANOSECONDS = 1_000_000_000


class BreakerState(Enum):
    """What is done with a request."""

    CLOSED = 'closed'
    OPEN = 'open'
    TRIAL = 'trial'


@dataclass(frozen=True)
class BreakerLimits:
    """Numbers of RemoteConfig, which says what they mean."""

    failures: int = 3
    recovery_s: float = 5.0
    recovery_checks: int = 2


class CircuitBreaker:
    """Times are those of the steady clock; one thread."""

    def __init__(self, limits: BreakerLimits) -> None:
        self.limits = limits
        self.state = BreakerState.CLOSED
        self.reason = ''
        self.times_opened = 0
        self._failures = 0
        self._bad_checks = 0  # among the failures
        self._good_checks = 0
        self._again = 0  # how often in a row a trial failed
        self._opened_ns = 0
        self._is_trying = False

    def admits(self) -> bool:
        """Returns whether a request may be sent now. Whoever gets True tells how it went."""
        if self.state is BreakerState.TRIAL and not self._is_trying:
            self._is_trying = True
            return True
        return self.state is BreakerState.CLOSED

    def note_success(self) -> None:
        """Notes that a request was answered."""
        self.state = BreakerState.CLOSED
        self.reason = ''
        self._failures = self._bad_checks = self._again = 0
        self._is_trying = False

    def note_failure(self, reason: str, now_ns: int) -> None:
        """Notes that a request failed by the server's fault."""
        if self.state is BreakerState.OPEN:
            return  # asked before it opened
        self.reason = reason
        self._failures += 1
        if self.state is BreakerState.TRIAL:
            self._again += 1
            self._open(now_ns)
        elif self._failures >= self.limits.failures:
            self._open(now_ns)

    def note_no_verdict(self) -> None:
        """Notes that a request ended without telling anything of the server: it was cancelled, or
        it was to blame itself.
        """
        self._is_trying = False

    def note_check(self, is_good: bool, reason: str, now_ns: int) -> None:
        """Notes a check of the server's health."""
        if not is_good:
            self._good_checks = 0
            self._bad_checks += 1
            self.note_failure(reason, now_ns)
            return
        self._good_checks += 1
        if self.state is BreakerState.CLOSED:
            self._failures = max(0, self._failures - self._bad_checks)
            self._bad_checks = 0
        elif (
            self.state is BreakerState.OPEN
            and self._good_checks >= self.limits.recovery_checks
            and now_ns >= self._opened_ns + self._recovery_ns
        ):
            self.state = BreakerState.TRIAL
            self._is_trying = False

    @property
    def _recovery_ns(self) -> int:
        longest_s = min(MAX_RECOVERY_S, self.limits.recovery_s * 2.0**self._again)
        return round(longest_s * NANOSECONDS)

    def _open(self, now_ns: int) -> None:
        self.state = BreakerState.OPEN
        self.times_opened += 1
        self._opened_ns = now_ns
        self._failures = self._bad_checks = self._good_checks = 0
        self._is_trying = False
