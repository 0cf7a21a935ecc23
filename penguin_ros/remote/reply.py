# SPDX-License-Identifier: Apache-2.0
"""The reply of a server as it grows: text out of chunks, why it ended, what it cost, which model
made it. Whatever is no reply of the protocol raises RemoteFailed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from penguin_ros.remote.failure import (
    BROKEN_OFF,
    ILLEGIBLE,
    OTHER_MODEL,
    SERVER_FAULT,
    RemoteFailed,
)
from penguin_ros.request import GenerationStats, StopReason
from penguin_ros.text import cleaned

DONE = '[DONE]'
MAX_TEXT = 1 << 20

_STOP_REASONS = {'stop': StopReason.STOP_TOKEN, 'length': StopReason.MAX_TOKENS}
_COUNTS = (
    'prompt_tokens',
    'visual_tokens',
    'reused_tokens',
    'reused_frames',
    'generated_tokens',
    'forward_passes',
    'drafted_tokens',
    'accepted_tokens',
    'encode_ns',
    'prefill_ns',
    'decode_ns',
)
_MAX_COUNT = 1 << 62


@dataclass(eq=False)
class Reply:
    """The reply to one request for `model`; the server may write it with a version behind. `said`:
    what the dialect penguin adds.
    """

    model: str
    text: str = ''
    stop_reason: StopReason = StopReason.NONE
    is_done: bool = False
    stats: GenerationStats = field(default_factory=GenerationStats)
    digest: str = ''
    backend: str = ''
    precision: str = ''
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """True when the server has said why the text ends."""
        return self.stop_reason is not StopReason.NONE

    def event(self, data: str) -> str:
        """Takes the data of one event and returns the text that it adds."""
        if data.strip() == DONE:
            self.is_done = True
            return ''
        return self.chunk(parsed_object(data))

    def chunk(self, chunk: dict[str, Any], part: str = 'delta') -> str:
        """Takes a chunk, or with `part` 'message' a whole reply; returns the text that it adds."""
        if chunk.get('error') is not None:
            raise RemoteFailed(SERVER_FAULT, f'the server ended the answer: {error_text(chunk)}')
        self._check_model(chunk.get('model'))
        self._note_usage(chunk.get('usage'))
        self._note_timings(chunk.get('timings'))
        self._note_evidence(chunk.get('penguin'))
        choices = chunk.get('choices')
        if not isinstance(choices, list):
            raise RemoteFailed(ILLEGIBLE, 'the server sent a chunk without choices')
        choice = choices[0] if choices else None
        if choice is None:
            return ''
        if not isinstance(choice, dict):
            raise RemoteFailed(ILLEGIBLE, 'the server sent a choice that is no object')
        piece = self._piece(choice.get(part))
        self._note_end(choice.get('finish_reason'))
        return piece

    def check_whole(self, needs_done: bool) -> None:
        """Raises RemoteFailed when the text is not known to be whole."""
        if not self.has_ended or (needs_done and not self.is_done):
            raise RemoteFailed(BROKEN_OFF, 'the connection ended before the answer did')

    def _piece(self, said: Any) -> str:
        content = said.get('content') if isinstance(said, dict) else None
        if content is None:
            return ''
        if not isinstance(content, str):
            raise RemoteFailed(ILLEGIBLE, 'the server sent content that is no text')
        piece = cleaned(content)
        piece = piece if self.text else piece.lstrip()
        self.text += piece
        if len(self.text) > MAX_TEXT:
            raise RemoteFailed(ILLEGIBLE, f'the answer has more than {MAX_TEXT} characters')
        return piece

    def _note_end(self, reason: Any) -> None:
        if reason is None or reason == '':  # some servers write it so while the answer goes on
            return
        if not isinstance(reason, str) or reason not in _STOP_REASONS:
            raise RemoteFailed(SERVER_FAULT, f'the server ended the answer: {_short(reason)}')
        if not self.has_ended:
            self.stop_reason = _STOP_REASONS[reason]

    def _check_model(self, said: Any) -> None:
        if isinstance(said, str) and said and not is_model(said, self.model):
            raise RemoteFailed(
                OTHER_MODEL, f'{self.model!r} was asked for, {_short(said)!r} answers'
            )

    def _note_usage(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        self.stats.prompt_tokens = _count(usage.get('prompt_tokens'))
        self.stats.generated_tokens = _count(usage.get('completion_tokens'))
        details = usage.get('prompt_tokens_details')
        if isinstance(details, dict):
            self.stats.reused_tokens = _count(details.get('cached_tokens'))

    def _note_timings(self, timings: Any) -> None:
        """Takes what llama.cpp counts."""
        if isinstance(timings, dict) and 'prompt_n' in timings:
            self.stats.reused_tokens = _count(timings.get('cache_n'))
            self.stats.prompt_tokens = _count(timings['prompt_n']) + self.stats.reused_tokens
            self.stats.generated_tokens = _count(timings.get('predicted_n'))

    def _note_evidence(self, said: Any) -> None:
        if not isinstance(said, dict):
            return
        self.said = said
        evidence = said.get('evidence')
        if not isinstance(evidence, dict):
            return
        self.digest = _short(evidence.get('model_digest', ''))
        self.backend = _short(evidence.get('backend', ''))
        self.precision = _short(evidence.get('precision', ''))
        name = evidence.get('stop_reason')
        if isinstance(name, str) and name in StopReason.__members__ and name != 'NONE':
            self.stop_reason = StopReason[name]
        stats = evidence.get('stats')
        if isinstance(stats, dict):
            self.stats = GenerationStats(**{name: _count(stats.get(name)) for name in _COUNTS})


def is_model(said: str, asked: str) -> bool:
    """True when a server that was asked for one model names that, or a version of it."""
    if not asked or said == asked:
        return True
    return said.startswith(asked) and re.match(r'[@:]|-\d', said[len(asked) :]) is not None


def parsed_object(text: str | bytes) -> dict[str, Any]:
    """Returns the JSON object that a server sent."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        raise RemoteFailed(ILLEGIBLE, 'the server sent something that is no JSON') from None
    if not isinstance(parsed, dict):
        raise RemoteFailed(ILLEGIBLE, 'the server sent JSON that is no object')
    return parsed


def error_text(said: dict[str, Any]) -> str:
    """Returns what an error of the protocol says, in one bounded line."""
    error = said.get('error', said)
    if isinstance(error, dict):
        error = error.get('message', error)
    return _short(error, 300)


def _short(value: Any, most: int = 100) -> str:
    return ' '.join(cleaned(str(value)).split())[:most]


def _count(value: Any) -> int:
    is_count = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if is_count and 0 <= value < _MAX_COUNT else 0
