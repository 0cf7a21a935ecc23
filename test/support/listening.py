# SPDX-License-Identifier: Apache-2.0
"""Where processes listen."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import psutil


def open_addresses(processes: Iterable[int]) -> set[str]:
    """Addresses beyond the loopback at which these processes listen."""
    found = set()
    for process in processes:
        try:
            connections = psutil.Process(process).net_connections('tcp')
        except psutil.Error:  # it has ended
            continue
        found |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return {ip for ip in found if not ipaddress.ip_address(ip.removeprefix('::ffff:')).is_loopback}


def with_children(process: int) -> list[int]:
    """A process and all that it began."""
    children = psutil.Process(process).children(recursive=True)
    return [process, *(child.pid for child in children)]
