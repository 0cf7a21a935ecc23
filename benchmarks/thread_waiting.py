# SPDX-License-Identifier: Apache-2.0
"""What waiting threads cost: a clip of a tiny network while PyTorch's waiting threads spin or
sleep, on an idle and on a busy machine.

Each measurement is a process of its own, since the policy is read when torch is imported. Medians
and ratios are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

POLICIES = ('ACTIVE', 'PASSIVE')


def clip_seconds(video: Path, checkpoint: Path, policy: str) -> float:
    """The seconds of encode, prefill and decode of the second of two clips; the first one warms
    up.
    """
    command = [
        sys.executable,
        '-m',
        'penguin_ros.cli.main',
        'caption',
        str(video),
        '--checkpoint',
        str(checkpoint),
        '--json',
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, 'OMP_WAIT_POLICY': policy},
    )
    seconds = json.loads(done.stdout.splitlines()[1])['seconds']
    return float(seconds['encode'] + seconds['prefill'] + seconds['decode'])


def draw_video(path: Path) -> Path:
    """Eight seconds of a ball that rolls past a box, 320 x 240 at 10 Hz."""
    import cv2
    import numpy as np

    from penguin_ros.benchmark.live.scenes import write_video

    images = []
    for index in range(80):
        image = np.full((240, 320, 3), (200, 190, 170), np.uint8)
        image[160:] = (90, 110, 70)
        cv2.rectangle(image, (200, 110), (260, 170), (30, 60, 200), -1)
        cv2.circle(image, (30 + index * 260 // 80, 180), 22, (220, 40, 40), -1, cv2.LINE_AA)
        images.append(image)
    return write_video(path, images, 10)


def main() -> None:
    """Measures both policies in turn, so that a change of the machine's load meets both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rounds', type=int, default=5, help='(default: %(default)s)')
    arguments = parser.parse_args()
    from penguin_ros.testing.random_checkpoint import write_random_checkpoint

    print(f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start')
    with tempfile.TemporaryDirectory() as folder:
        video, checkpoint = draw_video(Path(folder) / 'video.mp4'), Path(folder) / 'tiny'
        write_random_checkpoint(checkpoint)
        for name, count in (('idle', 0), ('every core busy', os.cpu_count() or 1)):
            busy = [
                subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(count)
            ]
            try:
                runs = [
                    [clip_seconds(video, checkpoint, policy) for policy in POLICIES]
                    for _ in range(arguments.rounds)
                ]
            finally:
                for process in busy:
                    process.kill()
                    process.wait()
            active, passive = (statistics.median(times) for times in zip(*runs, strict=True))
            print(
                f'{name}: spinning {active:.2f} s, sleeping {passive:.2f} s, '
                f'ratio {active / passive:.2f}; medians of {len(runs)}'
            )


if __name__ == '__main__':
    main()
