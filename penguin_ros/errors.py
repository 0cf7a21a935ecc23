# SPDX-License-Identifier: Apache-2.0
"""The only errors that leave the core. Each says what failed, why, and what to do next.

`ros/conversions/error_codes.py` maps the classes to message constants, the command line maps them
to exit codes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from penguin_ros.system_reasons import system_reason as system_reason

AnyError = TypeVar('AnyError', bound='PenguinError')


class PenguinError(Exception):
    """An expected failure: `what` failed, `why`, and `fix`, what the user can do or type next."""

    def __init__(self, what: str, why: str = '', fix: str = '') -> None:
        self.what = what
        self.why = why
        self.fix = fix
        super().__init__(what, why, fix)

    def __str__(self) -> str:
        text = f'{self.what}: {self.why}' if self.why else self.what
        return f'{text}. {self.fix}' if self.fix else text

    def fresh(self: AnyError) -> AnyError:
        """Returns the same error without its traceback and cause, which keep every local variable
        on their way alive, tensors too.
        """
        error = type(self).__new__(type(self), *self.args)
        error.__dict__.update(self.__dict__)
        return error


class SystemRefusal(PenguinError):
    """The system refused to read or write something; the error keeps the name that it gave."""


def system_refusal(error: OSError, what: str = '') -> SystemRefusal:
    """Returns the error for what the system refused; `what` says what was attempted."""
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ''
    why, fix = system_reason(error)
    return SystemRefusal(what or f'{name or "a file"} cannot be used', why, fix)


# --- settings -------------------------------------------------------------------------------------


class SettingError(PenguinError):
    """A setting has a value outside its type, range or choices."""


# --- the machine ----------------------------------------------------------------------------------


class CacheUnusable(PenguinError):
    """There is no folder that this user may keep a cache in."""


# --- checkpoints ----------------------------------------------------------------------------------


class CheckpointError(PenguinError):
    """A checkpoint cannot be used."""


class CheckpointNotFound(CheckpointError):
    """There is no such folder, or a file that every checkpoint has is missing."""


class CheckpointConfigError(CheckpointError):
    """A JSON file of the checkpoint is malformed, or a value in it is missing or unusable."""


class CheckpointFileCorrupt(CheckpointError):
    """A safetensors file is truncated or not a safetensors file."""


class CheckpointTensorError(CheckpointError):
    """Tensors are missing, unknown or of the wrong shape; the message and the attributes list
    them.
    """

    def __init__(
        self,
        path: str,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
        misshaped: Sequence[str] = (),
    ) -> None:
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.misshaped = tuple(misshaped)
        named = (('missing', missing), ('unknown', unexpected), ('wrong shape or type', misshaped))
        why = '; '.join(f'{label}: {_shortened(names)}' for label, names in named if names)
        super().__init__(
            f'the tensors of {path} do not fit its configuration',
            why,
            'Download the checkpoint again, or check that config.json belongs to these weights',
        )


class HubUnavailable(CheckpointError):
    """A hub id was given, but the hub, the repository or the cache could not be reached."""


# --- bundles --------------------------------------------------------------------------------------


class BundleError(CheckpointError):
    """A bundle cannot be used or built; where building again helps, `fix` carries the command."""


class BundleNotFound(BundleError):
    """There is no such folder, or it holds no manifest."""


class BundleCorrupt(BundleError):
    """The manifest is malformed, or a file of the bundle is missing, truncated or changed."""


class BundleOutdated(BundleError):
    """The bundle was written for another version of the contract between builder and runtime."""


class BundleMismatch(BundleError):
    """The bundle is sound but does not offer what is asked of it."""


class BuildError(BundleError):
    """A bundle cannot be built as asked."""


class BuildRefused(BuildError):
    """The precision, the backend and the sizes do not go together; nothing was written."""


class NotEnoughSpace(BuildError):
    """The build would run out of disk or memory; nothing was written. `needed` and `free` are
    bytes.
    """

    def __init__(
        self, what: str, why: str = '', fix: str = '', needed: int = 0, free: int = 0
    ) -> None:
        super().__init__(what, why, fix)
        self.needed = needed
        self.free = free


def _shortened(names: Sequence[str], limit: int = 12) -> str:
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more


# --- images ---------------------------------------------------------------------------------------


class ImageError(PenguinError):
    """An image cannot be used; its frame is dropped and counted under `cause`."""

    cause = 'image'


class UnsupportedEncoding(ImageError):
    """The pixel encoding is none of those that can be converted."""

    cause = 'encoding'


class UndefinedColours(UnsupportedEncoding):
    """The samples are no colours, or it is not said which: distances, 8UC3. Another topic with the
    same samples would only hide that.
    """


class CorruptImage(ImageError):
    """Compressed data cannot be decoded, or is empty, truncated or damaged."""

    cause = 'corrupt'


class ImageTooLarge(ImageError):
    """An image has more pixels or bytes than allowed, as a decompression bomb has; it is refused
    before it is decoded.
    """

    cause = 'too_large'


class ImageShapeError(ImageError):
    """An image has zero size, a step smaller than a row, or less data than step x height."""

    cause = 'shape'


# --- requests -------------------------------------------------------------------------------------


class RequestError(PenguinError):
    """A request cannot be served as asked."""


class InvalidQuestion(RequestError):
    """The question is empty or unusable."""


class QuestionTooLong(RequestError):
    """The question has more characters than allowed."""


class InvalidRequest(RequestError):
    """A field other than the question is out of range (interval, maximum of tokens, deadline)."""


class UnknownCamera(RequestError):
    """No camera of that name is configured."""


class NoFrames(RequestError):
    """The camera has delivered no frame yet."""


class StaleFrames(RequestError):
    """The newest frame is older than allowed."""


class IntervalUnavailable(RequestError):
    """The buffer holds no frame of the interval asked for."""


class TooManyImages(RequestError):
    """A request carries more images, or more bytes of images, than it may."""


class InvalidChoices(RequestError):
    """A choice is empty, too long or given twice, or there are too many."""


class InvalidSchema(RequestError):
    """A JSON schema is malformed, not supported, too complex, or nothing conforms to it."""


class UnknownConversation(RequestError):
    """No conversation of that id: it was never begun, forgotten, or too old."""


class DuplicateRequest(RequestError):
    """A request with this id is queued or running."""


class Busy(RequestError):
    """The queue of questions is full."""


class DeadlineExceeded(RequestError):
    """The complete answer was not ready in time."""


class RequestCancelled(RequestError):
    """The client cancelled the request."""


class RequestReplaced(RequestError):
    """A waiting caption gave way to a newer one."""


class Inactive(RequestError):
    """The node is not active: deactivated, shutting down, or not yet configured."""


class ClockJumped(RequestError):
    """Time jumped, and the frames this request was based on are gone."""


class PromptTooLong(RequestError):
    """Prompt and answer do not fit into the context length."""


# --- rules ----------------------------------------------------------------------------------------


class RuleError(PenguinError):
    """Rules cannot be set, removed or kept as asked."""


class InvalidRule(RuleError):
    """A field of a rule, or its entry in a file, does not say what it should."""


class UnknownRule(RuleError):
    """There is no rule of that id."""


class TooManyRules(RuleError):
    """There are as many rules as are taken."""


class UnusableRuleFile(RuleError):
    """A file of rules cannot be read or changed; no rule of it is lost."""


# --- the network's input --------------------------------------------------------------------------


class TokenCountMismatch(PenguinError):
    """The number of image placeholders and of visual features differ."""

    def __init__(self, expected: int, got: int) -> None:
        self.expected = expected
        self.got = got
        super().__init__(
            f'the prompt has {expected} image tokens, the frames give {got}',
            'each image token takes one visual feature',
            'This is a defect; please report it',
        )


# --- memory ---------------------------------------------------------------------------------------


class StoreError(PenguinError):
    """The store of a memory cannot be read or written."""


class StoreInUse(StoreError):
    """Another process writes to the store."""


class StoreTooNew(StoreError):
    """The store was written by a newer version of this package."""


class StoreDamaged(StoreError):
    """The database of the store is damaged, or is none."""


class UnknownEntry(RequestError):
    """No entry of that id is stored, or its picture is not there."""


# --- remote engines -------------------------------------------------------------------------------


class RemoteError(PenguinError):
    """No remote engine gave the answer, and the node's own model may not stand in for it."""


class CaptionTooLate(RemoteError):
    """A server made a caption when the robot had moved on; it is dropped."""


# --- backends -------------------------------------------------------------------------------------


class BackendError(PenguinError):
    """The inference library failed."""


class BackendUnavailable(BackendError):
    """The library or the device of a backend is missing."""


class LibraryUnusable(BackendUnavailable):
    """A library that is needed is missing, or it is there and does not import."""


class CacheOverflow(BackendError):
    """A call would write past the end of a KV slot."""


class NoFreeSlot(BackendError):
    """Every KV slot is in use."""


class OutOfMemory(BackendError):
    """The device has too little memory."""


class DeviceLost(BackendError):
    """The device computes nothing more for this process, which has to end and start again."""


class InvalidLogits(BackendError):
    """The network returned NaN or infinite logits."""
