# SPDX-License-Identifier: Apache-2.0
"""On a real cluster replicas come with the load and go when it has gone; nobody waits in vain."""

from __future__ import annotations

import pytest
from support.ray_deployment import Clients, Deployed, serve_cluster, waited

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CLIENTS = 12
"""More than twice as many as one replica is meant to have."""


def test_replicas_follow_the_load_and_every_request_is_answered() -> None:
    with serve_cluster() as cluster:
        deployed = Deployed(cluster)
        words = '--replicas 0 --max-replicas 2 --grow-after 2 --shrink-after 3'
        deployed.deploy('penguin_sim', *words.split())
        assert deployed.replicas() == 1
        with Clients(deployed, CLIENTS, max_tokens=24) as clients:
            waited(lambda: deployed.replicas() == 2, 240)
            before = len(clients.replies)
            waited(lambda: len(clients.replies) > before + CLIENTS, 240)
        assert clients.failures == [] and all(each['choices'] for each in clients.replies)
        with Clients(deployed, 1, max_tokens=2) as lonely:
            waited(lambda: deployed.replicas() == 1, 240)
        assert lonely.failures == [] and len(lonely.replies) > 5
