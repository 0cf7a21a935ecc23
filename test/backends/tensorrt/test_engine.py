# SPDX-License-Identifier: Apache-2.0
"""Engines, contexts and the device: what is forgotten or wrong becomes a named error, and the fake
GPU notices each of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_gpu.bundles import OPTIONS, tensorrt_bundle
from support.fake_gpu.installed import Machine, remove, use

from penguin_ros.backends.cuda.buffers import StridedRows
from penguin_ros.backends.tensorrt.engine_manifest import FOLDER
from penguin_ros.errors import BackendError, BundleMismatch
from penguin_ros.export.tensorrt.build import build_engines


@pytest.fixture(scope='module')
def plan(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder that updates its cache in place."""
    use(Machine('10.16.2'))
    folder = tensorrt_bundle(
        tiny_checkpoint, tmp_path_factory.mktemp('engine') / 'bundle', max_length=512
    )
    decoder = build_engines(folder, OPTIONS).engine('decoder')
    remove()
    assert decoder is not None
    return folder / FOLDER / decoder.file


class Bench:
    """A context of a loaded engine, everything set as it must be for 5 tokens after 3."""

    def __init__(self, plan: Path, machine: Machine) -> None:
        from penguin_ros.backends.cuda.device import CudaDevice
        from penguin_ros.backends.tensorrt.engine import Context, Engine, Workspace

        self.machine, self.device = machine, CudaDevice()
        self.engine = Engine(plan, self.device)
        self.workspace = Workspace(self.device, self.engine.workspace_bytes())
        profile = self.engine.profile_for('inputs_embeds', 1, 5)
        self.context = Context(self.engine, profile, self.workspace)
        self.shapes = {
            'inputs_embeds': (1, 5, 64),
            'position_ids': (1, 5),
            'attention_mask': (1, 1, 5, 256),
            'logits_indices': (1,),
        }
        self.addresses: dict[str, int] = {}
        for name, facts in self.engine.tensors.items():
            past = name.replace('present', 'past')
            count = int(np.prod([size for size in self.shapes.get(name, facts.shape) if size > 0]))
            self.addresses[name] = self.addresses.get(past) or self.device.allocate(8 * count)
            self.device.zero_rows(StridedRows(self.addresses[name], 8 * count), 8 * count, 1)

    def run(self) -> None:
        self.context.bind(self.addresses)
        self.context.reshape(self.shapes)
        self.context.enqueue()
        self.device.synchronize()

    def write(self, name: str, *values: int, dtype: Any = np.int64) -> None:
        self.device.synchronize()
        self.machine.gpu.write(self.addresses[name], np.array(values, dtype))


@pytest.fixture
def bench(plan: Path) -> Iterator[Bench]:
    machine = Machine('10.16.2')
    use(machine)
    made = Bench(plan, machine)
    yield made
    made.device.close()
    remove()


def test_what_is_set_runs(bench: Bench) -> None:
    bench.write('attention_mask', *[1] * 1280, dtype=np.uint8)
    bench.run()
    logits = bench.machine.gpu.view(bench.addresses['logits'], 4 * 640).view(np.float32)
    assert np.isfinite(logits).all()


def forget_shape(bench: Bench) -> None:
    del bench.shapes['attention_mask']


def forget_address(bench: Bench) -> None:
    del bench.addresses['logits']


def forget_both(bench: Bench) -> None:
    bench.shapes.clear()


def too_many_rows(bench: Bench) -> None:
    bench.shapes['inputs_embeds'] = (1, 49, 64)


def too_long(bench: Bench) -> None:
    bench.shapes['attention_mask'] = (1, 1, 5, 513)


def too_few_axes(bench: Bench) -> None:
    bench.shapes['position_ids'] = (5,)


def another_hidden_size(bench: Bench) -> None:
    bench.shapes['inputs_embeds'] = (1, 5, 65)


def apart_from_its_input(bench: Bench) -> None:
    bench.addresses['present_value_1'] = bench.device.allocate(1 << 20)


def crooked_address(bench: Bench) -> None:
    bench.addresses['logits'] += 4


def past_the_end(bench: Bench) -> None:
    bench.write('write_indices', 508)


def outside_memory(bench: Bench) -> None:
    bench.addresses['inputs_embeds'] = 256


def no_booleans(bench: Bench) -> None:
    bench.write('attention_mask', 7, dtype=np.uint8)


def never_written(bench: Bench) -> None:
    bench.addresses['inputs_embeds'] = bench.device.allocate(8 * 320)


WRONG: dict[Callable[[Bench], None], str] = {
    forget_shape: 'attention_mask',
    forget_address: 'not set: logits',
    forget_both: 'not set: .*inputs_embeds',
    too_many_rows: r'inputs_embeds of shape \(1, 49, 64\) was refused: .*profile',
    too_long: 'attention_mask of shape .* refused',
    too_few_axes: 'position_ids',
    another_hidden_size: 'inputs_embeds',
    apart_from_its_input: 'not bound to the memory',
    crooked_address: 'address of logits was refused',
    past_the_end: 'IllegalAddress',
    outside_memory: 'IllegalAddress',
    no_booleans: 'IllegalAddress',
    never_written: 'IllegalAddress',
}


@pytest.mark.parametrize('wrong', WRONG)
def test_what_is_wrong_is_an_error_that_names_it(
    bench: Bench, wrong: Callable[[Bench], None]
) -> None:
    wrong(bench)
    with pytest.raises(BackendError, match=WRONG[wrong]):
        bench.run()


def test_a_graph_is_captured_only_of_a_context_that_ran_and_dies_with_any_change_of_it(
    bench: Bench,
) -> None:
    bench.context.bind(bench.addresses)
    bench.context.reshape(bench.shapes)
    with pytest.raises(BackendError, match='captured before it ran'):
        bench.device.capture(bench.context.enqueue)
    bench.run()
    graph = bench.device.capture(bench.context.enqueue)
    bench.device.launch(graph)
    bench.device.synchronize()
    bench.context.reshape({'attention_mask': (1, 1, 5, 300)})
    bench.device.launch(graph)
    with pytest.raises(BackendError, match='IllegalAddress'):
        bench.device.synchronize()


def test_nothing_runs_after_close(bench: Bench) -> None:
    bench.context.close()
    with pytest.raises(BackendError, match='closed'):
        bench.run()
    bench.engine.close()
    with pytest.raises(BackendError, match='closed'):
        bench.engine.workspace_bytes()


@pytest.mark.parametrize('damage', [b'', b'short', None])
def test_a_file_that_is_no_engine_is_an_error(
    plan: Path, bench: Bench, tmp_path: Path, damage: bytes | None
) -> None:
    from penguin_ros.backends.tensorrt.engine import Engine

    broken = tmp_path / 'broken.plan'
    if damage is None:
        shutil.copyfile(plan, broken)
        bench.machine.gpu.name = 'Another'
    else:
        broken.write_bytes(damage)
    with pytest.raises(BackendError, match=r'broken.plan .*'):
        Engine(broken, bench.device)


def test_an_engine_that_does_not_share_its_cache_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from penguin_ros.backends.tensorrt.decoder import Decoder

    monkeypatch.setattr(
        bench.engine,
        'aliased_input',
        lambda output: None if output == 'present_key_2' else output.replace('present', 'past'),
    )
    table: Any = None
    with pytest.raises(
        BundleMismatch, match=r'in place: present_key_2 shares memory with no input.*two_part'
    ):
        Decoder(bench.engine, table, 512, 1, (0, 0))
