# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of camera inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def receiver(graph: Any) -> Iterator[Callable[..., Any]]:
    """Starts receivers on the test's graph, which are closed with the test."""
    from support.camera_receiver import Receiver

    started: list[Receiver] = []

    def start(*arguments: Any, **options: Any) -> Receiver:
        started.append(Receiver(graph, *arguments, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()
