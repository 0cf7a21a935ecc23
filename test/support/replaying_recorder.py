# SPDX-License-Identifier: Apache-2.0
"""Takes the place of CUDA graphs on a CPU, and is stricter than they are.

It replays a recording by running the recorded work again and comparing every operation and plain
number with the first time, so that a number that was baked in is seen. While work is recorded or
replayed, an operation may read only what the session holds or what the work itself made: an input
that did not come through the pass's memory is refused, and so is anything that waits for the
device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import zip_longest
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from penguin_ros.backends.torch.graphs import Work

WAITS = ('_local_scalar_dense', 'nonzero', 'masked_select', 'is_nonzero', 'equal.default')
TO_PYTHON = ('item', 'tolist', 'numpy', 'cpu', '__bool__', '__int__', '__float__', '__index__')
OWNERS = ('penguin_ros.backends.torch', 'penguin_ros.backends.base')
HOST = ('_pin_memory', 'lift_fresh', 'pin_memory')


class NotRecordable(RuntimeError):
    """Work did what a recording on a GPU could not do, or could not repeat."""


class _Watch(TorchDispatchMode):
    """Notes every operation; `known` are the storages that may be read."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.known = known
        self.operations: list[tuple[Any, ...]] = []
        self._made: list[torch.Tensor] = []  # keeps addresses from being used again

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Returns False: torch would import its whole compiler for it, and nothing is compiled."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, is_recordable = _operation(func)
        values = [*_leaves(args), *_leaves(kwargs or {})]
        if not is_recordable:
            raise NotRecordable(f'{name} waits for the device, or brings something from the host')
        for value in values:
            if isinstance(value, torch.Tensor) and _storage(value) not in self.known:
                raise NotRecordable(f'{name} reads {tuple(value.shape)}, which is no place of ours')
        self.operations.append((name, *map(_fact, values)))
        result = func(*args, **(kwargs or {}))
        for made in _leaves(result):
            if isinstance(made, torch.Tensor):
                self.known.add(_storage(made))
                self._made.append(made)
        return result


class _NoWaits(TorchFunctionMode):
    """Refuses what brings a value to Python, which torch may do beside its dispatcher."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, '__name__', '') in TO_PYTHON:
            raise NotRecordable(f'{func.__name__} waits for the device')
        return func(*args, **(kwargs or {}))


class ReplayingRecorder:
    """A Recorder of a CPU. `may_record` is called before each recording and may raise."""

    def __init__(self, may_record: Callable[[], None] = lambda: None) -> None:
        self.may_record = may_record
        self.held: Callable[[], list[torch.Tensor]] = list
        self.released = 0

    @property
    def held_bytes(self) -> int:
        """Nothing."""
        return 0

    def rehearse(self, work: Work) -> None:
        """Runs work as it is, under the same watch."""
        with _Watch(self._known(work)), _NoWaits():
            work()

    def record(self, work: Work) -> Callable[[], None]:
        """Notes the operations of work; what it wrote is taken back, since a recording computes
        nothing.
        """
        self.may_record()
        before = [(each, each.clone()) for each in self._places(work)]
        with _Watch(self._known(work)) as first, _NoWaits():
            work()
        for each, values in before:
            each.copy_(values)
        places = [each.data_ptr() for each in self._places(work)]
        operations = first.operations

        def replay() -> None:
            if not set(places) <= {each.data_ptr() for each in self._places(work)}:
                raise NotRecordable('memory that the recording names was freed')
            with _Watch(self._known(work)) as now, _NoWaits():
                work()
            if now.operations != operations:
                pairs = zip_longest(now.operations, operations)
                other = next(pair for pair in pairs if pair[0] != pair[1])
                raise NotRecordable(f'the work is not what was recorded: {other}')

        return replay

    def release(self) -> None:
        """Counts."""
        self.released += 1

    def _places(self, work: Work) -> list[torch.Tensor]:
        """What `held` names; while a session opens, which nobody has yet, what the pass names."""
        return self.held() or held_tensors(getattr(work, '__self__', None))

    def _known(self, work: Work) -> set[int]:
        return {_storage(each) for each in self._places(work)}


def held_tensors(root: object) -> list[torch.Tensor]:
    """Returns all tensors that an object of the torch backend holds, however deep."""
    found: dict[int, torch.Tensor] = {}
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, torch.Tensor):
            found[id(each)] = each
        elif isinstance(each, (dict, list, tuple)):
            waiting.extend(each.values() if isinstance(each, dict) else each)
        elif type(each).__module__.startswith(OWNERS):
            waiting.extend(vars(each).values())
    return list(found.values())


@cache
def _operation(func: Any) -> tuple[str, bool]:
    """Returns an operation's name, and whether it may be recorded."""
    name = str(func)
    return name, not any(word in name for word in (*WAITS, *HOST))


def _leaves(value: Any) -> Iterator[Any]:
    """Yields what arguments or results hold, however nested, in their order."""
    if isinstance(value, (tuple, list)):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, dict):
        yield from value
        yield from _leaves(list(value.values()))
    else:
        yield value


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _fact(value: Any) -> Any:
    """What of an argument must be the same at each replay."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.stride(), value.dtype
    return str(value)  # NaN is not equal to itself
