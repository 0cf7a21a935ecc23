# SPDX-License-Identifier: Apache-2.0
"""Opening a bundle: what is checked, and which named error each kind of damage gives."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from penguin_ros.backends.base import bundle as bundle_file
from penguin_ros.backends.base import file_digests
from penguin_ros.backends.base.bundle import (
    Bundle,
    open_bundle,
    read_manifest,
    rebuild,
    write_manifest,
)
from penguin_ros.backends.base.file_digests import file_spec
from penguin_ros.backends.base.manifest import (
    CONTRACT,
    MANIFEST,
    GraphSpec,
    Manifest,
    PrecisionSpec,
    TableSpec,
    TensorSpec,
)
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import (
    BundleCorrupt,
    BundleError,
    BundleMismatch,
    BundleNotFound,
    BundleOutdated,
    CheckpointError,
)

COMMAND = 'penguin build somewhere --out here'


def command_for(folder: Path) -> str:
    """What to type for a bundle that was built elsewhere and now lies in a folder."""
    return f'Type: penguin build somewhere --out {folder}'


GRAPH = GraphSpec(
    'decoder',
    'full',
    0,
    'decoder.onnx',
    24,
    ('decoder.onnx.data',),
    3,
    (TensorSpec('inputs_embeds', 'float32', (1, 'rows', 64)),),
    (TensorSpec('logits', 'float32', (1, 'wanted', 640)),),
)


@pytest.fixture(scope='module')
def sound(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose graphs are a few bytes: opening looks at files, not into them."""
    folder, checkpoint = tmp_path_factory.mktemp('bundle') / 'b', open_checkpoint(tiny_checkpoint)
    (folder / 'tokenizer').mkdir(parents=True)
    for name in ('tokenizer.json', 'tokenizer_config.json'):
        shutil.copyfile(tiny_checkpoint / name, folder / 'tokenizer' / name)
    (folder / 'decoder.onnx').write_bytes(b'graph')
    (folder / 'decoder.onnx.data').write_bytes(bytes(5000))
    checkpoint.tensors.read('llm.embed_tokens.weight').tofile(folder / 'table.bin')
    files = {
        path.relative_to(folder).as_posix(): file_spec(path)
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }
    shape, precision = (
        checkpoint.shape,
        PrecisionSpec('float32', 'int4', 'int8', 'int8', 128, {'a': 'b'}),
    )
    write_manifest(
        folder,
        Manifest(
            CONTRACT,
            'tiny',
            checkpoint.digest,
            'onnxruntime',
            512,
            precision,
            shape,
            TableSpec('table.bin', 'F32', shape.vocabulary_size, shape.llm.hidden_size),
            (GRAPH,),
            files,
            {'language': 1},
            {'onnx': '1'},
            COMMAND,
        ),
    )
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(sound, tmp_path / 'b'))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = yaml.safe_load((folder / MANIFEST).read_text())
    change(values)
    (folder / MANIFEST).write_text(yaml.safe_dump(values))


def test_a_sound_bundle_opens_and_says_everything_again(sound: Path, tiny_checkpoint: Path) -> None:
    bundle, checkpoint = open_bundle(sound), open_checkpoint(tiny_checkpoint)
    assert (bundle.name, bundle.digest, bundle.shape) == (
        'tiny',
        checkpoint.digest,
        checkpoint.shape,
    )
    assert bundle.graph('decoder', 'full') == GRAPH
    assert bundle.manifest.precision.exceptions == {'a': 'b'}
    assert bundle.tokenizer.encode_text('a red box') == checkpoint.tokenizer.encode_text(
        'a red box'
    )
    assert bundle.file('decoder.onnx').read_bytes() == b'graph'
    assert rebuild(bundle.manifest) == f'Type: {COMMAND}'


def test_the_embedding_table_reads_rows_exactly(sound: Path, tiny_checkpoint: Path) -> None:
    table = open_bundle(sound).embedding_table
    expected = open_checkpoint(tiny_checkpoint).tensors.read('llm.embed_tokens.weight')
    assert np.array_equal(table.read([639, 0, 7]), expected[[639, 0, 7]])
    assert table.read(np.array([], np.int64)).shape == (0, 64)
    with pytest.raises(IndexError):
        table.read([640])


