# SPDX-License-Identifier: Apache-2.0
"""One endpoint with its client, its breaker and its counts, and what is told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from penguin_ros.config import RemoteConfig
from penguin_ros.remote.breaker import BreakerLimits, BreakerState, CircuitBreaker
from penguin_ros.remote.client import EndpointClient, Waits
from penguin_ros.remote.endpoint import Endpoint
from penguin_ros.remote.failure import BUSY, RemoteFailed

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class EndpointStatus:
    """A snapshot of one endpoint. `model` and `dialect` are '' until the server has told them;
    `reason`: why nothing is asked of it; `round_trip_ns`: of the last good check of its health;
    `failures`: of requests, by cause; `pictures_named`: those that the server kept.
    """

    name: str
    dialect: str = ''
    model: str = ''
    state: BreakerState = BreakerState.CLOSED
    reason: str = ''
    answers: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    times_opened: int = 0
    round_trip_ns: int = 0
    bytes_sent: int = 0
    pictures_sent: int = 0
    pictures_named: int = 0


def waits_of(config: RemoteConfig) -> Waits:
    """Returns the waits that the settings give."""
    return Waits(config.connect_timeout, config.idle_timeout)


class Line:
    """What is kept of one endpoint; the thread of the loop. `status` may be called by any."""

    def __init__(self, endpoint: Endpoint, steady_ns: Callable[[], int]) -> None:
        self.endpoint = endpoint
        self.client = EndpointClient(endpoint, steady_ns)
        self.breaker = CircuitBreaker(BreakerLimits())
        self.answers = 0
        self.failures: Counter[str] = Counter()
        self.has_been_checked = False
        self._steady_ns = steady_ns
        self._round_trip_ns = 0
        self._busy_until_ns = 0

    def configure(self, config: RemoteConfig) -> None:
        """Applies the settings of now."""
        self.breaker.limits = BreakerLimits(
            config.failures, config.recovery, config.recovery_checks
        )

    @property
    def busy_s(self) -> float:
        """How long the server has asked to be left alone, from now on."""
        return max(0.0, (self._busy_until_ns - self._steady_ns()) / NANOSECONDS)

    def refusal(self) -> str:
        """Returns why no request may be sent now; '' when one may, and is."""
        if self.busy_s:
            return f'busy for {self.busy_s:.1f} s more, as it says'
        if not self.breaker.admits():
            return f'left alone: {self.breaker.reason or "it is being tried"}'
        return ''

    def note_failure(self, failure: RemoteFailed) -> None:
        """Notes an attempt that failed."""
        self.failures[failure.cause] += 1
        now_ns = self._steady_ns()
        if failure.cause == BUSY:
            self._busy_until_ns = now_ns + round(failure.retry_after_s * NANOSECONDS)
        if failure.counts_against_server:
            self.breaker.note_failure(f'{failure.cause}: {failure.why}', now_ns)
        else:
            self.breaker.note_no_verdict()

    def note_answer(self) -> None:
        """Notes an answer."""
        self.answers += 1
        self.breaker.note_success()

    async def check(self, config: RemoteConfig) -> None:
        """Checks the health of the server, and asks for its model where that is not known, or may
        have changed.
        """
        self.configure(config)
        was_well = self.breaker.state is BreakerState.CLOSED
        begin_ns = self._steady_ns()
        try:
            await self.client.check_health(waits_of(config))
            self._round_trip_ns = self._steady_ns() - begin_ns
            if self.client.facts is None or not was_well:
                await self.client.learn(waits_of(config))
        except RemoteFailed as failure:
            reason = f'{failure.cause}: {failure.why}'
            self.breaker.note_check(False, reason, self._steady_ns())
            self.client.forget_pictures()
        else:
            self.breaker.note_check(True, '', self._steady_ns())
        self.has_been_checked = True

    def status(self) -> EndpointStatus:
        """Returns a snapshot."""
        facts, client = self.client.facts, self.client
        return EndpointStatus(
            name=self.endpoint.name,
            dialect=facts.dialect if facts else self.endpoint.dialect,
            model=facts.model if facts else self.endpoint.model,
            state=self.breaker.state,
            reason=self.breaker.reason,
            answers=self.answers,
            failures=dict(self.failures),
            times_opened=self.breaker.times_opened,
            round_trip_ns=self._round_trip_ns,
            bytes_sent=client.bytes_sent,
            pictures_sent=client.pictures_sent,
            pictures_named=client.pictures_named,
        )
