# SPDX-License-Identifier: Apache-2.0
"""Remote engines that are asked about three small frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.asked_servers import Asker


@pytest.fixture
def asker() -> Iterator[Any]:
    """Makes an Asker of URLs and settings; all are closed at the end."""
    made: list[Asker] = []

    def make(*urls: str, **settings: Any) -> Asker:
        made.append(Asker(urls, settings))
        return made[-1]

    yield make
    for each in made:
        each.close()
