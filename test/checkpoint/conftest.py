# SPDX-License-Identifier: Apache-2.0
"""A copy of the small random checkpoint to change, and a hub that serves one, with a client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub_client import ENCODER, MODEL, Client
from support.rewriting import copied, with_value
from support.stand_in_hub import StandIn, serving

from penguin_ros.testing.random_checkpoint import Variant, write_random_checkpoint


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the random checkpoint to change."""
    return copied(tiny_checkpoint, tmp_path / 'changed')


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandIn]:
    """A hub with a checkpoint whose encoder configuration is in a repository of its own."""
    folder = write_random_checkpoint(tmp_path / 'model', variant=Variant(shards=2))
    (tmp_path / 'encoder').mkdir()
    (folder / 'penguin-encoder' / 'config.json').rename(tmp_path / 'encoder' / 'config.json')
    (folder / 'penguin-encoder').rmdir()
    with_value(folder / 'config.json', 'vision_encoder', ENCODER)
    (folder / 'modeling_penguin.py').write_text('raise SystemExit("remote code was run")')
    (folder / 'pytorch_model.bin').write_bytes(b'\x80' * 1000)
    with serving(StandIn({MODEL: folder, ENCODER: tmp_path / 'encoder'})) as running:
        yield running


@pytest.fixture
def client(hub: StandIn, tmp_path: Path) -> Client:
    return Client(hub.url, tmp_path / 'home')
