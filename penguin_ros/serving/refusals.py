# SPDX-License-Identifier: Apache-2.0
"""Why a request gets no answer, in the form that the protocol has for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penguin_ros.errors import (
    Busy,
    DeadlineExceeded,
    DuplicateRequest,
    ImageError,
    Inactive,
    NoFreeSlot,
    PenguinError,
    PromptTooLong,
    RequestCancelled,
    RequestError,
    RequestReplaced,
)

RETRY_AFTER_S = 1


@dataclass(eq=False)
class Refusal(Exception):
    """A status of HTTP and the protocol's error object; `more` are further fields of it."""

    status: int
    code: str
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The object that the client gets."""
        error = {'message': self.message, 'type': self._type, 'param': self.param}
        return {'error': {**error, 'code': self.code, **self.more}}

    @property
    def _type(self) -> str:
        kinds = {401: 'authentication_error', 429: 'rate_limit_error', 504: 'timeout_error'}
        usual = 'server_error' if self.status >= 500 else 'invalid_request_error'
        return kinds.get(self.status, usual)


def bad_request(message: str, param: str | None = None, code: str = 'invalid_value') -> Refusal:
    """Returns the refusal of a request of which something is wrong."""
    return Refusal(400, code, message, param)


def queue_full(what: str) -> Refusal:
    """Returns the refusal of a request that finds too many others before it."""
    return Refusal(429, 'queue_full', what, headers={'Retry-After': str(RETRY_AFTER_S)})


def not_ready(what: str) -> Refusal:
    """Returns the refusal of a server that is not there yet, or no longer."""
    return Refusal(503, 'not_ready', what, headers={'Retry-After': str(RETRY_AFTER_S)})


def refusal_of(error: PenguinError) -> Refusal:
    """Returns what a client is told about an error of the core."""
    text = str(error)
    if isinstance(error, Busy):
        return queue_full(text)
    if isinstance(error, (Inactive, NoFreeSlot)):
        return not_ready(text)
    if isinstance(error, DeadlineExceeded):
        return Refusal(504, 'deadline_exceeded', text, headers={'x-should-retry': 'false'})
    if isinstance(error, RequestReplaced):
        return Refusal(409, 'replaced', text, headers={'x-should-retry': 'false'})
    if isinstance(error, RequestCancelled):
        return Refusal(499, 'cancelled', text)
    if isinstance(error, DuplicateRequest):
        return bad_request(text, 'penguin.request_id', 'duplicate_request')
    if isinstance(error, PromptTooLong):
        return bad_request(text, 'messages', 'context_length_exceeded')
    if isinstance(error, (RequestError, ImageError)):
        return bad_request(text, 'messages')
    return Refusal(500, 'engine_failed', text)
