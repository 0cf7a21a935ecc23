# SPDX-License-Identifier: Apache-2.0
"""Errors say what, why and what to do, and can be kept without what was alive when they were
raised.
"""

from __future__ import annotations

import pytest

from penguin_ros.errors import (
    CheckpointTensorError,
    DeadlineExceeded,
    OutOfMemory,
    PenguinError,
    TokenCountMismatch,
)


@pytest.mark.parametrize(
    'error',
    [
        OutOfMemory('what', 'why', 'fix'),
        DeadlineExceeded('what'),
        TokenCountMismatch(3, 4),
        CheckpointTensorError('folder', missing=['a'], unexpected=['b']),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fresh_error_says_the_same_and_holds_nothing(error: PenguinError) -> None:
    with pytest.raises(type(error)) as raised:
        raise error from ValueError('cause')
    fresh = raised.value.fresh()
    assert type(fresh) is type(error) and str(fresh) == str(error) and fresh.args == error.args
    assert {**vars(fresh)} == {
        key: value for key, value in vars(error).items() if key != '__notes__'
    }
    assert fresh.__traceback__ is None and fresh.__cause__ is None and fresh.__context__ is None
    assert error.__traceback__ is not None


def test_an_error_reads_as_one_sentence_after_the_other() -> None:
    assert (
        str(PenguinError('the disk is full', 'the cache takes 3 GB', 'Delete it'))
        == 'the disk is full: the cache takes 3 GB. Delete it'
    )
    assert str(PenguinError('the disk is full')) == 'the disk is full'
