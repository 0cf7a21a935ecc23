# SPDX-License-Identifier: Apache-2.0
"""Sends the requests of one session, a camera or a conversation, to the same replica of Ray Serve
as long as it lives and has room, so that what was computed and the pictures that were sent are
found again.

The order of replicas for a session comes from a hash of both names: when one goes, only its own
sessions move. Ray imports this file by name.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica


def in_order(names: Sequence[str], session: str) -> list[int]:
    """Returns the indices of the replicas `names` in the order in which a session tries them."""

    def weight(index: int) -> bytes:
        return hashlib.blake2b(f'{session}\0{names[index]}'.encode(), digest_size=8).digest()

    return sorted(range(len(names)), key=weight)


class SessionRouter(RequestRouter):  # type: ignore[misc]
    """Without a session the order is random. The session is what the caller's handle gave as
    `multiplexed_model_id`, the one field that Ray passes on untouched.
    """

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Returns replicas as ranks of one; the next is asked when one is full."""
        session: Any = pending_request and pending_request.metadata.multiplexed_model_id
        if not session:
            return [random.sample(candidate_replicas, len(candidate_replicas))]
        names = [replica.replica_id.unique_id for replica in candidate_replicas]
        return [[candidate_replicas[index]] for index in in_order(names, session)]
