# SPDX-License-Identifier: Apache-2.0
"""Errors say what, why and what to do, and can be kept without what was alive when they were
raised.
"""

from __future__ import annotations

import errno
import os
import re

import pytest

from penguin_ros.errors import (
    CheckpointTensorError,
    DeadlineExceeded,
    OutOfMemory,
    PenguinError,
    TokenCountMismatch,
    system_refusal,
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


@pytest.mark.parametrize(
    ('number', 'words'),
    [
        (errno.EACCES, 'Permission denied: this user .* lacks the permission.*ls -ld'),
        (errno.ENOSPC, 'No space left.*Free space'),
        (errno.EROFS, 'Read-only.*mounted for writing'),
        (errno.EDQUOT, 'quota'),
        (errno.EIO, 'error.*dmesg'),
        (errno.EMFILE, 'Too many open files.*ulimit'),
        (errno.EINVAL, 'Invalid argument'),
    ],
)
def test_what_the_system_refuses_keeps_its_name_and_the_file(number: int, words: str) -> None:
    refusal = system_refusal(OSError(number, os.strerror(number), '/some/file'))
    assert re.search(words, str(refusal)) and '/some/file' in refusal.what
    assert refusal.fix


def test_a_full_folder_for_temporary_files_names_the_variable() -> None:
    error = FileNotFoundError(errno.ENOENT, 'No usable temporary directory found in [...]')
    assert 'export TMPDIR=' in str(system_refusal(error))
