# SPDX-License-Identifier: Apache-2.0
"""Which requests belong together, and which replica they go to.

The order of replicas for a session comes from a hash of both names: when one replica goes, only its
own sessions move.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence


def in_order(names: Sequence[str], session: str) -> list[int]:
    """Returns the indices of the replicas `names` in the order in which a session tries them."""

    def weight(index: int) -> bytes:
        return hashlib.blake2b(f'{session}\0{names[index]}'.encode(), digest_size=8).digest()

    return sorted(range(len(names)), key=weight)


def session_in(body: bytes) -> str:
    """Returns what a body says belongs together, '' when it says nothing or is no JSON."""
    try:
        content = json.loads(body)
        ours = content.get('penguin') or {}
        named = ours.get('stream') or content.get('prompt_cache_key') or content.get('user') or ''
    except (ValueError, RecursionError, AttributeError):
        return ''
    return str(named)[:256].encode('utf-8', 'replace').decode()  # half a surrogate has no bytes
