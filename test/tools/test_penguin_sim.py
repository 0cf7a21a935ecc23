# SPDX-License-Identifier: Apache-2.0
"""The simulation's model is trained on what the node will feed it, and what is trained is what will
run.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs PyTorch')

ROOT = Path(__file__).resolve().parents[2]

from penguin_sim_batches import make_batch, seen_as, to_patches
from penguin_sim_checkpoint import sim_shape, write_sim_checkpoint
from penguin_sim_grids import GRIDS, HEIGHT, INTERMEDIATE, KEY, WIDTH, Grid, cells_of
from penguin_sim_heads import cell_targets
from penguin_sim_network import SimNetwork
from penguin_sim_scores import captions, clip_prefix
from penguin_sim_shards import KINDS, Shard, read_shard, write_shard
from penguin_sim_trainer import LossWeights, Trainer, embedded, encoded
from penguin_sim_vocabulary import vocabulary
from penguin_sim_words import IGNORED, Texts, sim_tokenizer

from penguin_ros.backends.base.backend import Chunk, FeatureSpan
from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.checkpoint.tensor_names import HEAD, expected_shapes
from penguin_ros.config import ModelConfig, VisualConfig
from penguin_ros.frame import Clip, Frame
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.simulation import words
from penguin_ros.simulation.motion_seen import SEEN
from penguin_ros.simulation.scene import MAX_THINGS
from penguin_ros.steps import run_to_end

SECONDS = (0.0, 1.0, 2.0, 3.0)
WHOLE, COMPRESSED = (KEY,) * 4, (KEY, *[INTERMEDIATE] * 3)
QUESTIONS = ('What colour is the box?', 'How many things are there?')


@pytest.fixture(scope='module')
def network() -> SimNetwork:
    """A network with random weights, large enough that answers differ."""
    torch.manual_seed(3)
    network = SimNetwork(sim_shape(sim_tokenizer())).requires_grad_(False)
    for value in network.parameters():
        value.copy_(
            (value + torch.randn_like(value) * 0.05).half().float()
        )  # what float16 holds without rounding
    return network


@pytest.fixture(scope='module')
def checkpoint(network: SimNetwork, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp('sim') / 'model'
    write_sim_checkpoint(
        folder, {name: value.numpy() for name, value in network.state_dict().items()}
    )
    return open_checkpoint(folder)


@pytest.fixture(scope='module')
def texts(checkpoint: Checkpoint) -> Texts:
    return Texts(checkpoint.path, checkpoint.shape.image_token_id)


@pytest.fixture(scope='module')
def frames() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (1, len(SECONDS), HEIGHT, WIDTH, 3), np.uint8)


def node_inputs(
    checkpoint: Checkpoint,
    frames: np.ndarray,
    question: str,  # type: ignore[no-untyped-def]
    intermediate: Grid = KEY,
):
    clip = Clip(
        'c',
        tuple(
            Frame(round(at * 1e9), image, 'c') for at, image in zip(SECONDS, frames[0], strict=True)
        ),
    )
    visual = VisualConfig(
        policy='fixed', key_tokens=KEY.cells, intermediate_tokens=intermediate.cells
    )
    return Preprocessor(checkpoint.shape, checkpoint.tokenizer, visual).clip_inputs(clip, question)


def test_a_clip_trains_as_the_very_patches_and_token_ids_that_the_node_would_make_of_it(
    checkpoint: Checkpoint, texts: Texts, frames: np.ndarray
) -> None:
    inputs = node_inputs(checkpoint, frames, QUESTIONS[0])
    assert [frame.tokens for frame in inputs.frames] == [KEY.cells] * len(SECONDS)
    np.testing.assert_allclose(
        to_patches(frames[0]).numpy(),
        np.stack([frame.pixels for frame in inputs.frames]),
        atol=2e-7,
    )
    prefix = texts.prefix(SECONDS, [grid.cells for grid in WHOLE])
    assert [*prefix, *texts.suffix(QUESTIONS[0])] == inputs.prompt.token_ids.tolist()


@pytest.mark.parametrize('twice', [False, True], ids=['168x112', '336x224'])
def test_intermediate_frames_train_as_the_node_makes_them(
    checkpoint: Checkpoint, texts: Texts, twice: bool
) -> None:
    picture = (
        np.random.default_rng(6)
        .integers(0, 256, (1, HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        .repeat(8, 1)
        .repeat(8, 2)
    )
    frames = picture[:, None].repeat(
        len(SECONDS), 1
    )  # nothing happens, so only the first is a key frame
    given = frames.repeat(2, 2).repeat(2, 3) if twice else frames
    inputs = node_inputs(checkpoint, given, QUESTIONS[0], INTERMEDIATE)
    assert [frame.tokens for frame in inputs.frames] == [grid.cells for grid in COMPRESSED]
    prefix = texts.prefix(SECONDS, [grid.cells for grid in COMPRESSED])
    assert [*prefix, *texts.suffix(QUESTIONS[0])] == inputs.prompt.token_ids.tolist()
    if not twice:
        for frame, grid in zip(inputs.frames, COMPRESSED, strict=True):
            np.testing.assert_allclose(
                to_patches(seen_as(frames[:, 0], grid))[0].numpy(), frame.pixels, atol=2e-7
            )


def test_the_trained_network_computes_what_the_torch_backend_computes(
    network: SimNetwork, checkpoint: Checkpoint, texts: Texts, frames: np.ndarray
) -> None:
    prefix = torch.from_numpy(texts.prefix(SECONDS, [grid.cells for grid in WHOLE]))
    features = encoded(network, to_patches(frames[0]), KEY).flatten(0, 1)[None]
    kept, _ = network.prefix(
        embedded(network, prefix, torch.nonzero(prefix == texts.image)[:, 0], features)
    )
    ids, _ = texts.rows([(question, 'A red box.') for question in QUESTIONS])
    backend = TorchBackend(checkpoint, ModelConfig(max_length=512, device='cpu'))
    backend.open()
    for row, question in enumerate(QUESTIONS):
        inputs = node_inputs(checkpoint, frames, question)
        seen = run_to_end(backend.encode(inputs.frames))
        spans = [
            FeatureSpan(start, one, 0, KEY.cells)
            for start, one in zip(inputs.prompt.image_starts, seen, strict=True)
        ]
        slot = backend.new_slot()
        last = len(inputs.prompt.token_ids) - 1
        expected = backend.forward(slot, Chunk(inputs.prompt.token_ids, tuple(spans)), [last])[0]
        backend.free_slot(slot)
        mine = network.logits(network.branch(kept, torch.from_numpy(ids)[None]))[
            0, row, len(texts.suffix(question)) - 1
        ]
        np.testing.assert_allclose(
            mine.numpy(), expected, atol=2e-4 * float(np.abs(expected).max())
        )
    backend.close()


def test_the_checkpoint_is_small_and_cut_in_blocks_of_128(checkpoint: Checkpoint) -> None:
    sizes = expected_shapes(checkpoint.shape)
    assert sum(math.prod(size) for name, size in sizes.items() if name != HEAD) <= 8_000_000
    assert {
        size[1] % 128 for name, size in sizes.items() if len(size) == 2 and 'patch' not in name
    } == {0}
    assert (checkpoint.path / 'model.safetensors').stat().st_size <= 16 * 1024 * 1024


def test_every_word_of_the_world_is_one_token(checkpoint: Checkpoint) -> None:
    assert [
        word for word in vocabulary() if len(checkpoint.tokenizer.encode_text(f' {word}')) > 1
    ] == []


def test_only_answers_are_learnt_from(texts: Texts) -> None:
    ids, targets = texts.rows([(QUESTIONS[0], 'Red.'), (QUESTIONS[1], 'Three things, say.')])
    for row, said in enumerate(('Red.', 'Three things, say.')):
        learnt = targets[row][targets[row] != IGNORED]
        assert texts.decode(learnt) == said and learnt[-1] == texts.end
        start = int(np.flatnonzero(targets[row] != IGNORED)[0])
        assert texts.decode(ids[row, start + 1 : start + len(learnt)]) == said, (
            'a target is the token after its input'
        )


def one_shard(frames: np.ndarray) -> Shard:
    """Returns a shard with a red (0) box (0) that moves two cells to the right (one in the small
    grid), seen in the first and the last frame; the rest is noise.
    """
    count = frames.shape[1]
    cells = np.full((1, count, sum(grid.cells for grid in GRIDS)), -1, np.int8)
    spots = np.full((1, count, MAX_THINGS, 3), np.nan, np.float32)
    cells[0, 0, [7, KEY.cells + 5]] = cells[0, -1, [9, KEY.cells + 6]] = 0
    spots[0, 0, 0], spots[0, -1, 0] = (1.5 / 6, 1.5 / 4, 6.0), (3.5 / 6, 1.5 / 4, 6.5)
    looks, motions = np.full((1, MAX_THINGS, 2), -1, np.int8), np.full((1, MAX_THINGS), -1, np.int8)
    looks[0, 0], motions[0, 0] = 0, 2
    return Shard(
        frames,
        cells,
        spots,
        looks,
        motions,
        [
            {
                'caption': 'I see one thing: a red box moving right.',
                'questions': [['colour', QUESTIONS[0], 'Red.']],
            }
        ],
    )


def test_cells_tell_what_they_show_and_how_far_it_moved(frames: np.ndarray) -> None:
    targets, last = cell_targets(one_shard(frames), [0], WHOLE), 3 * KEY.cells
    assert (
        targets.colour[0, 7] == 0 and targets.colour[0, 8] == 8 and targets.shape[0, last + 9] == 0
    )
    assert targets.place[0, 7].tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-5)
    assert targets.shift[0, last + 9, 3:].tolist() == pytest.approx([2.0, 0.0, 0.5], abs=1e-5)
    assert (
        targets.shift[0, 7].isnan().all()
        and targets.motion[0, last + 9] == 2
        and targets.motion[0, last + 7] == len(SEEN)
    )
    assert (targets.motion[0, :last] == -1).all(), 'only the last frame tells what moved'
    assert targets.is_middle[0, : KEY.cells].nonzero().flatten().tolist() == [7]


def test_cells_of_intermediate_frames_tell_the_same_in_their_own_measure(
    frames: np.ndarray,
) -> None:
    targets, last = (
        cell_targets(one_shard(frames), [0], COMPRESSED),
        KEY.cells + 2 * INTERMEDIATE.cells,
    )
    assert targets.colour.shape == (1, last + INTERMEDIATE.cells) and targets.colour[0, 7] == 0
    assert (
        targets.colour[0, last + 6] == 0
        and targets.colour[0, last + 5] == 8
        and targets.motion[0, last + 6] == 2
    )
    assert targets.is_middle[0, last:].nonzero().flatten().tolist() == [6]
    place = [4 * 3.5 / 6 - 2.5, 3 * 1.5 / 4 - 1.5, 0.5 + math.log(0.5)]
    assert targets.place[0, last + 6].tolist() == pytest.approx(place, abs=1e-5)
    assert targets.shift[0, last + 6, 3:].tolist() == pytest.approx([2.0, 0.0, 0.5], abs=1e-5), (
        'in cells of key frames'
    )


def test_a_cell_tells_that_what_it_showed_at_first_is_gone(frames: np.ndarray) -> None:
    shard = one_shard(frames)
    shard.motions[0, 0] = SEEN.index('gone')
    shard.cells[0, -1] = -1
    motion = cell_targets(shard, [0], WHOLE).motion[0, 3 * KEY.cells :]
    assert (motion == SEEN.index('gone')).nonzero().flatten().tolist() == [7]


def test_a_cell_shows_the_thing_that_covers_most_of_it_if_that_is_enough() -> None:
    segment = np.full((HEIGHT, WIDTH), -1, np.int32)
    segment[0:2, 0:12], segment[60:62, 60:71] = 0, 1  # 24 and 22 pixels of a cell of 28 x 28
    segment[28:40, 28:40], segment[28:56, 40:56] = 2, 3
    cells = cells_of(segment)
    assert {
        cell: thing for cell, thing in enumerate(cells[: KEY.cells].tolist()) if thing >= 0
    } == {0: 0, 7: 3}
    assert {
        cell: thing for cell, thing in enumerate(cells[KEY.cells :].tolist()) if thing >= 0
    } == {0: 2, 1: 3, 5: 3}


def test_two_things_of_each_clip_are_asked_about_by_what_they_do(
    texts: Texts, frames: np.ndarray
) -> None:
    shard = one_shard(frames)
    shard.motions[0, 0] = SEEN.index('right')
    batch = make_batch(shard, [0], texts, np.random.default_rng(0), 3)
    said = [
        texts.decode(row[row != IGNORED].tolist())
        for _, targets in batch.groups
        for row in targets[0].numpy()
    ]
    assert any(words.DOES['right'] in one for one in said)


def test_a_shard_is_read_as_it_was_written(tmp_path: Path, frames: np.ndarray) -> None:
    shard = one_shard(frames)
    write_shard(tmp_path / 's.npz', shard)
    again = read_shard(tmp_path / 's.npz')
    assert again.texts == shard.texts
    for name in ('frames', 'cells', 'spots', 'looks', 'motions'):
        np.testing.assert_array_equal(getattr(again, name), getattr(shard, name))


def test_shards_of_a_kind_may_hold_clips_of_other_lengths_in_turn() -> None:
    lengths = [KINDS['other'].of(number).frames for number in range(16)]
    assert set(lengths) == {2, 3, 4, 5, 6, 7, 8} and lengths[:8] == lengths[8:]
    assert KINDS['full'].of(3) == KINDS['full'] and KINDS['full'].frames == 4


@pytest.mark.slow  # a processor without bfloat16 instructions needs minutes for a few steps
@pytest.mark.timeout(3600)
def test_a_trainer_that_is_restored_goes_on_exactly(
    checkpoint: Checkpoint, texts: Texts, frames: np.ndarray
) -> None:
    batches = [
        make_batch(one_shard(frames), [0], texts, np.random.default_rng(seed), 3)
        for seed in range(3)
    ]
    unbroken, first, second = (Trainer(checkpoint.shape, seed, 'cpu') for seed in (1, 1, 2))
    for batch in batches:
        parts = unbroken.learn(batch, LossWeights(), 1e-3)
    for batch in batches[:2]:
        first.learn(batch, LossWeights(), 1e-3)
    second.restore(first.state())
    assert second.learn(batches[2], LossWeights(), 1e-3) == pytest.approx(parts)
    for name, value in unbroken.average.items():
        torch.testing.assert_close(second.average[name], value, msg=name)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_one_clip_is_learnt_by_heart(
    checkpoint: Checkpoint, texts: Texts, frames: np.ndarray
) -> None:
    trainer, random = Trainer(checkpoint.shape, 1, 'cpu'), np.random.default_rng(0)
    for _ in range(60):
        trainer.learn(make_batch(one_shard(frames), [0], texts, random, 3), LossWeights(), 3e-3)
    network = trainer.model.network.requires_grad_(False)
    assert captions(network, clip_prefix(network, frames, texts, WHOLE), texts, QUESTIONS[0]) == [
        'Red.'
    ]
