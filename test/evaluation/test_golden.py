# SPDX-License-Identifier: Apache-2.0
"""Reading folders of golden values, good and bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penguin_ros.evaluation.golden import GoldenValuesError, read_case, read_cases


def written(folder: Path, name: str = 'one', **values: Any) -> Path:
    (folder / 'cases').mkdir(exist_ok=True)
    path = folder / 'cases' / f'{name}.npz'
    np.savez_compressed(path, **values)
    return path


def test_cases_come_by_name_with_the_keys_that_they_have(tmp_path: Path) -> None:
    written(tmp_path, 'b', prompt='hello')
    written(
        tmp_path,
        'a',
        input_ids=np.array([[1, 2, 3]]),
        generated=np.array([4, 5]),
        note='unknown keys are ignored',
    )
    first, second = read_cases(tmp_path)
    assert (first.name, second.name) == ('a', 'b')
    assert second.text('prompt') == 'hello' and second.get('input_ids') is None
    assert sorted(first.values) == ['generated', 'input_ids']
    assert first.positions == 3 + 2 + 1


def test_the_continuation_is_read_from_the_logits_where_ids_are_not_given(tmp_path: Path) -> None:
    case = read_case(written(tmp_path, prompt='x', step_logits=np.eye(4, dtype=np.float32)[[2, 0]]))
    assert case.teacher_ids == [2, 0]


def test_a_folder_without_cases_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(GoldenValuesError, match='there is no folder'):
        read_cases(tmp_path)
    (tmp_path / 'cases').mkdir()
    with pytest.raises(GoldenValuesError, match='holds no cases'):
        read_cases(tmp_path)


@pytest.mark.parametrize('content', [b'', b'not a zip', b'PK\x03\x04 cut off'])
def test_a_file_that_is_no_archive_is_a_named_error(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, prompt='x')
    path.write_bytes(content)
    with pytest.raises(GoldenValuesError, match='one.npz cannot be read'):
        read_cases(tmp_path)


def test_a_plain_array_instead_of_an_archive_is_a_named_error(tmp_path: Path) -> None:
    path = written(tmp_path, prompt='x')
    with path.open('wb') as file:
        np.save(file, np.zeros(3))
    with pytest.raises(GoldenValuesError, match='cannot be read'):
        read_cases(tmp_path)


@pytest.mark.parametrize('keep', [0.3, 0.6, 0.95])
def test_a_truncated_archive_is_a_named_error(tmp_path: Path, keep: float) -> None:
    path = written(
        tmp_path,
        prompt='x',
        projected=np.random.default_rng(0).standard_normal((200, 20)).astype(np.float32),
    )
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(GoldenValuesError, match='cannot be read'):
        read_cases(tmp_path)


def test_damaged_bytes_inside_an_archive_are_a_named_error(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        prompt='x',
        projected=np.random.default_rng(0).standard_normal((200, 20)).astype(np.float32),
    )
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(GoldenValuesError, match='cannot be read'):
        read_cases(tmp_path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    written(tmp_path, prompt=np.array({'a': 1}, dtype=object))
    with pytest.raises(GoldenValuesError, match='plain arrays'):
        read_cases(tmp_path)


@pytest.mark.parametrize(
    'wrong',
    [
        {'prompt': np.array(['a', 'b'])},
        {'input_ids': np.array([1.5])},
        {'frames': np.zeros((2, 4, 4), np.uint8)},
        {'image': np.zeros((4, 4, 3), np.float32)},
        {'image': np.zeros((0, 4, 3), np.uint8)},
        {'projected': np.zeros(4)},
        {'image': np.zeros((4, 4, 4), np.uint8)},
        {'max_tokens': np.array([1, 2])},
        {'merge_size': np.array(0)},
        {'grid_sizes': np.array([[1, 2]])},
        {'grid_sizes': np.array([[1, 0, 2]])},
    ],
)
def test_a_key_of_the_wrong_type_or_shape_is_named(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = written(tmp_path, **{'prompt': 'x', **wrong})
    with pytest.raises(GoldenValuesError, match=f'one.npz: {next(iter(wrong))} is'):
        read_case(path)


def test_grids_and_merge_sizes_of_different_numbers_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(GoldenValuesError, match='2 grid_sizes, 1 merge_sizes'):
        read_case(
            written(
                tmp_path, prompt='x', grid_sizes=np.ones((2, 3), int), merge_sizes=np.array([1])
            )
        )


def test_a_case_without_prompt_and_ids_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(GoldenValuesError, match='neither prompt nor input_ids'):
        read_case(written(tmp_path, projected=np.zeros((2, 2))))