def test_a_written_manifest_comes_back_equal(sound: Path, tmp_path: Path) -> None:
    manifest = read_manifest(sound)
    odd = dataclasses.replace(manifest, model_name='Ünï: "code" # no comment', files={})
    write_manifest(tmp_path, dataclasses.replace(odd, files=manifest.files))
    assert read_manifest(tmp_path) == dataclasses.replace(odd, files=manifest.files)


@pytest.mark.parametrize('where', ['absent', 'empty', 'file'])
def test_no_bundle_is_named_with_the_command(tmp_path: Path, where: str) -> None:
    folder = tmp_path / 'b'
    if where == 'empty':
        folder.mkdir()
    elif where == 'file':
        folder.write_text('x')
    with pytest.raises(BundleNotFound) as refused:
        open_bundle(folder)
    assert f'penguin build CHECKPOINT --out {folder}' in refused.value.fix


def test_a_missing_variant_is_named_with_the_command(sound: Path) -> None:
    with pytest.raises(
        BundleMismatch, match='no decoder graph of the variant window: it was built for onnxruntime'
    ) as refused:
        open_bundle(sound).graph('decoder', 'window')
    assert refused.value.fix == command_for(sound)


@pytest.mark.parametrize('contract', [CONTRACT + 1, 0, None, 'one'])
def test_another_contract_is_outdated_whatever_else_it_says(folder: Path, contract: object) -> None:
    edit(folder, lambda values: (values.update(contract=contract), values.pop('graphs')))
    with pytest.raises(BundleOutdated, match=f'runs contract {CONTRACT}') as refused:
        open_bundle(folder)
    assert refused.value.fix == command_for(folder)


DAMAGE: dict[str, Callable[[Path], object]] = {
    'graph cut short': lambda folder: os.truncate(folder / 'decoder.onnx', 2),
    'weights cut short': lambda folder: os.truncate(folder / 'decoder.onnx.data', 4999),
    'weights grown': lambda folder: os.truncate(folder / 'decoder.onnx.data', 5001),
    'weights empty': lambda folder: os.truncate(folder / 'decoder.onnx.data', 0),
    'a byte changed': lambda folder: (folder / 'decoder.onnx.data').write_bytes(
        bytes(4000) + b'x' + bytes(999)
    ),
    'weights gone': lambda folder: (folder / 'decoder.onnx.data').unlink(),
    'table gone': lambda folder: (folder / 'table.bin').unlink(),
    'tokenizer gone': lambda folder: shutil.rmtree(folder / 'tokenizer'),
    'a folder instead': lambda folder: (
        (folder / 'decoder.onnx').unlink(),
        (folder / 'decoder.onnx').mkdir(),
    ),
}


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_named_with_the_command(
    folder: Path, damage: Callable[[Path], object]
) -> None:
    damage(folder)
    with pytest.raises(BundleCorrupt) as refused:
        open_bundle(folder)
    assert refused.value.fix == command_for(folder)
    assert any(name in refused.value.why for name in ('decoder.onnx', 'table.bin', 'tokenizer'))


def test_a_bundle_that_was_found_right_is_read_again_only_by_a_thorough_check(folder: Path) -> None:
    """Damage that leaves size, time and inode as they were is a disk's, not a program's."""
    long_ago_ns = 10**18
    for path in folder.iterdir():
        os.utime(path, ns=(long_ago_ns, long_ago_ns))
    open_bundle(folder)
    DAMAGE['a byte changed'](folder)
    for path in folder.iterdir():
        os.utime(path, ns=(long_ago_ns, long_ago_ns))
    assert isinstance(open_bundle(folder), Bundle)
    with pytest.raises(BundleCorrupt, match='was changed'):
        open_bundle(folder, is_thorough=True)
    with pytest.raises(BundleCorrupt, match='was changed'):
        open_bundle(folder)


