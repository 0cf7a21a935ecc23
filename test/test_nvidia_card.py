# SPDX-License-Identifier: Apache-2.0
"""The card is found without any package, by the driver's files or its library."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.planted_card import libcuda, plant_card

from penguin_ros import nvidia_card
from penguin_ros.nvidia_card import Card, find_card


def test_a_card_is_read_from_the_files_of_its_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant_card(monkeypatch, tmp_path / 'nvidia', cuda=12080, driver='570.133.07')
    card = find_card()
    assert card == Card('NVIDIA GeForce RTX 4090', 12080, '570.133.07')
    assert str(card) == 'NVIDIA GeForce RTX 4090, driver 570.133.07, CUDA 12.8'


def test_several_cards_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant_card(monkeypatch, tmp_path / 'nvidia', ('NVIDIA A100', 'NVIDIA T4'), driver='')
    assert str(find_card()) == 'NVIDIA A100 and 1 more, CUDA 13.0'


def test_where_the_driver_has_no_files_its_library_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant_card(monkeypatch, tmp_path / 'nvidia', (), driver='')
    assert find_card() is None
    monkeypatch.setattr(nvidia_card, '_library', lambda: libcuda(12040, ('Orin',)))
    assert find_card() == Card('Orin', 12040)


def test_a_card_whose_library_is_hidden_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant_card(monkeypatch, tmp_path / 'nvidia', cuda=0)
    assert 'no libcuda.so.1' in str(find_card())
