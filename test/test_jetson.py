# SPDX-License-Identifier: Apache-2.0
"""A Jetson is recognised by its files, and the bindings fit its driver."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from penguin_ros import jetson
from penguin_ros.jetson import bindings_for, find_jetson, release_of

ORIN = '# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64'


def write(root: Path, name: str, text: str) -> None:
    """Makes a file of a system's root."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_another_machine_is_none(tmp_path: Path) -> None:
    assert find_jetson(tmp_path) is None


@pytest.mark.parametrize(
    ('text', 'release'),
    [
        (ORIN, (36, 4, 3)),
        ('# R38 (release), REVISION: 2.0, GCID: 1', (38, 2, 0)),
        ('# R36 (release), REVISION: 5, GCID: 1', (36, 5)),
        ('something else', ()),
    ],
)
def test_the_release_is_read(text: str, release: tuple[int, ...]) -> None:
    assert release_of(text) == release


@pytest.mark.parametrize(
    ('revision', 'jetpack', 'cuda'),
    [
        ('R36 (release), REVISION: 3.0', '6.0', (12, 2)),
        ('R36 (release), REVISION: 4.7', '6.1 or 6.2', (12, 6)),
        ('R36 (release), REVISION: 5.0', '6.2.2', (12, 6)),
        ('R38 (release), REVISION: 2.1', '7.0', (13, 0)),
        ('R38 (release), REVISION: 4.0', '7.1', (13, 0)),
        ('R39 (release), REVISION: 2.0', '7.2', (13, 2)),
    ],
)
def test_each_release_has_its_jetpack_and_cuda(
    tmp_path: Path, revision: str, jetpack: str, cuda: tuple[int, int]
) -> None:
    write(tmp_path, 'etc/nv_tegra_release', f'# {revision}, GCID: 1')
    found = find_jetson(tmp_path)
    assert found is not None
    assert (found.jetpack, found.cuda) == (jetpack, cuda)


def test_the_installed_cuda_counts_more_than_the_table(tmp_path: Path) -> None:
    write(tmp_path, 'etc/nv_tegra_release', ORIN)
    version = {'cuda': {'name': 'CUDA SDK', 'version': '12.8.93'}}
    write(tmp_path, 'usr/local/cuda/version.json', json.dumps(version))
    found = find_jetson(tmp_path)
    assert found is not None and found.cuda == (12, 8)


def test_a_container_without_the_release_file_is_known_by_its_device_tree(tmp_path: Path) -> None:
    write(
        tmp_path, 'proc/device-tree/compatible', 'nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0'
    )
    found = find_jetson(tmp_path)
    assert found is not None
    assert (found.release, found.jetpack, found.cuda) == ((), 'unknown', None)


def test_a_release_can_be_named_where_its_files_cannot_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PENGUIN_L4T', '36.4.0')
    found = find_jetson(tmp_path)
    assert found is not None
    assert (found.jetpack, found.cuda) == ('6.1 or 6.2', (12, 6))


@pytest.mark.parametrize(
    ('cuda', 'requirement'),
    [
        ((12, 2), 'cuda-bindings==12.9.*'),
        ((12, 6), 'cuda-bindings==12.9.*'),
        ((13, 0), 'cuda-bindings>=13.0,<13.1'),
        ((13, 2), 'cuda-bindings>=13.0,<13.3'),
    ],
)
def test_the_bindings_are_not_newer_than_the_driver(
    cuda: tuple[int, int], requirement: str
) -> None:
    assert bindings_for(cuda) == requirement


def test_the_program_prints_words_without_any_library(tmp_path: Path) -> None:
    write(tmp_path, 'etc/nv_tegra_release', ORIN)
    for root, words in (
        (tmp_path, 'l4t=36.4.3 jetpack=6.1_or_6.2 cuda=12.6 bindings=cuda-bindings==12.9.*'),
        (tmp_path / 'elsewhere', ''),
    ):
        result = subprocess.run(
            [sys.executable, '-I', '-S', str(jetson.__file__)],
            env={'PENGUIN_SYSTEM_ROOT': str(root)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.strip() == words
