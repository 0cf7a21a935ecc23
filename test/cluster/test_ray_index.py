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

import cv2
import numpy as np
import pytest
from support.ray_cluster import RayCluster, processes, ray_cluster, ray_environment, ray_python

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


def test_two_nodes_with_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PENGUIN_RAY_TEST', str(os.getpid()))
    sources = [tmp_path / f'day{number}.avi' for number in range(RECORDINGS)]
    for number, path in enumerate(sources):
        film(path, 60 * number + 40)
    torn = tmp_path / 'torn.avi'
    torn.write_bytes(sources[0].read_bytes()[:400])
    out, chance = tmp_path / 'captions.jsonl', random.Random(5)
    with ray_cluster() as cluster:
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
