# SPDX-License-Identifier: Apache-2.0
"""A network that has a loopback alone, for what listens at every address and cannot be told not
to. Needs root.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
SET_FLAGS = 0x8914  # SIOCSIFFLAGS
UP = 0x1  # IFF_UP


@contextmanager
def own_network(why: str) -> Iterator[None]:
    """Moves this thread, and whatever it starts, into a network of its own until the end; skips
    the test where there is none to be had, and says `why` it is needed.
    """
    system = ctypes.CDLL(None, use_errno=True)
    before = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
    try:
        if system.unshare(NEW_NETWORK):
            pytest.skip(f'{why}, and no network can be made: {os.strerror(ctypes.get_errno())}')
        try:
            _bring_up_loopback()
            yield
        finally:
            assert system.setns(before, NEW_NETWORK) == 0
    finally:
        os.close(before)


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack('16sh14x', b'lo', UP))
