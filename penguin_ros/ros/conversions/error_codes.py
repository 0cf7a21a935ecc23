# SPDX-License-Identifier: Apache-2.0
"""Maps the errors of the core to the constants of penguin_msgs/ErrorCode and to their texts."""

from __future__ import annotations

from penguin_msgs.msg import ErrorCode

from penguin_ros import errors

_CODES: dict[type[BaseException], int] = {
    errors.InvalidQuestion: ErrorCode.INVALID_QUESTION,
    errors.QuestionTooLong: ErrorCode.QUESTION_TOO_LONG,
    errors.UnknownCamera: ErrorCode.UNKNOWN_CAMERA,
    errors.NoFrames: ErrorCode.NO_FRAMES,
    errors.StaleFrames: ErrorCode.STALE_FRAMES,
    errors.IntervalUnavailable: ErrorCode.INTERVAL_UNAVAILABLE,
    errors.ImageError: ErrorCode.INVALID_IMAGE,
    errors.TooManyImages: ErrorCode.TOO_MANY_IMAGES,
    errors.InvalidChoices: ErrorCode.INVALID_CHOICES,
    errors.InvalidSchema: ErrorCode.INVALID_SCHEMA,
    errors.UnknownConversation: ErrorCode.UNKNOWN_CONVERSATION,
    errors.DuplicateRequest: ErrorCode.DUPLICATE_ID,
    errors.Busy: ErrorCode.BUSY,
    errors.DeadlineExceeded: ErrorCode.DEADLINE,
    errors.RequestCancelled: ErrorCode.CANCELLED,
    errors.RequestReplaced: ErrorCode.CANCELLED,
    errors.Inactive: ErrorCode.INACTIVE,
    errors.PromptTooLong: ErrorCode.PROMPT_TOO_LONG,
    errors.ClockJumped: ErrorCode.CLOCK_JUMP,
    errors.InvalidRule: ErrorCode.INVALID_RULE,
    errors.UnknownRule: ErrorCode.UNKNOWN_RULE,
    errors.TooManyRules: ErrorCode.TOO_MANY_RULES,
    errors.RuleError: ErrorCode.CONFIGURATION,
    errors.RemoteError: ErrorCode.REMOTE,
    errors.RequestError: ErrorCode.INVALID_REQUEST,
    errors.BackendError: ErrorCode.BACKEND,
    errors.CheckpointError: ErrorCode.CHECKPOINT,
    errors.SettingError: ErrorCode.CONFIGURATION,
    errors.LibraryUnusable: ErrorCode.BACKEND,
    errors.CacheUnusable: ErrorCode.CONFIGURATION,
    errors.StoreError: ErrorCode.STORE,
    errors.SystemRefusal: ErrorCode.CONFIGURATION,
}


_CLASSES = {code: kind for kind, code in reversed(_CODES.items())} | {
    int(ErrorCode.INVALID_REQUEST): errors.InvalidRequest,
    int(ErrorCode.CONFIGURATION): errors.SettingError,
}
"""The class that says the most of each code: where several have one, the first of the table."""


def named_error(code: int, message: str) -> errors.PenguinError:
    """Returns the error that a node told by its code and its message."""
    kind = _CLASSES.get(code, errors.PenguinError)
    error = kind(message)
    assert isinstance(error, errors.PenguinError)
    return error


def error_code(error: BaseException | None) -> int:
    """Returns the code of the error's class, or of its nearest base class that has one.

    Without an error it is NONE; INTERNAL is a fault that nothing names.
    """
    if error is None:
        return int(ErrorCode.NONE)
    return next(
        (code for kind in type(error).__mro__ if (code := _CODES.get(kind)) is not None),
        int(ErrorCode.INTERNAL),
    )


def error_message(error: BaseException | None) -> str:
    """Returns what failed, why and what to do, for the field `error_message`; '' without error."""
    if error is None or isinstance(error, errors.PenguinError):
        return str(error or '')
    return (
        f'internal error, {type(error).__name__}: {error}. '
        'The log of the node has the details; please report it'
    )
