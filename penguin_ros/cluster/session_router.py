# SPDX-License-Identifier: Apache-2.0
"""Sends the requests of one session, a camera or a conversation, to the same replica of Ray Serve
as long as it lives and has room, so that what was computed and the pictures that were sent are
found again.

Ray imports this file by name.
"""

from __future__ import annotations

import random
from typing import Any

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from penguin_ros.cluster.sessions import in_order


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
