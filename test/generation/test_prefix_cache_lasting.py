# SPDX-License-Identifier: Apache-2.0
"""The slot of a conversation is not given to the clip that comes after its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.built_inputs import inputs
from support.reuse_runs import FIRST, SECOND, THIRD, CountingBackend, started

from penguin_ros.generation.caches import Caches
from penguin_ros.model_inputs import ModelInputs

QUESTION, ANSWER = list(range(300, 320)), [7, 8, 9]


@pytest.fixture
def backend() -> Iterator[CountingBackend]:
    opened = CountingBackend(slots=3)
    opened.open()
    yield opened
    opened.close()


def asked(caches: Caches, question: ModelInputs) -> None:
    for _ in started(caches, question):
        pass


def turns(lasting: bool) -> tuple[ModelInputs, ModelInputs]:
    """A turn, and the one that goes on after it."""
    first = inputs([1, FIRST, *QUESTION, 2, 3])
    tokens = len(first.prompt.token_ids)
    second = inputs([1, FIRST, *QUESTION, *ANSWER, *range(40, 50)])
    if not lasting:
        return first, second
    return (
        replace(first, lasting_tokens=tokens - 2),
        replace(second, lasting_tokens=len(second.prompt.token_ids) - 2),
    )


@pytest.mark.parametrize('lasting', [True, False])
def test_a_conversation_goes_on_from_its_slot_though_time_has_moved_on(
    backend: CountingBackend, lasting: bool
) -> None:
    caches = Caches(backend, 1 << 20, True)
    first, second = turns(lasting)
    asked(caches, first)
    asked(caches, inputs([1, FIRST, SECOND, *range(20, 30)]))
    asked(caches, inputs([5, FIRST, SECOND, THIRD, *range(20, 30)]))
    backend.forget_counts()
    asked(caches, second)
    own = len(second.prompt.token_ids) - first.lasting_tokens if lasting else 0
    assert backend.encoded == []
    assert (backend.computed <= own + len(ANSWER) + 4) is lasting


def test_another_question_about_the_clip_leaves_the_conversation_whole(
    backend: CountingBackend,
) -> None:
    caches = Caches(backend, 1 << 20, True)
    first, second = turns(True)
    asked(caches, first)
    asked(caches, inputs([1, FIRST, *range(60, 70)]))
    backend.forget_counts()
    asked(caches, second)
    assert backend.computed <= len(second.prompt.token_ids) - first.lasting_tokens + 7
    assert caches.stats().prefix_cache.continued == 1, 'in its own slot'
