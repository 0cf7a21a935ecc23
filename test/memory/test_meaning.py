# SPDX-License-Identifier: Apache-2.0
"""Entries are found by meaning as a comparison of all vectors would find them."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.memory_entries import caption, filled, texts

from penguin_ros.errors import InvalidRequest
from penguin_ros.memory import meaning
from penguin_ros.memory.embedder import Vectors, included_embedder
from penguin_ros.memory.entry import Kind
from penguin_ros.memory.filter import Filter, Interval
from penguin_ros.memory.store import Store

POOL = 200
WORDS = [f'word{number}' for number in range(300)]


class MeanOfWords:
    """An embedder that gives each word a random vector, and a text the mean of its words."""

    dimensions = 96

    def __init__(self, name: str = 'mean of words') -> None:
        self.id = name
        chance = np.random.default_rng(len(name))
        scale = np.exp(-np.arange(self.dimensions) / 20)
        self.words = {word: chance.normal(size=self.dimensions) * scale for word in WORDS}

    def embed(self, texts: Sequence[str]) -> Vectors:
        sums = np.array(
            [
                sum((self.words[word] for word in text.split()), np.zeros(self.dimensions))
                for text in texts
            ]
        )
        return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


def sentences(count: int) -> list[str]:
    chance = random.Random(3)
    return [' '.join(chance.choices(WORDS, k=8)) for _ in range(count)]


def embedded(store: Store, count: int) -> None:
    """Waits until so many entries are embedded."""
    deadline = time.monotonic() + 30
    while store.stats().embedded < count:
        assert time.monotonic() < deadline, store.stats()
        time.sleep(0.01)


def test_the_nearest_of_many_are_found_before_and_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meaning, 'POOL', POOL)
    embedder, said = MeanOfWords(), sentences(6 * POOL)
    every = embedder.embed(said)
    with Store.open(tmp_path) as store:
        half = len(said) // 2
        filled(store, [caption(number, said[number]) for number in range(half)])
        store.use_embedder(embedder)  # late: what is there is embedded when nothing else is to do
        filled(store, [caption(number, said[number]) for number in range(half, len(said))])
        embedded(store, len(said))
    for is_read_only in (False, True):
        with Store.open(tmp_path, is_read_only=is_read_only) as store:
            store.use_embedder(embedder)
            shares = []
            for wanted in sentences(40)[20:]:
                best = np.argsort(-(every @ embedder.embed([wanted])[0]))[:10]
                hits = texts(store.recall(Filter(meaning=wanted, limit=10)))
                shares.append(len({said[at] for at in best} & set(hits)) / 10)
            assert np.mean(shares) >= 0.97
            narrow = Filter(meaning=said[5], interval=Interval(0, 100 * 10**9), limit=10)
            best = np.argsort(-(every[:101] @ embedder.embed([said[5]])[0]))[:9]
            assert set(texts(store.recall(narrow))) >= {said[at] for at in best}


def test_another_embedder_does_its_work_again_and_the_old_one_may_come_back(
    tmp_path: Path,
) -> None:
    said = sentences(60)
    with Store.open(tmp_path) as store:
        for name in ('one', 'the other', 'one'):
            store.use_embedder(MeanOfWords(name))
            filled(store, [caption(number, said[number]) for number in range(50)])
            embedded(store, 50)
            assert texts(store.recall(Filter(meaning=said[7], limit=1))) == [said[7]]


def test_words_and_meaning_are_fused_and_say_what_found_what(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.use_embedder(MeanOfWords())
        filled(
            store,
            [
                caption(1, 'word1 word2 word3'),
                caption(2, 'word1 word9 word8'),
                caption(3, 'word2 word3 word4'),
            ],
        )
        both = Filter('word1', 'word2 word3', limit=2)
        hits = store.recall(both).hits
        assert [hit.entry.text[-5:] for hit in hits] == ['word3', 'word8']
        assert {hit.matches for hit in hits} == {('words', 'meaning')}
        either = store.recall(dataclasses.replace(both, is_either=True, limit=3)).hits
        assert [(hit.entry.text, hit.matches) for hit in either if len(hit.matches) == 1] == [
            ('word2 word3 word4', ('meaning',))
        ]
        assert store.recall(dataclasses.replace(both, kinds=(Kind.EVENT,))).hits == ()


def test_meaning_without_an_embedder_is_refused_with_what_to_type(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        filled(store, [caption(1)])
        with pytest.raises(InvalidRequest, match='pip install'):
            store.recall(Filter(meaning='a red box'))


def test_the_included_embedder_knows_what_words_are_near() -> None:
    pytest.importorskip('wordllama', reason='the extra `meaning` is not installed')
    embedder = included_embedder()
    said = ['A man left his suitcase at the door.', 'The floor is wet.', 'Two cats play.', '']
    vectors = embedder.embed(said)
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0], atol=1e-5)
    assert np.argmax(vectors @ embedder.embed(['someone forgot a bag'])[0]) == 0
    assert np.argmax(vectors @ embedder.embed(['animals'])[0]) == 2
