# SPDX-License-Identifier: Apache-2.0
"""Pictures are kept within a limit, and nobody finds those of others."""

from __future__ import annotations

from support.served_chat import picture

from penguin_ros.serving.picture_store import PictureStore

BYTES = picture(0).nbytes


def test_the_picture_that_was_used_longest_ago_goes_first() -> None:
    store = PictureStore(3 * BYTES)
    for number in range(3):
        store.keep('a', str(number), picture(number))
    assert store.find('a', '0') is not None
    store.keep('a', '3', picture(3))
    kept = [name for name in '0123' if store.find('a', name) is not None]
    assert kept == ['0', '2', '3'] and store.counts().evicted == 1
    assert store.counts().bytes == 3 * BYTES


def test_a_uuid_means_what_its_own_client_last_sent() -> None:
    store = PictureStore(10 * BYTES)
    store.keep('a', 'x', picture(1))
    assert store.find('b', 'x') is None
    store.keep('a', 'x', picture(2))
    found = store.find('a', 'x')
    assert found is not None and found[0, 0, 0] == 2 and store.counts().pictures == 1


def test_a_picture_that_is_larger_than_the_store_is_not_kept() -> None:
    store = PictureStore(2 * BYTES)
    store.keep('a', 'small', picture(1))
    store.keep('a', 'large', picture(1, (200, 200)))
    assert store.find('a', 'large') is None and store.find('a', 'small') is not None
