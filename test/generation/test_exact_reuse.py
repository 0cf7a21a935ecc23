# SPDX-License-Identifier: Apache-2.0
"""What is reused is what would be computed again: random schedules on real networks, compared with
full recomputation.

Tokens are the same up to the first choice that is within rounding; logits are compared at every
step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.random_schedule import Schedule

from penguin_ros.backends.base.backend import Backend
from penguin_ros.backends.base.bundle import Bundle, open_bundle
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.config import ModelConfig
from penguin_ros.export.precision import BuildChoice
from penguin_ros.generation.caches import Caches

Maker = Callable[[int], Backend]


def model_config(slots: int) -> ModelConfig:
    return ModelConfig(
        device='cpu',
        precision='float32',
        max_length=512,
        kv_slots=slots,
        threads=1,
        encode_patches=64,
    )


@pytest.fixture(scope='module')
def torch_model(golden_dir: Path) -> tuple[Checkpoint, Maker]:
    pytest.importorskip('torch', reason='torch is not installed')
    from penguin_ros.backends.torch.backend import TorchBackend

    checkpoint = open_checkpoint(golden_dir / 'checkpoint')
    return checkpoint, lambda slots: TorchBackend(checkpoint, model_config(slots))


@pytest.fixture(scope='module')
def onnx_model(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Maker]:
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    pytest.importorskip('onnx', reason='onnx is not installed')
    from penguin_ros.backends.onnxruntime.backend import OnnxBackend
    from penguin_ros.export.build import BuildOrder, build_bundle

    folder = tmp_path_factory.mktemp('golden') / 'bundle'
    bundle = open_bundle(
        build_bundle(open_checkpoint(golden_dir / 'checkpoint'), folder, BuildOrder())
    )
    return bundle, lambda slots: OnnxBackend(bundle, model_config(slots))


@pytest.fixture(scope='module')
def tensorrt_model(
    golden_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Bundle, Maker]]:
    """A fake GPU: the graphs run in ONNX Runtime, the bookkeeping of slots and features is real."""
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    pytest.importorskip('onnx', reason='onnx is not installed')
    from support.fake_gpu.installed import Machine, remove, use

    from penguin_ros.backends.tensorrt.backend import TensorrtBackend
    from penguin_ros.export.build import BuildOrder, build_bundle
    from penguin_ros.export.tensorrt.build import EngineOptions, build_engines

    use(Machine('10.16.2'))
    order = BuildOrder(BuildChoice('tensorrt', 'float32'), max_length=512)
    folder = tmp_path_factory.mktemp('golden') / 'engines'
    bundle = open_bundle(build_bundle(open_checkpoint(golden_dir / 'checkpoint'), folder, order))
    build_engines(bundle.path, EngineOptions(max_rows=32, timing_cache=''))
    yield bundle, lambda slots: TensorrtBackend(bundle, model_config(slots))
    remove()


@pytest.fixture(scope='module')
def cuda_model(
    golden_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Bundle, Maker]]:
    """A fake GPU computes own kernels in float32 and numpy; the bookkeeping of slots and features
    is real.
    """
    yield from kernels_model(golden_dir, tmp_path_factory.mktemp('golden') / 'kernels', 'float32')


@pytest.fixture(scope='module')
def cuda_float16_model(
    golden_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Bundle, Maker]]:
    """The same in float16."""
    yield from kernels_model(golden_dir, tmp_path_factory.mktemp('golden') / 'kernels', 'float16')


def kernels_model(golden_dir: Path, folder: Path, precision: str) -> Iterator[tuple[Bundle, Maker]]:
    """Gives a bundle of the golden checkpoint and what opens it."""
    pytest.importorskip('onnx', reason='onnx is not installed')
    from support.fake_gpu.cuda_bundles import computing_machine, cuda_bundle
    from support.fake_gpu.installed import remove, use

    from penguin_ros.backends.cuda.backend import CudaBackend

    choice = BuildChoice('cuda', precision)
    bundle = open_bundle(cuda_bundle(golden_dir / 'checkpoint', folder, choice, max_length=512))
    use(machine := computing_machine())

    def make(slots: int) -> Backend:
        use(machine)
        return CudaBackend(bundle, replace(model_config(slots), device='auto', precision='auto'))

    yield bundle, make
    remove()


SLOW_MODELS = [
    pytest.param(name, marks=pytest.mark.slow) for name in ('tensorrt', 'cuda', 'cuda_float16')
]


@pytest.fixture(params=['torch', 'onnx', *SLOW_MODELS])
def model(request: pytest.FixtureRequest) -> tuple[Checkpoint | Bundle, Maker]:
    found: tuple[Checkpoint | Bundle, Maker] = request.getfixturevalue(f'{request.param}_model')
    return found


@pytest.fixture
def rounding(request: pytest.FixtureRequest) -> float:
    """How much coarser a model's numbers are than float32: one row of kernels has activations in
    float32, several in float16.
    """
    return 200.0 if request.node.callspec.params.get('model') == 'cuda_float16' else 1.0


@pytest.fixture
def schedule(
    model: tuple[Checkpoint | Bundle, Maker], rounding: float
) -> Iterator[Callable[..., Schedule]]:
    opened: list[Backend] = []

    def make(seed: int, slots: int, encoder_cache_bytes: int, policy: str = 'fixed') -> Schedule:
        backends = [model[1](slots), model[1](1)]
        opened.extend(backends)
        for backend in backends:
            backend.open()
        made = Schedule(
            Caches(backends[0], encoder_cache_bytes, True), backends[1], model[0], seed, policy
        )
        made.rounding = rounding
        return made

    yield make
    for backend in opened:
        backend.close()


def assert_clean(caches: Caches) -> None:
    """Every slot that no generation uses can be had again."""
    caches.prefix_cache.free_kept()
    for _ in range(caches.backend.description.slots):
        caches.backend.new_slot()


def test_a_random_schedule_gives_what_full_recomputation_gives(
    schedule: Callable[..., Schedule],
) -> None:
    run = schedule(seed=3, slots=3, encoder_cache_bytes=1 << 20)
    run.run(100)
    counts = run.caches.stats()
    assert run.compared > 70 and run.tokens > 170 and run.branches > 30
    assert (
        counts.prefix_cache.reused > counts.prefix_cache.computed / 2
        and counts.encoder_cache.hits > 0
    )
    assert (
        counts.prefix_cache.continued
        and counts.prefix_cache.forked
        and counts.prefix_cache.evicted
        and run.accepted
    )
    assert_clean(run.caches)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ('seed', 'slots', 'encoder_cache_bytes', 'policy'),
    [
        (11, 3, 1 << 20, 'fixed'),
        (12, 4, 1 << 20, 'reference'),
        (13, 3, 20_000, 'fixed'),
        (14, 3, 0, 'fixed'),
        (15, 8, 3000, 'reference'),
        (16, 5, 1 << 20, 'fixed'),
    ],
)
def test_thousands_of_random_operations_give_what_full_recomputation_gives(
    schedule: Callable[..., Schedule], seed: int, slots: int, encoder_cache_bytes: int, policy: str
) -> None:
    run = schedule(seed, slots, encoder_cache_bytes, policy)
    run.run(1000)
    counts = run.caches.stats()
    print(
        f'compared {run.compared} texts, {run.tokens} tokens, {run.accepted} of them drafted, '
        f'{run.branches} contexts of branches, '
        f'worst difference of logits {run.worst:.1e}; {counts}'
    )
    assert run.compared > 500 and counts.prefix_cache.reused > 0 and counts.prefix_cache.forked > 0
    assert_clean(run.caches)
