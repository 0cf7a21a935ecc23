# SPDX-License-Identifier: Apache-2.0
"""What stands between a browser and the robot."""

from __future__ import annotations

from dataclasses import dataclass

from penguin_ros.http_site.site import Site
from penguin_ros.web_console.access import Doorkeeper
from penguin_ros.web_console.audit import AuditLog
from penguin_ros.web_console.rate_limit import RateLimit


@dataclass(frozen=True)
class Door:
    """`questions` limits what costs the robot's time, `messages` everything that a browser sends,
    both per session.
    """

    site: Site
    keeper: Doorkeeper
    questions: RateLimit
    messages: RateLimit
    audit: AuditLog
    is_read_only: bool = False
