# SPDX-License-Identifier: Apache-2.0
"""Turns the rounds of a target into figures: medians, rates and shares, each with the words that
say how it was measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penguin_ros.benchmark.engine.tasks import Round


@dataclass(frozen=True)
class Figure:
    """One number: `value` in `unit`, None when it was not measured; `how` it was measured, or why
    it was not; and its value in each of the `rounds`.
    """

    name: str
    unit: str
    value: float | None
    how: str
    rounds: tuple[float, ...] = ()


@dataclass(frozen=True)
class BandwidthLimit:
    """The bytes per second that memory gives at best, None when unknown, and how that was
    measured.
    """

    bytes_per_s: float | None
    how: str


class Figures:
    """Makes the figures of one target from its rounds, none of which failed."""

    def __init__(self, rounds: Sequence[Round], limit: BandwidthLimit) -> None:
        self._rounds = rounds
        self.facts = rounds[0].facts
        self._limit = device_limit(rounds) if self.facts['device'] != 'cpu' else limit

    def all(self) -> list[Figure]:
        """All figures in the order of the table."""
        return [*self._first_token(), *self._decoding(), *self._bandwidth(), *self._memory()]

    def median(
        self, name: str, unit: str, how: str, of: Callable[[Mapping[str, float]], float]
    ) -> Figure:
        """The median of a value that is made of the samples of each round."""
        values = tuple(of(each.samples) for each in self._rounds)
        return Figure(name, unit, statistics.median(values), how, values)

    def _first_token(self) -> list[Figure]:
        facts = self.facts
        parts = (
            (
                'first token',
                'first_token_s',
                'frames and question to the first token, sum of the next three',
            ),
            ('  prepare', 'prepare_s', 'sizes, patches and prompt, on the CPU'),
            (
                '  encode',
                'encode_s',
                f'patches {_counted(facts["patches"])}: {facts["visual_tokens"]} visual tokens',
            ),
            (
                '  prefill',
                'prefill_s',
                f'{facts["prompt_tokens"]} tokens in chunks, and the choice of the first',
            ),
            ('  each further token', 'answer_token_s', 'mean over the greedy answer to it'),
        )
        return [self._milliseconds(*part) for part in parts]

    def _milliseconds(self, name: str, key: str, how: str) -> Figure:
        return self.median(name, 'ms', how, lambda samples: 1e3 * samples[key])

    def _decoding(self) -> list[Figure]:
        position = self.facts['position']
        return [
            self.median(
                'decode',
                'tok/s',
                f'at position {position}: median of single steps',
                lambda samples: 1 / samples['token_s'],
            ),
            self.median(
                'prefill',
                'tok/s',
                f'{position} random tokens in chunks',
                lambda samples: position / samples['position_prefill_s'],
            ),
            *self._host_and_device(),
        ]

    def _host_and_device(self) -> list[Figure]:
        """The time of a step by the device's clock and what the host adds, where both are known."""
        if not all('token_device_s' in each.samples for each in self._rounds):
            return []
        return [
            self._milliseconds(
                '  each step, device',
                'token_device_s',
                "from the first to the last operation by the device's clock, in steps of their "
                'own; waiting for launches counts',
            ),
            self.median(
                '  each step, host alone',
                'ms',
                'the rest of the step: inputs, choice of the token, Python',
                lambda samples: 1e3 * max(0.0, samples['token_s'] - samples['token_device_s']),
            ),
        ]

    def _bandwidth(self) -> list[Figure]:
        facts = self.facts
        weights = facts['read_bytes_per_token']
        seconds = [each.samples['token_s'] for each in self._rounds]
        cache = facts['slot_bytes'] * facts['position'] / facts['max_length']
        per_second = weights / statistics.median(seconds)
        limit = self._limit.bytes_per_s
        both = (weights + cache) / statistics.median(seconds)
        return [
            Figure('weights read per token', 'MB', weights / 1e6, facts['read_bytes_from']),
            Figure(
                'weights read',
                'GB/s',
                per_second / 1e9,
                'by the time of one token',
                tuple(weights / each / 1e9 for each in seconds),
            ),
            Figure(
                'memory bandwidth', 'GB/s', None if limit is None else limit / 1e9, self._limit.how
            ),
            Figure(
                'share of it, weights',
                '%',
                None if limit is None else 100 * per_second / limit,
                'weights read over memory bandwidth',
            ),
            Figure(
                'share of it, with the KV cache',
                '%',
                None if limit is None else 100 * both / limit,
                f'and {cache / 1e6:.1f} MB of the cache, which {facts["position"]} positions take '
                'of a slot',
            ),
        ]

    def _memory(self) -> list[Figure]:
        facts = self.facts
        highest = max(each.samples['resident_peak'] for each in self._rounds)
        figures = [
            self.median(
                'load',
                's',
                'folder to open backend, digests of all files compared; warm-up apart',
                lambda samples: samples['load_s'],
            ),
            self.median(
                'memory, loaded',
                'MB',
                'RSS of the process when the backend is open (mapped files count)',
                lambda samples: samples['resident_loaded'] / 1e6,
            ),
            Figure('memory, highest', 'MB', highest / 1e6, 'highest RSS of any round'),
            self.median(
                'memory, taken',
                'MB',
                "how far MemAvailable of the machine fell; on a Jetson the GPU's too",
                lambda samples: samples['taken'] / 1e6,
            ),
            Figure(
                'KV slot',
                'MB',
                facts['slot_bytes'] / 1e6,
                f'{facts["max_length"]} positions, by its sizes',
            ),
        ]
        plans = Figure('plans', 'MB', facts['plan_bytes'] / 1e6, "TensorRT's files of both engines")
        return [*figures, plans] if facts['plan_bytes'] else figures


def device_limit(rounds: Sequence[Round]) -> BandwidthLimit:
    """The limit of the GPU that a target ran on: the best of its rounds."""
    rates = [
        each.samples['device_bytes_per_s']
        for each in rounds
        if 'device_bytes_per_s' in each.samples
    ]
    how = str(rounds[0].facts.get('device_copy', 'not measured'))
    return BandwidthLimit(max(rates, default=None), how)


def _counted(patches: Sequence[Any]) -> str:
    """Writes [2800, 180, 180] as 2800 + 2 x 180."""
    parts: list[list[Any]] = []
    for count in patches:
        if parts and parts[-1][1] == count:
            parts[-1][0] += 1
        else:
            parts.append([1, count])
    return ' + '.join(str(count) if times == 1 else f'{times} x {count}' for times, count in parts)
