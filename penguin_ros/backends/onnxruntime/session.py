# SPDX-License-Identifier: Apache-2.0
"""One graph of a bundle as a session of ONNX Runtime, checked against what the manifest says of
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from penguin_ros.backends.base.bundle import Bundle, rebuild
from penguin_ros.backends.base.manifest import GraphSpec, TensorSpec
from penguin_ros.backends.onnxruntime.library import running, version_of
from penguin_ros.backends.onnxruntime.providers import Placement, Provider, missing
from penguin_ros.errors import BackendError, BundleMismatch, OutOfMemory

TYPES = {
    'float32': 'tensor(float)',
    'float16': 'tensor(float16)',
    'bfloat16': 'tensor(bfloat16)',
    'int64': 'tensor(int64)',
    'bool': 'tensor(bool)',
}
"""What ONNX Runtime calls the number formats of inputs and outputs."""

ACTIVATIONS: dict[str, type[np.floating[Any]]] = {'float32': np.float32, 'float16': np.float16}
"""Formats of activations that can be handed over as numpy arrays."""

QUIET = 3
"""Log severity: errors. What the library warns of is either checked here or of no use to a user."""

OLDEST_WITH_SPIN_LIMIT, SPIN_MICROSECONDS = (1, 26), '50'
"""How long an idle thread waits actively. The next piece of work of the same step comes sooner than
that; with the library's own limit, threads of this and other processes on the same cores wait for
those that spin: a token took two to three times as long.
"""

AS_REQUESTED = 1
"""The way in which the shared memory grows; the alternative doubles it."""


@dataclass(frozen=True)
class SessionMaker:
    """Opens graphs of one bundle with `threads` threads each."""

    library: ModuleType
    bundle: Bundle
    placement: Placement
    threads: int

    def open(self, spec: GraphSpec) -> Any:
        """Returns an InferenceSession.

        BundleMismatch when this version cannot run the graph or finds other inputs or outputs than
        the manifest, OutOfMemory, BackendUnavailable when the provider does not start.
        """
        try:
            session = self._session(spec, self.placement.providers)
        except OutOfMemory:
            raise
        except BackendError as error:
            raise BundleMismatch(
                f'onnxruntime {self.library.__version__} cannot run {spec.file} of '
                f'{self.bundle.path}',
                error.why,
                rebuild(self.bundle.manifest, self.bundle.path),
            ) from error
        # The library goes on without a provider, and says so in its log only.
        if self.placement.best not in session.get_providers():
            raise missing(self.placement.best, 'its libraries or the device did not load')
        self._check(spec, session)
        return session

    def open_for_capture(self, spec: GraphSpec) -> tuple[Any, str]:
        """Returns a session that captures graphs of launches where those are asked for, and why it
        does not although they are, '' otherwise; raises as `open` does.
        """
        if not self.placement.can_capture:
            return self.open(spec), ''
        try:
            session = self._session(spec, self.placement.capturing())
            if self.placement.best in session.get_providers():
                self._check(spec, session)
                return session, ''
            why = 'the provider does not start with its option for them'
        except OutOfMemory:
            raise
        except BackendError as error:
            why = error.why
        return self.open(spec), why

    def _session(self, spec: GraphSpec, providers: Sequence[Provider]) -> Any:
        with running(f'loading {spec.file}'):
            return self.library.InferenceSession(
                str(self.bundle.file(spec.file)), self._options(), providers=list(providers)
            )

    def _options(self) -> Any:
        options = self.library.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = QUIET
        _share_memory(self.library)
        entries = {'session.use_env_allocators': '1'}
        if version_of(self.library) >= OLDEST_WITH_SPIN_LIMIT:
            entries['session.intra_op.spin_duration_us'] = SPIN_MICROSECONDS
        else:
            entries['session.intra_op.allow_spinning'] = '0'
        for key, value in entries.items():
            options.add_session_config_entry(key, value)
        return options

    def _check(self, spec: GraphSpec, session: Any) -> None:
        """Compares formats and numbers of dimensions with the manifest, and the sizes of inputs; of
        outputs the library may know less than the file says.
        """
        for which, tensors, arguments in (
            ('inputs', spec.inputs, session.get_inputs()),
            ('outputs', spec.outputs, session.get_outputs()),
        ):
            expected = {
                item.name: _signature(TYPES.get(item.dtype, item.dtype), item.shape, which)
                for item in tensors
            }
            found = {item.name: _signature(item.type, item.shape, which) for item in arguments}
            differing = sorted(
                name
                for name in expected.keys() | found.keys()
                if expected.get(name) != found.get(name)
            )
            if differing:
                name = differing[0]
                raise BundleMismatch(
                    f'{spec.file} of {self.bundle.path} has other {which} than its manifest says',
                    f'{name} is {found.get(name, "absent")} instead of '
                    f'{expected.get(name, "absent")}',
                    rebuild(self.bundle.manifest, self.bundle.path),
                )


@cache
def _share_memory(library: ModuleType) -> None:
    """Registers, once per process, working memory that all sessions share and keep, as large as the
    largest needs.

    One per session would be thirty times that; none means that each call gets its memory, page by
    page, from the system, by which the encoder takes a third longer.
    """
    place = library.OrtMemoryInfo(
        'Cpu', library.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, library.OrtMemType.DEFAULT
    )
    with running('registering an allocator'):
        library.create_and_register_allocator(
            place, library.OrtArenaCfg({'arena_extend_strategy': AS_REQUESTED})
        )


def require_activations(bundle: Bundle, *specs: GraphSpec) -> None:
    """Raises BundleMismatch when a tensor has a number format that numpy does not have."""
    for tensor in (tensor for spec in specs for tensor in (*spec.inputs, *spec.outputs)):
        if tensor.dtype not in ACTIVATIONS and tensor.dtype not in ('int64', 'bool'):
            raise BundleMismatch(
                f'{bundle.path} computes in {tensor.dtype}',
                'which cannot be handed over to ONNX Runtime here',
                'Build it with --precision float16 or int4, or run it with TensorRT',
            )


def tensor_of(spec: GraphSpec, name: str) -> TensorSpec:
    """Returns an input or output by name."""
    return next(tensor for tensor in (*spec.inputs, *spec.outputs) if tensor.name == name)


def _signature(kind: str, shape: Sequence[int | str | None], which: str) -> str:
    sizes = [str(size) if isinstance(size, int) and which == 'inputs' else '?' for size in shape]
    return f'{kind} [{", ".join(sizes)}]'