NONSENSE: dict[str, Callable[[dict[str, Any]], object]] = {
    'a key gone': lambda values: values.pop('backend'),
    'an unknown key': lambda values: values.update(extra=1),
    'text for a number': lambda values: values.update(max_length='long'),
    'a number for text': lambda values: values.update(backend=3),
    'a bool for a number': lambda values: values.update(max_length=True),
    'no graphs': lambda values: values.update(graphs=[]),
    'a path outside': lambda values: values['files'].update(
        {'../../etc/passwd': {'bytes': 1, 'sha256': ''}}
    ),
    'an absolute path': lambda values: values['graphs'][0].update(file='/etc/passwd'),
    'a graph without a file': lambda values: values['graphs'][0].update(file='other.onnx'),
    'weights without a file': lambda values: values['graphs'][0].update(needs=['other.data']),
    'a table of another size': lambda values: values['table'].update(rows=7),
    'a table that is too short': lambda values: values['files']['table.bin'].update(bytes=8),
    'an unknown format': lambda values: values['table'].update(dtype='F8'),
    'no length': lambda values: values.update(max_length=0),
    'a list for a mapping': lambda values: values.update(files=[1]),
    'no LLM': lambda values: values['shape'].update(llm=None),
}


@pytest.mark.parametrize('change', NONSENSE.values(), ids=NONSENSE)
def test_a_manifest_that_makes_no_sense_is_named_with_the_command(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(folder, change)
    with pytest.raises(BundleCorrupt, match='bundle.yaml is damaged') as refused:
        open_bundle(folder)
    assert refused.value.fix == command_for(folder)


@pytest.mark.parametrize(
    'text',
    [
        '',
        '[1, 2]',
        'contract: {',
        '!!python/object/apply:os.getcwd []',
        '\0',
        'a: &x [*x]',
        'contract: 1\n' * 3,
        '- ' * 5000,
    ],
)
def test_text_that_is_no_manifest_is_a_bundle_error(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(BundleError):
        open_bundle(folder)


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_a_manifest_cut_or_changed_anywhere_opens_or_is_a_named_error(
    sound: Path, data: st.DataObject
) -> None:
    raw = (sound / MANIFEST).read_bytes()
    place = data.draw(st.integers(0, len(raw) - 1))
    changed = data.draw(
        st.sampled_from([raw[:place], raw[:place] + bytes([raw[place] ^ 5]) + raw[place + 1 :]])
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, 'read_bytes', lambda path: changed)
        try:
            read_manifest(sound)
        except BundleError as error:
            assert error.fix.startswith('Type: penguin build')


def test_an_enormous_manifest_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, 'MAX_MANIFEST_BYTES', 100)
    with pytest.raises(BundleCorrupt, match='larger than 100 bytes'):
        open_bundle(folder)


def test_bundle_errors_are_checkpoint_errors() -> None:
    """Whoever opens either catches one kind of error, and the node reports one code."""
    assert issubclass(BundleError, CheckpointError)


def test_a_bundle_that_was_moved_away_is_called_that(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFound, match='no folder .*gone: a bundle was moved'):
        open_bundle(tmp_path / 'gone')


def test_what_is_given_for_a_bundle_is_called_what_it_is(sound: Path, tmp_path: Path) -> None:
    (tmp_path / 'above').mkdir()
    shutil.copytree(sound, tmp_path / 'above' / 'deep')
    with pytest.raises(BundleNotFound, match='the bundle is .*above/deep'):
        open_bundle(tmp_path / 'above')
    (tmp_path / 'checkpoint').mkdir()
    (tmp_path / 'checkpoint' / 'config.json').write_text('{}')
    with pytest.raises(BundleNotFound, match='it is a checkpoint'):
        open_bundle(tmp_path / 'checkpoint')


@pytest.mark.parametrize('name', ['bundle.yaml', 'decoder.onnx', 'table.bin'])
def test_missing_permission_is_not_damage(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        file_digests.os, 'access', lambda path, mode: Path(path).name != name or mode != os.R_OK
    )
    read_bytes = Path.read_bytes

    def forbidden(path: Path) -> bytes:
        if path.name == name:
            raise PermissionError(errno.EACCES, 'Permission denied', str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, 'read_bytes', forbidden)
    with pytest.raises(BundleError, match=f'{name}: Permission denied.*ls -ld') as refused:
        open_bundle(folder)
    assert 'damaged' not in str(refused.value) and 'penguin build' not in str(refused.value)
