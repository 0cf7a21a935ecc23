# SPDX-License-Identifier: Apache-2.0
"""Every error of the core has a code of the message package."""

import inspect

import pytest
from penguin_msgs.msg import ErrorCode

from penguin_ros import errors
from penguin_ros.ros.conversions.error_codes import error_code, error_message

INTERNAL_BY_INTENT = {errors.PenguinError, errors.TokenCountMismatch}
CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.PenguinError)
]


def instance(kind):
    return {
        errors.CheckpointTensorError: lambda: kind('path', missing=['a']),
        errors.TokenCountMismatch: lambda: kind(1, 2),
    }.get(kind, lambda: kind('it failed', 'because', 'Do this'))()


@pytest.mark.parametrize('kind', CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_of_the_core_has_a_code_that_says_more_than_internal(kind):
    is_internal = error_code(instance(kind)) == ErrorCode.INTERNAL
    assert is_internal == (kind in INTERNAL_BY_INTENT)


@pytest.mark.parametrize(
    'kind, code',
    [
        (errors.Busy, ErrorCode.BUSY),
        (errors.CorruptImage, ErrorCode.INVALID_IMAGE),
        (errors.OutOfMemory, ErrorCode.BACKEND),
        (errors.CheckpointNotFound, ErrorCode.CHECKPOINT),
        (errors.Inactive, ErrorCode.INACTIVE),
    ],
)
def test_an_error_without_a_code_of_its_own_takes_that_of_its_base_class(kind, code):
    assert error_code(kind('x')) == code


def test_no_error_is_code_zero_and_no_text():
    assert error_code(None) == ErrorCode.NONE == 0
    assert error_message(None) == ''


def test_the_text_of_an_error_says_what_why_and_what_to_do():
    assert (
        error_message(errors.Busy('4 wait', 'the queue is full', 'Ask later'))
        == '4 wait: the queue is full. Ask later'
    )


def test_a_foreign_exception_is_internal_and_named():
    assert error_code(KeyError('x')) == ErrorCode.INTERNAL
    assert 'KeyError' in error_message(KeyError('x'))
