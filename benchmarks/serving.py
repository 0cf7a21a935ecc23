# SPDX-License-Identifier: Apache-2.0
"""What it costs to ask a served engine instead of one in the same process, and what JPEG costs.

    python benchmarks/serving.py latency              # serve against in-process, one client
    python benchmarks/serving.py clients              # 1, 4 and 16 clients at once
    python benchmarks/serving.py clients --url URL    # of a server that runs already
    python benchmarks/serving.py jpeg                 # bytes, and answers lost (needs mujoco)
    python benchmarks/serving.py bytes --film FILE    # bytes of real pictures, and CPU of encoding

The small model that is included answers, on this machine; the server is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import queue
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
from markdown_table import print_table
from served_clips import FRAMES, QUESTION, Plans, as_jpeg, body_of, clip, through_jpeg

from penguin_ros.config import PenguinConfig
from penguin_ros.dialogue import SaidMessage, ShownVideo
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.frame import NANOSECONDS, Frame
from penguin_ros.media.recordings import open_recording
from penguin_ros.pipeline import Pipeline
from penguin_ros.remote.frame_pictures import FramePictures
from penguin_ros.request import Answer, Request, TextPiece
from penguin_ros.settings import with_values
from penguin_ros.shipped import MODEL
from penguin_ros.simulation.clips import HELD_OUT, make_clip
from penguin_ros.simulation.scoring import score_answer, wilson

SCENE_SIZE = 168, 112
"""Width and height at which the small model is scored."""
QUALITIES = 5, 10, 25, 50, 75, 90, 95
TICKS = 100.0
"""Ticks of /proc/PID/stat in a second, as Linux has them."""


def config() -> PenguinConfig:
    values = {'model.checkpoint': MODEL, 'question.queue_length': 64, 'question.max_tokens': 64}
    chosen = with_values(PenguinConfig(), values)
    return dataclasses.replace(chosen, model=with_bundle(chosen.model))


# --- asking ---------------------------------------------------------------------------------------


HEADS = 'first p50', 'first p95', 'whole p50', 'whole p95', 'added p50', 'added p95'


@dataclass
class Times:
    """Milliseconds to the first piece of text and to the end; `added`: those to the first piece
    that the engine did not take, by its own evidence of the same answer.
    """

    first: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        return [
            f'{percentile(self.first, 50):.1f}',
            f'{percentile(self.first, 95):.1f}',
            f'{percentile(self.whole, 50):.1f}',
            f'{percentile(self.whole, 95):.1f}',
            f'{percentile(self.added, 50):.1f}',
            f'{percentile(self.added, 95):.1f}',
        ]


def show(heads: list[str], rows: list[list[str]]) -> None:
    print_table([dict(zip(heads, row, strict=True)) for row in rows])


def percentile(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else float('nan')


def ask_here(pipeline: Pipeline, video: ShownVideo, question: str, times: Times) -> Answer:
    """Asks the engine in this process."""
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    first: list[float] = []

    def on_piece(piece: TextPiece) -> None:
        if not first:
            first.append(time.perf_counter())

    start = time.perf_counter()
    said = (SaidMessage('user', (video, question)),)
    pipeline.submit(Request('', question, dialogue=said), answers.put, on_piece)
    answer = answers.get()
    assert answer.error is None, answer.error
    times.first.append(1000 * (first[0] - start))
    times.added.append(times.first[-1] - answer.evidence.first_token_ns / 1e6)
    times.whole.append(1000 * (time.perf_counter() - start))
    return answer


async def ask_there(session: aiohttp.ClientSession, url: str, body: bytes, times: Times) -> None:
    """Asks a server."""
    start, first, of_engine = time.perf_counter(), 0.0, 0.0
    headers = {'Content-Type': 'application/json'}
    async with session.post(f'{url}/chat/completions', data=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if not first and b'"content":"' in line and b'"content":""' not in line:
                first = time.perf_counter()
            if b'"first_token_ns":' in line:
                chunk = json.loads(line.removeprefix(b'data: '))
                of_engine = chunk['penguin']['evidence']['first_token_ns'] / 1e6
    times.first.append(1000 * (first - start))
    times.added.append(times.first[-1] - of_engine)
    times.whole.append(1000 * (time.perf_counter() - start))


@contextlib.contextmanager
def engine() -> Iterator[tuple[Pipeline, PenguinConfig]]:
    settings = config()
    pipeline = Pipeline(settings, (), now_ns=time.time_ns)
    pipeline.open()
    pipeline.activate()
    try:
        yield pipeline, settings
    finally:
        pipeline.close()


@contextlib.contextmanager
def server() -> Iterator[tuple[str, Callable[[], float]]]:
    """A server of its own; yields its address and a function for its CPU seconds."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    words = [sys.executable, '-m', 'penguin_ros.cli.entry', 'serve', '--port', str(port)]
    model = config().model
    words += ['--bundle', model.bundle] if model.bundle else ['--checkpoint', model.checkpoint]
    process = subprocess.Popen(
        [*words, '--set', 'question.queue_length=64', '--max-tokens', '64', '--model-name', MODEL],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert 'Serving' in process.stdout.readline()
        yield f'http://127.0.0.1:{port}/v1', lambda: cpu_seconds(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def cpu_seconds(pid: int) -> float:
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


# --- latency --------------------------------------------------------------------------------------


def latency(count: int) -> None:
    """One client, one question after the other: about new clips, and again about the same one."""
    rows = []
    with engine() as (pipeline, settings):
        plans, pictures = Plans(pipeline, settings), FramePictures(1 << 28)
        videos = [plans.video(clip(number)) for number in range(count + 3)]
        bodies = [body_of(as_jpeg(video, 90, pictures)) for video in videos]
        known = [
            body_of([{k: v for k, v in frame.items() if k != 'image'} for frame in sent])
            for sent in (as_jpeg(video, 90, pictures) for video in videos)
        ]
        for name, again in (('new clips', False), ('the same clip again', True)):
            times = Times()
            for video in videos[:3]:
                ask_here(pipeline, video, QUESTION, Times())
            before = time.process_time()
            for video in videos[3:]:
                ask_here(pipeline, videos[2] if again else video, QUESTION, times)
            used = (time.process_time() - before) / count
            rows.append([name, 'in this process', *times.cells(), f'{1000 * used:.1f}', '–'])
    with server() as (url, cpu):
        for name, sent, again in (
            ('new clips', bodies, False),
            ('the same clip again', bodies, True),
            ('the same clip again, by uuid', known, True),
        ):
            times = Times()
            asked = [sent[2] if again else body for body in sent[3:]]
            warm = bodies[:3]
            server_s, client_s = asyncio.run(one_by_one(url, warm, asked, times, cpu))
            cells = [f'{1000 * server_s / count:.1f}', f'{1000 * client_s / count:.1f}']
            rows.append([name, 'served', *times.cells(), *cells])
    size = statistics.mean(map(len, bodies)), statistics.mean(map(len, known))
    heads = ['asked about', 'engine', *HEADS]
    show([*heads, 'CPU engine', 'CPU client'], rows)
    print(f'\nbodies: {size[0]:.0f} bytes with pictures, {size[1]:.0f} by uuid; times in ms')


async def one_by_one(
    url: str, warm: list[bytes], bodies: list[bytes], times: Times, cpu: Callable[[], float]
) -> tuple[float, float]:
    async with aiohttp.ClientSession() as session:
        for body in warm:
            await ask_there(session, url, body, Times())
        before, mine = cpu(), time.process_time()
        for body in bodies:
            await ask_there(session, url, body, times)
        return cpu() - before, time.process_time() - mine


# --- many clients ---------------------------------------------------------------------------------


def clients(count: int, url: str, numbers: list[int]) -> None:
    """Some clients at once, each with a camera of its own and new clips all the time."""
    rows = []
    with engine() as (pipeline, settings):
        plans, pictures = Plans(pipeline, settings), FramePictures(1 << 28)
        sent = [
            body_of(as_jpeg(plans.video(clip(index)), 90, pictures))
            for index in range((count + 1) * len(numbers))
        ]
    with contextlib.ExitStack() as stack:
        for place, number in enumerate(numbers):
            # A server that stays has seen the others, and the first one warms it up.
            bodies = sent[place * (count + 1) :][: count + 1]
            address, cpu = (url, lambda: 0.0) if url else stack.enter_context(server())
            times, used = Times(), -cpu()
            seconds = asyncio.run(at_once(address, bodies, number, times))
            used += cpu()
            each = f'{1000 * used / count:.0f}' if not url else '–'
            rows.append([str(number), f'{count / seconds:.2f}', *times.cells(), each])
            stack.close()
    heads = ['clients', 'answers per second', *HEADS, 'CPU ms an answer']
    show(heads, rows)


async def at_once(url: str, bodies: list[bytes], number: int, times: Times) -> float:
    waiting = asyncio.Queue[bytes]()
    for body in bodies[1:]:
        waiting.put_nowait(body)

    async def client(name: str) -> None:
        async with aiohttp.ClientSession(headers={'X-Session-Id': name}) as session:
            while not waiting.empty():
                await ask_there(session, url, waiting.get_nowait(), times)

    async with aiohttp.ClientSession(headers={'X-Session-Id': 'warm'}) as session:
        await ask_there(session, url, bodies[0], Times())
    start = time.perf_counter()
    await asyncio.gather(*(client(f'robot{each}') for each in range(number)))
    return time.perf_counter() - start


# --- JPEG -----------------------------------------------------------------------------------------


def jpeg(scenes: int) -> None:
    """The same questions about the same scenes: raw frames, and the same frames as JPEG."""
    from penguin_ros.simulation.world import World

    right: dict[int, list[bool]] = {quality: [] for quality in (0, *QUALITIES)}
    texts: dict[int, list[str]] = {quality: [] for quality in right}
    sizes: dict[int, list[int]] = {quality: [] for quality in right}
    raw_bytes = []
    with engine() as (pipeline, settings), World(*SCENE_SIZE) as world:
        plans = Plans(pipeline, settings)
        for seed in HELD_OUT[:scenes]:
            shown = make_clip(world, seed, 3, FRAMES, 2.0, 6)
            frames = [
                Frame(round(stamp * NANOSECONDS), image, 'front')
                for stamp, image in zip(shown.stamps, shown.frames, strict=True)
            ]
            video = plans.video(frames)
            raw_bytes.append(sum(frame.image.nbytes for frame in frames))
            for quality in right:
                sent = video if not quality else through_jpeg(video, quality, sizes[quality])
                for item in shown.questions:
                    answer = ask_here(pipeline, sent, item.question, Times())
                    right[quality].append(score_answer(answer.text, item.answer))
                    texts[quality].append(answer.text)
    rows = []
    for quality, answers in right.items():
        share = wilson(sum(answers), len(answers))
        lost = sum(a and not b for a, b in zip(right[0], answers, strict=True))
        won = sum(b and not a for a, b in zip(right[0], answers, strict=True))
        same = sum(a == b for a, b in zip(texts[0], texts[quality], strict=True))
        size = statistics.mean(sizes[quality]) if quality else statistics.mean(raw_bytes)
        rows.append(
            [
                f'JPEG {quality}' if quality else 'raw',
                f'{size / 1000:.1f}',
                f'{share.value:.1%} ({share.low:.1%} to {share.high:.1%})',
                f'{100 * (won - lost) / len(answers):+.2f}',
                f'{lost} / {won}',
                f'{same / len(answers):.1%}',
            ]
        )
    heads = ['frames', 'kB a clip', 'right', 'points', 'lost / won', 'the same text']
    show(heads, rows)
    print(f'\n{len(right[0])} questions about {scenes} scenes of {FRAMES} frames')


def film_bytes(path: Path) -> None:
    """Clips of a film, a frame every half second, as a node sends them."""
    rows = []
    with engine() as (pipeline, settings):
        plans = Plans(pipeline, settings)
        recording = open_recording(path)
        frames = [Frame(time_ns, image) for time_ns, image in recording.frames(2.0)]
        starts = range(0, len(frames) - FRAMES + 1, FRAMES)
        videos = [plans.video(frames[start : start + FRAMES]) for start in starts]
    raw = statistics.mean(sum(frame.image.nbytes for frame in each.frames) for each in videos)
    at_size = statistics.mean(sum(3 * a * b for a, b in each.sizes) for each in videos)
    rows += [['raw', f'{raw / 1000:.0f}', '–'], ['raw, at the size', f'{at_size / 1000:.0f}', '–']]
    for quality in QUALITIES[3:]:
        sizes: list[int] = []
        before = time.process_time()
        for video in videos:
            sent = as_jpeg(video, quality, FramePictures(1 << 28))
            sizes.append(sum(len(each['image']) * 3 // 4 for each in sent))
        used = 1000 * (time.process_time() - before) / len(videos)
        rows.append([f'JPEG {quality}', f'{statistics.mean(sizes) / 1000:.1f}', f'{used:.1f}'])
    show(['frames', 'kB a clip', 'CPU ms a clip'], rows)
    print(
        f'{len(videos)} clips of {FRAMES} frames, of {frames[0].size} pixels, as {videos[0].sizes}'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('what', choices=('latency', 'clients', 'jpeg', 'bytes'))
    parser.add_argument('--count', type=int, default=60, help='requests, or scenes')
    parser.add_argument('--url', default='', help='of a server that runs already, with /v1')
    parser.add_argument('--numbers', type=int, nargs='+', default=[1, 4, 16])
    parser.add_argument('--film', type=Path, default=Path('film.mp4'))
    given = parser.parse_args()
    if given.what == 'latency':
        latency(given.count)
    elif given.what == 'clients':
        clients(given.count, given.url, given.numbers)
    elif given.what == 'bytes':
        film_bytes(given.film)
    else:
        jpeg(given.count)


if __name__ == '__main__':
    main()
