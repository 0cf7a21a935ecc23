# SPDX-License-Identifier: Apache-2.0
"""What aiohttp and servers say, as RemoteFailed: exceptions of connections, statuses, headers.
Every wait has a limit, every body too.
"""

from __future__ import annotations

import asyncio
import email.utils
import ssl
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from penguin_ros.remote.failure import (
    BROKEN_OFF,
    BUSY,
    DENIED,
    ILLEGIBLE,
    INSECURE,
    OTHER_MODEL,
    REFUSED,
    SERVER_FAULT,
    SLOW,
    UNREACHABLE,
    RemoteFailed,
)
from penguin_ros.remote.reply import error_text, parsed_object

if TYPE_CHECKING:
    import aiohttp

MAX_JSON_BYTES = 1 << 22
MAX_RETRY_AFTER_S = 60.0

T = TypeVar('T')


class UnknownPictures(Exception):
    """The server does not keep pictures that were only named."""


@asynccontextmanager
async def answered(request: Any, limit_s: float) -> AsyncIterator[aiohttp.ClientResponse]:
    """Yields the response, once its headers are there, and closes a connection whose reply was not
    read to its end; whatever happens on the way becomes RemoteFailed.
    """
    import aiohttp

    try:
        response = await within(limit_s, request, 'the server to answer')
        try:
            yield response
        finally:
            if response.content.at_eof():
                response.release()
            else:
                response.close()
    except RemoteFailed:
        raise
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
        raise RemoteFailed(INSECURE, _system_words(error)) from None
    except aiohttp.ServerTimeoutError:
        raise RemoteFailed(UNREACHABLE, 'the server took no connection in time') from None
    except aiohttp.ClientConnectorError as error:
        raise RemoteFailed(UNREACHABLE, _system_words(error)) from None
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise RemoteFailed(BROKEN_OFF, _system_words(error)) from None
    except aiohttp.ClientPayloadError:
        raise RemoteFailed(BROKEN_OFF, 'the connection ended before the answer did') from None
    except aiohttp.ClientError as error:
        raise RemoteFailed(ILLEGIBLE, f'{type(error).__name__} from the server') from None
    except (OSError, ValueError) as error:
        raise RemoteFailed(BROKEN_OFF, f'{type(error).__name__}') from None


def trust_in(ca_file: str) -> ssl.SSLContext:
    """Returns what checks certificates against those of a file."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise RemoteFailed(INSECURE, f'ca_file holds no certificates: {why}') from None


def _system_words(error: Exception) -> str:
    """Returns why, without addresses that may hold more than they should."""
    inner = getattr(error, 'os_error', None) or error.__cause__ or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f'the certificate is not good: {inner.verify_message}'
    if isinstance(inner, ssl.SSLError):
        return f'TLS failed: {inner.reason or "no common way"}'
    text = getattr(inner, 'strerror', '') or type(error).__name__
    return str(text)


async def within(limit_s: float, work: Awaitable[T], what: str) -> T:
    try:
        return await asyncio.wait_for(work, max(limit_s, 0.001))
    except asyncio.TimeoutError:
        raise RemoteFailed(SLOW, f'waited {limit_s:.1f} s for {what}') from None


async def content(response: aiohttp.ClientResponse, limit_s: float) -> bytes:
    """Reads a bounded body."""
    received = b''
    until = time.monotonic() + limit_s
    while len(received) <= MAX_JSON_BYTES:
        left_s = until - time.monotonic()
        chunk = await within(left_s, response.content.readany(), 'the rest of a reply')
        if not chunk:
            return received
        received += chunk
    raise RemoteFailed(ILLEGIBLE, f'the server sent more than {MAX_JSON_BYTES} bytes')


async def status_failure(response: aiohttp.ClientResponse, limit_s: float) -> Exception:
    """Returns what a status of 400 and above means."""
    said: dict[str, Any] = {}
    with suppress(RemoteFailed):  # the status says enough
        said = parsed_object(await content(response, limit_s))
    error = said.get('error')
    code = error.get('code') if isinstance(error, dict) else None
    words = f'status {response.status}' + (f': {error_text(said)}' if said else '')
    if response.status == 400 and code == 'unknown_uuid':
        return UnknownPictures()
    if response.status == 404 and code == 'model_not_found':
        return RemoteFailed(OTHER_MODEL, words)
    wait_s = retry_after_s(
        response.headers.get('Retry-After', ''), response.headers.get('Date', '')
    )
    if response.status in (401, 403):
        return RemoteFailed(DENIED, words)
    if response.status in (429, 503):
        return RemoteFailed(BUSY, words, wait_s)
    if response.status >= 500:
        return RemoteFailed(SERVER_FAULT, words, wait_s)
    return RemoteFailed(REFUSED, words)


def retry_after_s(said: str, date: str = '') -> float:
    """Returns the seconds of a Retry-After header: a number of them, or a date, which counts from
    the server's own `date`, since clocks differ.
    """
    try:
        return min(MAX_RETRY_AFTER_S, max(0.0, float(said)))
    except ValueError:
        pass
    try:
        until = email.utils.parsedate_to_datetime(said)
        now = email.utils.parsedate_to_datetime(date)
        return min(MAX_RETRY_AFTER_S, max(0.0, (until - now).total_seconds()))
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0
