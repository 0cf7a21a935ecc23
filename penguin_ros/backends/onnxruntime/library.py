# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime itself: whether it is there, what its version can run, and the named errors that its
exceptions become.

Importing this file needs no onnxruntime; `load_library` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from penguin_ros.backends.base.manifest import FULL, TWO_PART
from penguin_ros.errors import BackendError, BackendUnavailable, OutOfMemory
from penguin_ros.installation import install_command
from penguin_ros.libraries import prepare, remedy

OLDEST, OLDEST_IN_PLACE = (1, 23), (1, 25)
"""The versions from which on the operators of the graphs exist: Attention of opset 23, and
TensorScatter of opset 24.
"""

DECODER_VARIANTS = {OLDEST_IN_PLACE: FULL, OLDEST: TWO_PART}
"""Which graph of the LLM runs from which version on, the best first."""

_MEMORY_WORDS = (
    'bad_alloc',
    'bad allocation',
    'failed to allocate memory',
    'out of memory',
    'unable to allocate',
)


def load_library() -> ModuleType:
    """Imports onnxruntime; BackendUnavailable with the command to type when it is absent or too
    old.
    """
    prepare('onnxruntime')
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        raise BackendUnavailable(
            'backend onnxruntime is not available',
            f'importing onnxruntime failed ({error})',
            remedy(error, 'onnxruntime'),
        ) from error
    if version_of(onnxruntime) < OLDEST:
        raise BackendUnavailable(
            f'onnxruntime {onnxruntime.__version__} is too old',
            'the graphs need operators that came with ' + '.'.join(map(str, OLDEST)),
            f'Type: {install_command("onnxruntime", options=["--upgrade"])}',
        )
    library: ModuleType = onnxruntime
    return library


def version_of(library: ModuleType) -> tuple[int, int]:
    """Returns the major and minor version."""
    found = re.match(r'(\d+)\.(\d+)', library.__version__)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def decoder_variant(library: ModuleType) -> str:
    """Returns the best graph of the LLM that this version runs. Python 3.10 has 1.23 at most, which
    cannot write to a cache in place.
    """
    return next(
        variant for version, variant in DECODER_VARIANTS.items() if version_of(library) >= version
    )


@contextmanager
def running(what: str) -> Iterator[None]:
    """Runs a block; what the library raises in it leaves as BackendError or OutOfMemory that names
    `what`.
    """
    try:
        yield
    except MemoryError as error:
        raise _out_of_memory(what, error) from error
    except Exception as error:  # its own exceptions have no base class of their own
        if not is_of_the_library(error):
            raise
        text = _first_line(error)
        if any(words in text.lower() for words in _MEMORY_WORDS):
            raise _out_of_memory(what, error) from error
        raise BackendError(f'{what} failed', text) from error


def is_of_the_library(error: Exception) -> bool:
    """Returns whether an exception came out of the library, as far as its type tells."""
    return type(error).__module__.startswith('onnxruntime') or isinstance(
        error, (RuntimeError, ValueError, TypeError)
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).partition('\n')[0][:400]


def _out_of_memory(what: str, error: BaseException) -> OutOfMemory:
    return OutOfMemory(
        f'memory ran out while {what}',
        _first_line(error),
        'Lower model.max_length, model.kv_slots or the visual token budget, or build a smaller '
        '--precision',
    )
