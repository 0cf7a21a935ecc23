# SPDX-License-Identifier: Apache-2.0
"""On a real cluster of two nodes each clip is written once, though engines, a node and the driver
are killed in the middle.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.bags import SECOND, START, write_bag
from support.listening import open_addresses
from support.ray_cluster import RayCluster, processes, ray_environment, ray_python
from support.ray_deployment import marked_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

RECORDINGS, SECONDS, CLIP_SECONDS = 3, 60, 2
RUN_SECONDS = 600.0


def film(path: Path, level: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 4, (160, 96))
    for number in range(4 * SECONDS):
        image = np.full((96, 160, 3), level, np.uint8)
        cv2.circle(image, (number % 160, 48), 16, (0, 0, 255), -1)
        writer.write(image)
    writer.release()


def index(cluster: RayCluster, sources: list[Path], out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(ray_python(), '-m', 'penguin_ros.cli.entry', 'index', *map(str, sources)),
            *('--out', str(out), '--ray', cluster.address, '--workers', '2'),
            *('--checkpoint', 'penguin_sim', '--clip-seconds', str(CLIP_SECONDS)),
            *('--set', 'model.threads=1'),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ray_environment(),
        start_new_session=True,
    )


def wait_for_clips(path: Path, count: int, driver: subprocess.Popen[str]) -> None:
    end = time.monotonic() + RUN_SECONDS
    while not path.exists() or path.read_bytes().count(b'\n') < count:
        assert time.monotonic() < end and driver.poll() is None, 'too few clips were written'
        time.sleep(0.2)


def read_parquet(path: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The columns with their types, and the rows, as pyarrow reads them beside Ray."""
    program = (
        'import json, sys, pyarrow.parquet; table = pyarrow.parquet.read_table(sys.argv[1]);'
        'types = {each.name: str(each.type) for each in table.schema};'
        'print(json.dumps([types, table.to_pylist()]))'
    )
    done = subprocess.run(
        [ray_python(), '-c', program, str(path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    types, rows = json.loads(done.stdout)
    return types, rows


def test_two_nodes_with_kills(tmp_path: Path) -> None:
    sources = [tmp_path / f'day{number}.avi' for number in range(RECORDINGS)]
    for number, path in enumerate(sources):
        film(path, 60 * number + 40)
    torn = tmp_path / 'torn.avi'
    torn.write_bytes(sources[0].read_bytes()[:400])
    out, chance = tmp_path / 'captions.jsonl', random.Random(5)
    with marked_cluster() as cluster:
        driver = index(cluster, [*sources, torn], out)
        wait_for_clips(out, 8, driver)
        os.kill(chance.choice(processes('ray::SpanCaptioner', str(os.getpid()))), signal.SIGKILL)
        wait_for_clips(out, 16, driver)
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        with out.open('ab') as file:
            file.write(b'{"torn')
        driver = index(cluster, [*sources, torn], out)
        wait_for_clips(out, 32, driver)
        assert open_addresses(processes('', str(os.getpid()))) == set()
        cluster.tell('kill')
        told, _ = driver.communicate(timeout=RUN_SECONDS)
    assert driver.returncode == 1, told  # for the torn one
    lines = Counter(
        (line['recording'], line['begin_ns'])
        for line in map(json.loads, out.read_text().splitlines())
    )
    clips = SECONDS // CLIP_SECONDS
    assert set(lines.values()) == {1}
    assert Counter(name for name, _ in lines) == {path.name: clips for path in sources}
    assert f'{torn}: 0 clips captioned' in told and f'{torn}: cannot read' in told


def test_a_parquet_file_has_each_clip_once_though_the_driver_was_killed(tmp_path: Path) -> None:
    monday = write_bag(tmp_path / 'monday', ('/front',), 4 * SECONDS)
    tuesday = write_bag(tmp_path / 'tuesday', ('/front',), 4 * SECONDS, storage='mcap')
    torn = write_bag(tmp_path / 'torn', ('/front',), 4 * SECONDS)
    [database] = torn.glob('*.db3')
    database.write_bytes(database.read_bytes()[: 3 * 4096])
    sources, out = [monday, tuesday, torn], tmp_path / 'captions.parquet'
    journal = tmp_path / 'captions.parquet.journal.jsonl'
    with marked_cluster() as cluster:
        driver = index(cluster, sources, out)
        wait_for_clips(journal, 16, driver)
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        known = journal.read_bytes().count(b'\n')
        assert not out.exists() and known < 2 * SECONDS // CLIP_SECONDS
        driver = index(cluster, sources, out)
        told, _ = driver.communicate(timeout=RUN_SECONDS)
        assert driver.returncode == 1 and f'{torn}: cannot read' in told, told
        types, rows = read_parquet(out)
        driver = index(cluster, [monday, tuesday], out)
        again, _ = driver.communicate(timeout=RUN_SECONDS)
    names = ['recording', 'topic', 'begin_ns', 'end_ns', 'text', 'evidence']
    assert types == {name: 'int64' if name.endswith('_ns') else 'string' for name in names}
    clips = SECONDS // CLIP_SECONDS
    assert Counter(row['recording'] for row in rows) == {'monday': clips, 'tuesday': clips}
    begins = Counter((row['recording'], row['begin_ns']) for row in rows)
    assert set(begins.values()) == {1} and not journal.exists()
    assert {begin for _, begin in begins} == {
        START + number * CLIP_SECONDS * SECOND for number in range(clips)
    }
    assert all(row['text'] and row['end_ns'] > row['begin_ns'] for row in rows)
    assert all(json.loads(row['evidence'])['model_name'] for row in rows)
    assert driver.returncode == 0 and f'{monday}: 0 clips captioned, {clips} known' in again
    assert read_parquet(out) == (types, rows), 'typed again it changes nothing'
