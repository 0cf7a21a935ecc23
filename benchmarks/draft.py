# SPDX-License-Identifier: Apache-2.0
"""What drafts bring: what a pass over several positions costs, and how long captions take with and
without them, in one run.

Costs are measured on the bundle given, at `--position` tokens. Captions come from a model that was
trained (random weights repeat themselves and prove nothing) and sees simulated scenes: `still`, one
picture whose sensor is noisy; `moving`, one scene that goes on; `new`, another scene for every
caption. They are decoded by that model, and then replayed on the bundle: each pass runs there at
its full size, and the tokens are those of the captions. So a small model's words are timed on a
large one.

    tools/random_checkpoint.py --shape 2b --dtype bfloat16 /tmp/2b
    penguin build /tmp/2b --precision int4 --out /tmp/2b_int4
    python benchmarks/draft.py /tmp/2b_int4 --captions TRAINED
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from penguin_ros.backends.base.backend import Backend, Chunk, GreedyToken
from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.backends.open_backend import make_backend
from penguin_ros.benchmark.machine import machine
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.config import DEFAULT_CAPTION_PROMPT, GenerationConfig, ModelConfig, VisualConfig
from penguin_ros.frame import Clip, Frame
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.speculative.draft_history import DraftHistory
from penguin_ros.model_inputs import ModelInputs, Prompt
from penguin_ros.preprocessing.clip_inputs import Preprocessor
from penguin_ros.requests.loaded_model import Model
from penguin_ros.steps import run_to_end

KINDS = ('still', 'moving', 'new')
FRAMES, FPS, MAX_TOKENS = 8, 2.0, 96
SENSOR_NOISE = 1.5
"""Standard deviation of a pixel of a still picture, of 255."""


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('bundle', type=Path, help='built by penguin build; its passes are timed')
    parser.add_argument(
        '--captions',
        type=Path,
        metavar='MODEL',
        help='bundle or checkpoint that captions the scenes',
    )
    parser.add_argument(
        '--count',
        type=int,
        default=12,
        help='captions of each kind of scene (default: %(default)s)',
    )
    parser.add_argument(
        '--draft-tokens', type=int, default=15, help='of one draft at most (default: %(default)s)'
    )
    parser.add_argument(
        '--position',
        type=int,
        default=700,
        help='tokens before those that are timed (default: %(default)s)',
    )
    parser.add_argument(
        '--rows', type=int, default=16, help='positions of a pass at most (default: %(default)s)'
    )
    parser.add_argument(
        '--rounds', type=int, default=7, help='measurements of each cost (default: %(default)s)'
    )
    parser.add_argument(
        '--threads', type=int, default=usable_cores(), help='(default: %(default)s)'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write every measurement')
    return parser.parse_args()


class Replay:
    """A backend that computes everything and then says what stands in `text`, behind a prompt of
    `position` tokens.
    """

    def __init__(self, backend: Backend, position: int) -> None:
        self._backend, self._position = backend, position
        self.text: Sequence[int] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def forward_greedy(self, slot: int, chunk: Chunk) -> GreedyToken:
        """The pass of the backend, the token of the text."""
        return self._said(slot, [self._backend.forward_greedy(slot, chunk)])[0]

    def forward_greedy_each(
        self, slot: int, chunk: Chunk, logits_indices: Sequence[int]
    ) -> list[GreedyToken]:
        """The same, for the last positions."""
        return self._said(slot, self._backend.forward_greedy_each(slot, chunk, logits_indices))

    def _said(self, slot: int, computed: list[GreedyToken]) -> list[GreedyToken]:
        end = self._backend.slot_length(slot) - self._position
        return [
            GreedyToken(self.text[min(index, len(self.text) - 1)], 0.0)
            for index in range(end - len(computed) + 1, end + 1)
        ]


def opened(path: Path, options: argparse.Namespace) -> tuple[Model, Backend]:
    """A bundle on ONNX Runtime or a checkpoint on PyTorch."""
    is_bundle = (path / 'bundle.yaml').exists()
    model: Model = open_bundle(path, is_thorough=False) if is_bundle else open_checkpoint(path)
    backend = make_backend(
        ModelConfig(
            device='cpu',
            kv_slots=1,
            threads=options.threads,
            max_length=2048,
            bundle=str(path) if is_bundle else '',
            checkpoint='' if is_bundle else str(path),
        ),
        model,
    )
    backend.open()
    return model, backend


def pass_costs(backend: Backend, options: argparse.Namespace) -> dict[int, list[float]]:
    """Seconds of passes over 1, 2, .. positions at `position`, all taken back, as decoding does
    with a wrong draft.
    """
    slot, random = backend.new_slot(), np.random.default_rng(0)

    def ids(count: int) -> Chunk:
        return Chunk(random.integers(0, backend.description.vocabulary_size, count))

    for begin in range(0, options.position, 256):
        backend.forward(slot, ids(min(256, options.position - begin)))
    costs: dict[int, list[float]] = {rows: [] for rows in range(1, options.rows + 1)}
    for number in range(options.rounds + 1):  # the first round pays for memory
        for rows, seconds in costs.items():
            start = time.perf_counter()
            backend.forward_greedy_each(slot, ids(rows), range(rows))
            backend.truncate(slot, options.position)
            seconds += [time.perf_counter() - start] * bool(number)
    backend.free_slot(slot)
    return costs


def scenes(kind: str, count: int) -> Iterator[np.ndarray]:
    """(FRAMES, height, width, 3) for each caption."""
    from penguin_ros.simulation.clips import HELD_OUT
    from penguin_ros.simulation.random_scene import random_scene
    from penguin_ros.simulation.world import World

    random, seconds = np.random.default_rng(0), FRAMES / FPS
    with World() as world:
        world.load(
            random_scene(
                HELD_OUT[0], seconds=seconds * (count + 1) if kind == 'moving' else seconds
            )
        )
        still = world.render(0.0)
        for number in range(count):
            if kind == 'new':
                world.load(random_scene(HELD_OUT[number], seconds=seconds))
            first = number * seconds / 2 if kind == 'moving' else 0.0
            images = (
                [world.render(first + index / FPS) for index in range(FRAMES)]
                if kind != 'still'
                else [still] * FRAMES
            )
            noise = random.normal(0, SENSOR_NOISE, (FRAMES, *still.shape))
            yield np.clip(np.stack(images) + noise.round(), 0, 255).astype(np.uint8)


def prompts(model: Model, kind: str, count: int) -> Iterator[ModelInputs]:
    """What the model is asked about each scene."""
    preprocessor = Preprocessor(model.shape, model.tokenizer, VisualConfig(policy='fixed'))
    for images in scenes(kind, count):
        frames = tuple(
            Frame(round(index * 1e9 / FPS), image, 'camera') for index, image in enumerate(images)
        )
        yield preprocessor.clip_inputs(Clip('camera', frames), DEFAULT_CAPTION_PROMPT)


class Sides:
    """The same prompts decoded with and without drafts, in turns; the drafts remember, as those of
    a camera.
    """

    def __init__(
        self, backend: Backend, stop_token_ids: tuple[int, ...], draft_tokens: int
    ) -> None:
        self._caches, self._stop_token_ids = Caches(backend, is_keeping_slots=True), stop_token_ids
        self._draft_tokens, self._memory = draft_tokens, DraftHistory()

    def decode(self, inputs: ModelInputs) -> tuple[GenerationOutput, GenerationOutput]:
        """Without and with."""
        history = self._memory.for_prompt('camera')
        done = []
        for draft_tokens in (0, self._draft_tokens):
            sampling = GenerationConfig(draft_tokens=draft_tokens, max_repeats=0)
            params = SamplingParams(MAX_TOKENS, self._stop_token_ids, sampling)
            output = GenerationOutput(Detokenizer(lambda token_id: b''))
            clock = time.perf_counter_ns
            run_to_end(generate(self._caches, inputs, params, output, clock, history))
            done.append(output)
        history.keep(done[1].token_ids, is_complete=True)
        return done[0], done[1]

    def close(self) -> None:
        """Gives the slots back."""
        self._caches.prefix_cache.free_kept()


def row(
    side: str, kind: str, pairs: Sequence[tuple[GenerationOutput, GenerationOutput]]
) -> dict[str, Any]:
    """Of all captions but the first, before which nothing can be drafted."""
    plain, drafted = zip(*pairs[1:], strict=True)
    tokens = sum(len(each.token_ids) - 1 for each in drafted)
    return {
        'side': side,
        'scene': kind,
        'tokens': tokens / len(drafted),
        'passes per token': sum(each.stats.forward_passes - 1 for each in drafted) / tokens,
        'drafts right': sum(each.stats.accepted_tokens for each in drafted)
        / max(1, sum(each.stats.drafted_tokens for each in drafted)),
        'decode : plain': sum(each.stats.decode_ns for each in drafted)
        / sum(each.stats.decode_ns for each in plain),
        'same texts': f'{sum(a.token_ids == b.token_ids for a, b in pairs)} of {len(pairs)}',
    }


def caption_rows(options: argparse.Namespace, target: Backend) -> list[dict[str, Any]]:
    """Of the captioning model itself, and of its captions replayed on the bundle."""
    model, backend = opened(options.captions, options)
    stops, random = model.shape.stop_token_ids, np.random.default_rng(1)
    random_prompt = Prompt(
        '', random.integers(0, target.description.vocabulary_size - 1, options.position)
    )
    replay, inputs = (
        Replay(target, options.position),
        ModelInputs(random_prompt, (), target.description.vocabulary_size),
    )
    table = []
    for kind in KINDS:
        own, replayed = (
            Sides(backend, stops, options.draft_tokens),
            Sides(replay, stops, options.draft_tokens),
        )  # type: ignore[arg-type]
        pairs = [own.decode(each) for each in prompts(model, kind, max(2, options.count))]
        again = []
        for plain, _ in pairs:
            replay.text = plain.token_ids
            again.append(replayed.decode(inputs))
        table += [
            row(model.name, kind, pairs),
            row(f'replayed on {options.bundle.name}', kind, again),
        ]
        own.close()
        replayed.close()
    backend.close()
    return table


def main() -> None:
    """Prints tables in Markdown."""
    options = parsed()
    load, (model, backend) = os.getloadavg()[0], opened(options.bundle, options)
    costs = pass_costs(backend, options)
    plain = statistics.median(costs[1])
    print(
        f'{model.name}, position {options.position}, medians of {options.rounds}; {machine(options.threads)}, load {load:.1f} '
        'at the start\n\n| positions of a pass | ms | : one | per position |\n|---|---|---|---|'
    )
    for rows, seconds in costs.items():
        cost = statistics.median(seconds)
        print(f'| {rows} | {1e3 * cost:.1f} | {cost / plain:.2f} | {cost / plain / rows:.2f} |')
    table = caption_rows(options, backend) if options.captions else []
    if table:
        print('\n| ' + ' | '.join(table[0]) + ' |\n|' + '---|' * len(table[0]))
    for each in table:
        print(
            '| '
            + ' | '.join(
                f'{value:.2f}' if isinstance(value, float) else str(value)
                for value in each.values()
            )
            + ' |'
        )
    if options.json:
        options.json.write_text(json.dumps({'costs': costs, 'captions': table}, indent=1))


if __name__ == '__main__':
    main()
