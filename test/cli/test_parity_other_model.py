# SPDX-License-Identifier: Apache-2.0
"""`penguin parity` on a folder made here: another checkpoint layout and vocabulary, other sizes, no
values of the reference.

The values come from our own network, each step recomputed from an empty slot in one forward; so
this shows that chunks and the KV cache change nothing and that any folder of the format can be
read, not that the numbers are Penguin-VL's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from penguin_ros.backends.base.backend import Backend, Features
from penguin_ros.backends.torch.backend import TorchBackend
from penguin_ros.checkpoint.checkpoint import Checkpoint, open_checkpoint
from penguin_ros.cli import exit_codes
from penguin_ros.cli.main import main
from penguin_ros.config import ModelConfig, VisualConfig
from penguin_ros.generation.chunks import prompt_chunks
from penguin_ros.model_inputs import ModelInputs, Prompt
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.preprocessing.prompt import Message, TextPart, VideoPart
from penguin_ros.steps import run_to_end
from penguin_ros.testing.random_checkpoint import Variant, write_random_checkpoint

pytest.importorskip('torch', reason='torch is not installed')

TIMES = (0.0, 0.35, 0.7)
STEPS = 6


def recomputed(
    backend: Backend, inputs: ModelInputs, features: Sequence[Features], tokens: list[int]
) -> np.ndarray:
    """The logits of all positions of prompt and tokens, computed from an empty slot."""
    ids = np.concatenate([inputs.prompt.token_ids, np.array(tokens, np.int64)])
    longer = ModelInputs(
        Prompt('', ids, inputs.prompt.image_starts), inputs.frames, inputs.image_token_id
    )
    (chunk,) = prompt_chunks(longer, features, len(ids))
    slot = backend.new_slot()
    logits = backend.forward(slot, chunk, range(len(ids)))
    backend.free_slot(slot)
    return logits


def values_of(checkpoint: Checkpoint, backend: Backend) -> dict[str, np.ndarray]:
    """Makes a case: a video of three frames, one of them new, under a small budget."""
    noise = np.random.default_rng(5).integers(0, 256, (2, 120, 90, 3)).astype(np.uint8)
    frames = np.stack([noise[0], noise[0], noise[1]])
    messages = [Message('user', (VideoPart(TIMES, 3), TextPart('What now?')))]
    inputs = Preprocessor(checkpoint.shape, checkpoint.tokenizer, VisualConfig()).messages_inputs(
        messages, [list(frames)], 60
    )
    features = run_to_end(backend.encode(inputs.frames))
    prompt_logits = recomputed(backend, inputs, features, [])
    steps = [prompt_logits[-1]]
    tokens: list[int] = []
    while len(tokens) < STEPS:
        tokens.append(int(steps[-1].argmax()))
        steps.append(recomputed(backend, inputs, features, tokens)[-1])
    return {
        'prompt': np.array(inputs.prompt.text),
        'input_ids': inputs.prompt.token_ids[None],
        'frames': frames,
        'timestamps': np.array(TIMES),
        'max_tokens': np.array(60),
        'merge_size': np.array(2),
        'frame_types': np.array([frame.type for frame in inputs.frames]),
        'grid_sizes': np.array([(1, frame.rows, frame.columns) for frame in inputs.frames]),
        'projected': np.concatenate([backend.read_features(item) for item in features]),
        'logits_argmax': prompt_logits.argmax(axis=-1),
        'step_logits': np.stack(steps[:STEPS]),
        'generated': np.array(tokens),
    }


@pytest.mark.parametrize('layout', ['nested', 'flat'])
def test_any_folder_of_the_format_can_be_compared(tmp_path: Path, layout: str) -> None:
    variant = Variant(encoder_config='inside', shards=2, is_tied=layout == 'nested')
    checkpoint = open_checkpoint(
        write_random_checkpoint(tmp_path / 'checkpoint', seed=3, layout=layout, variant=variant)
    )
    backend = TorchBackend(checkpoint, ModelConfig(device='cpu', precision='float32', threads=1))
    backend.open()
    values = values_of(checkpoint, backend)
    backend.close()
    (tmp_path / 'cases').mkdir()
    np.savez(tmp_path / 'cases' / 'clip.npz', **values)  # type: ignore[arg-type]
    record = tmp_path / 'record.json'
    code = main(
        [
            'parity',
            str(tmp_path),
            '--device',
            'cpu',
            '--set',
            'model.prefill_chunk=7',
            '--set',
            'model.threads=1',
            '--json',
            str(record),
        ]
    )
    stages = {stage['stage']: stage for stage in json.loads(record.read_text())['cases']['clip']}
    assert code == exit_codes.DONE, stages
    assert len(set(values['frame_types'].tolist())) == 2
    assert {name for name, stage in stages.items() if stage['verdict'] == 'not given'} == {
        'pixels',
        'encoder',
        'last logits',
    }
    assert stages['step logits']['error'] < 1e-5
