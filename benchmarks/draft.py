# SPDX-License-Identifier: Apache-2.0
"""What drafts bring: what a pass over several positions costs, and how long captions take with and
without them, in one run.

Costs are measured on the given bundle, at `--position` tokens. Captions come from a model that was
trained (random weights repeat themselves and prove nothing) and sees simulated scenes: `still`, one
image from a noisy sensor; `moving`, one scene that goes on; `new`, another scene for every caption.
They are decoded by that model and then replayed on the bundle: each pass runs there at its full
size, and the tokens are those of the captions. So the words of a small model are timed on a large
one.

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
from markdown_table import print_table

from penguin_ros.backends.base.backend import Backend, Chunk, GreedyToken
from penguin_ros.backends.onnxruntime.providers import usable_cores
from penguin_ros.benchmark.engine.model import Opened, open_target
from penguin_ros.benchmark.live.drafts import pass_seconds
from penguin_ros.benchmark.machine import machine
from penguin_ros.benchmark.tasks import Target
from penguin_ros.config import DEFAULT_CAPTION_PROMPT, GenerationConfig
from penguin_ros.frame import Clip, Frame
from penguin_ros.generation.caches import Caches
from penguin_ros.generation.detokenizer import Detokenizer
from penguin_ros.generation.generate import generate
from penguin_ros.generation.output import GenerationOutput
from penguin_ros.generation.params import SamplingParams
from penguin_ros.generation.speculative.draft_history import DraftHistory
from penguin_ros.model_inputs import ModelInputs, Prompt
from penguin_ros.steps import run_to_end

KINDS = ('still', 'moving', 'new')
FRAMES, FPS, MAX_TOKENS = 8, 2.0, 96
SENSOR_NOISE = 1.5
"""Standard deviation of a pixel of a still image, of 255."""


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('bundle', type=Path, help='built by penguin build; its passes are timed')
    parser.add_argument(
        '--position',
        type=int,
        default=700,
        help='tokens before those that are timed (default: %(default)s)',
    )
    parser.add_argument(
        '--rows', type=int, default=16, help='most positions of a pass (default: %(default)s)'
    )
    parser.add_argument(
        '--rounds', type=int, default=7, help='measurements of each cost (default: %(default)s)'
    )
    parser.add_argument(
        '--threads', type=int, default=usable_cores(), help='(default: %(default)s)'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write every measurement')
    _add_caption_arguments(parser)
    return parser.parse_args()


def _add_caption_arguments(parser: argparse.ArgumentParser) -> None:
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
        '--draft-tokens',
        type=int,
        default=15,
        help='most tokens of one draft (default: %(default)s)',
    )


class Replay:
    """A backend that computes everything, but says the tokens of `text` behind a prompt of
    `position` tokens.
    """

    def __init__(self, backend: Backend, position: int) -> None:
        self._backend = backend
        self._position = position
        self.text: Sequence[int] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def forward_greedy(self, slot: int, chunk: Chunk) -> GreedyToken:
        """Runs the pass of the backend and returns the token of the text."""
        return self._said(slot, [self._backend.forward_greedy(slot, chunk)])[0]

    def forward_greedy_each(
        self, slot: int, chunk: Chunk, logits_indices: Sequence[int]
    ) -> list[GreedyToken]:
        """Does the same for the last positions."""
        return self._said(slot, self._backend.forward_greedy_each(slot, chunk, logits_indices))

    def _said(self, slot: int, computed: list[GreedyToken]) -> list[GreedyToken]:
        end = self._backend.slot_length(slot) - self._position
        return [
            GreedyToken(self.text[min(index, len(self.text) - 1)], 0.0)
            for index in range(end - len(computed) + 1, end + 1)
        ]


def opened(path: Path, options: argparse.Namespace) -> Opened:
    """A bundle on ONNX Runtime or a checkpoint on PyTorch, on the CPU."""
    settings = {
        'model.device': 'cpu',
        'model.threads': options.threads,
        'model.max_length': 2048,
        'visual.policy': 'fixed',
    }
    return open_target(Target(str(path), settings=settings))


def pass_costs(backend: Backend, options: argparse.Namespace) -> dict[int, list[float]]:
    """The seconds of passes over 1, 2, .. positions behind `position` random tokens."""
    random = np.random.default_rng(0)
    vocabulary_size = backend.description.vocabulary_size
    slot = backend.new_slot()
    for begin in range(0, options.position, 256):
        size = min(256, options.position - begin)
        backend.forward(slot, Chunk(random.integers(0, vocabulary_size, size)))
    costs = pass_seconds(
        lambda chunk, indices: backend.forward_greedy_each(slot, chunk, indices),
        lambda: backend.truncate(slot, options.position),
        vocabulary_size,
        range(1, options.rows + 1),
        options.rounds,
    )
    backend.free_slot(slot)
    return costs


def scenes(kind: str, count: int) -> Iterator[np.ndarray]:
    """Yields images (FRAMES, height, width, 3) for each caption."""
    from penguin_ros.simulation.clips import HELD_OUT
    from penguin_ros.simulation.random_scene import random_scene
    from penguin_ros.simulation.world import World

    random = np.random.default_rng(0)
    seconds = FRAMES / FPS
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


def prompts(captioner: Opened, kind: str, count: int) -> Iterator[ModelInputs]:
    """Yields what the model is asked about each scene."""
    preprocessor = captioner.preprocessor()
    for images in scenes(kind, count):
        frames = tuple(
            Frame(round(index * 1e9 / FPS), image, 'camera') for index, image in enumerate(images)
        )
        yield preprocessor.clip_inputs(Clip('camera', frames), DEFAULT_CAPTION_PROMPT)


class DraftedAndPlain:
    """Decodes the same prompts without and with drafts, in turns. The drafts remember earlier texts
    as those of a camera do.
    """

    def __init__(
        self, backend: Backend, stop_token_ids: tuple[int, ...], draft_tokens: int
    ) -> None:
        self._caches = Caches(backend, is_keeping_slots=True)
        self._stop_token_ids = stop_token_ids
        self._draft_tokens = draft_tokens
        self._memory = DraftHistory()

    def decode(self, inputs: ModelInputs) -> tuple[GenerationOutput, GenerationOutput]:
        """Returns the text made without drafts, and the one made with them."""
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
    model: str, kind: str, pairs: Sequence[tuple[GenerationOutput, GenerationOutput]]
) -> dict[str, Any]:
    """Sums over all captions but the first, before which nothing can be drafted."""
    plain, drafted = zip(*pairs[1:], strict=True)
    tokens = sum(len(each.token_ids) - 1 for each in drafted)
    return {
        'model': model,
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
    """A row per kind of scene for the captioning model, and one for its captions replayed on the
    bundle.
    """
    captioner = opened(options.captions, options)
    stops = captioner.model.shape.stop_token_ids
    vocabulary_size = target.description.vocabulary_size
    ids = np.random.default_rng(1).integers(0, vocabulary_size - 1, options.position)
    inputs = ModelInputs(Prompt('', ids), (), vocabulary_size)
    replay: Any = Replay(target, options.position)
    table = []
    for kind in KINDS:
        own = DraftedAndPlain(captioner.backend, stops, options.draft_tokens)
        replayed = DraftedAndPlain(replay, stops, options.draft_tokens)
        pairs = [own.decode(each) for each in prompts(captioner, kind, max(2, options.count))]
        again = []
        for plain, _ in pairs:
            replay.text = plain.token_ids
            again.append(replayed.decode(inputs))
        table.append(row(captioner.model.name, kind, pairs))
        table.append(row(f'replayed on {options.bundle.name}', kind, again))
        own.close()
        replayed.close()
    captioner.backend.close()
    return table


def main() -> None:
    """Prints tables in Markdown."""
    options = parsed()
    load = os.getloadavg()[0]
    target = opened(options.bundle, options)
    costs = pass_costs(target.backend, options)
    plain = statistics.median(costs[1])
    print(
        f'{target.model.name}, position {options.position}, medians of {options.rounds}; '
        f'{machine(options.threads)}, load {load:.1f} at the start\n'
    )
    medians = {size: statistics.median(seconds) for size, seconds in costs.items()}
    print_table(
        [
            {
                'positions of a pass': size,
                'ms': f'{1e3 * cost:.1f}',
                ': one': cost / plain,
                'per position': cost / plain / size,
            }
            for size, cost in medians.items()
        ]
    )
    table = caption_rows(options, target.backend) if options.captions else []
    if table:
        print()
        print_table(table)
    if options.json:
        options.json.write_text(json.dumps({'costs': costs, 'captions': table}, indent=1))


if __name__ == '__main__':
    main()
