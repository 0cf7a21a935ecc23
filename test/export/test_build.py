# SPDX-License-Identifier: Apache-2.0
"""Building a bundle of a checkpoint: what is in it, what the build needs, and what stops it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.graph_runs import built, checkpoint_of, stack
from support.needed_packages import onnx
from support.rewriting import copied, published_tensors, with_tensors

from penguin_ros.backends.base.bundle import open_bundle
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.errors import BuildRefused, BundleError, NotEnoughSpace
from penguin_ros.export import build as build_file
from penguin_ros.export import weight_conversion
from penguin_ros.export.build import BuildOrder, BundleBuilder, build_bundle, check_target
from penguin_ros.export.precision import BuildChoice

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = ('torch', 'onnxruntime', 'tensorrt', 'cuda', 'transformers', 'rclpy', 'cv2')


def order(precision: str = 'float32', backend: str = 'onnxruntime', **facts: object) -> BuildOrder:
    return BuildOrder(BuildChoice(backend, precision), **{'threads': 1, **facts})  # type: ignore[arg-type]


def test_a_bundle_is_built_without_any_inference_library(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    code = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
from penguin_ros.cli.main import main
for backend in ("onnxruntime", "tensorrt"):
    words = ["--backend", backend, "--precision", "int4", "--graphs-only", "--out", backend]
    assert main(["build", {str(tiny_checkpoint)!r}, *words]) == 0
from penguin_ros.backends.base.bundle import open_bundle
open_bundle("tensorrt").tokenizer.encode_text("x")
"""
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env={'PYTHONPATH': str(ROOT), 'PATH': ''},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert open_bundle(tmp_path / 'onnxruntime').manifest.precision.linears == 'int4'


def test_the_bundle_stands_in_for_the_checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(tiny_checkpoint)
    bundle = built(checkpoint, tmp_path / 'b')
    assert (bundle.name, bundle.digest, bundle.shape) == (
        checkpoint.name,
        checkpoint.digest,
        checkpoint.shape,
    )
    text = 'What is the robot doing? <image> ünïcode'
    assert bundle.tokenizer.encode_text(text) == checkpoint.tokenizer.encode_text(text)
    assert bundle.tokenizer.markup_id('<image>') == checkpoint.shape.image_token_id
    ids = np.array([0, 5, checkpoint.shape.vocabulary_size - 1, 5])
    assert np.array_equal(
        bundle.embedding_table.read(ids), checkpoint.tensors.read('llm.embed_tokens.weight')[ids]
    )


@pytest.mark.parametrize('dtype, tag', [('bfloat16', 'BF16'), ('float16', 'F16')])
def test_the_embedding_table_keeps_the_format_of_the_checkpoint(
    tmp_path: Path, dtype: str, tag: str
) -> None:
    checkpoint = checkpoint_of(tmp_path / 'c', dtype=dtype)
    bundle = built(checkpoint, tmp_path / 'b')
    assert bundle.manifest.table.dtype == tag
    assert np.array_equal(
        bundle.embedding_table.read([3, 1]),
        checkpoint.tensors.read('llm.embed_tokens.weight')[[3, 1]],
    )


def test_both_layouts_give_the_same_graphs_and_weights(tmp_path: Path) -> None:
    files = [
        built(
            checkpoint_of(tmp_path / name / 'c', layout=name),
            tmp_path / name / 'b',
            precision='int4',
        ).manifest.files
        for name in ('nested', 'flat')
    ]
    assert {name: spec for name, spec in files[0].items() if 'tokenizer' not in name} == {
        name: spec for name, spec in files[1].items() if 'tokenizer' not in name
    }


def test_threads_and_chunks_do_not_change_a_byte(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, choice = open_checkpoint(tiny_checkpoint), BuildChoice('tensorrt', 'int4')
    one = open_bundle(build_bundle(checkpoint, tmp_path / 'one', BuildOrder(choice, threads=1)))
    monkeypatch.setattr(weight_conversion, 'CHUNK_ELEMENTS', 700)
    many = open_bundle(build_bundle(checkpoint, tmp_path / 'many', BuildOrder(choice, threads=5)))
    assert one.manifest.files == many.manifest.files


def test_the_manifest_says_what_was_built(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(
        tmp_path / 'c', llm=stack(4, 2, 16, hidden=64, ffn=72), max_positions=100
    )
    command = 'penguin build somewhere --out here'
    manifest = open_bundle(
        build_bundle(checkpoint, tmp_path / 'b', order('int4', max_length=4096, command=command))
    ).manifest
    assert (manifest.backend, manifest.max_length, manifest.command) == (
        'onnxruntime',
        100,
        command,
    )
    precision = manifest.precision
    assert (precision.compute, precision.linears, precision.head, precision.vision) == (
        'float32',
        'int4',
        'int8',
        'int8',
    )
    assert set(precision.exceptions) == {f'llm.layers.{index}.mlp.down_proj' for index in range(2)}
    assert set(manifest.versions) >= {'onnx', 'numpy'}
    sizes = {
        name: checkpoint.tensors.read(name).size
        for name in checkpoint.tensors.names()
        if 'lm_head' not in name
    }
    assert sum(manifest.parameters.values()) == sum(sizes.values())
    assert {
        path.relative_to(tmp_path / 'b').as_posix()
        for path in (tmp_path / 'b').rglob('*')
        if path.is_file()
    } == {*manifest.files, 'bundle.yaml'}


@pytest.mark.parametrize('parts', [1, 3])
def test_the_head_comes_in_as_many_products_as_asked(
    tiny_checkpoint: Path, tmp_path: Path, parts: int
) -> None:
    bundle = open_bundle(
        build_bundle(open_checkpoint(tiny_checkpoint), tmp_path / 'b', order(head_parts=parts))
    )
    model = onnx.load(bundle.file('decoder.onnx'), load_external_data=False)
    products = [
        node
        for node in model.graph.node
        if node.op_type == 'MatMul' and node.name.startswith('head/')
    ]
    assert len(products) == parts


def test_weights_lie_on_pages_and_are_stored_once_for_all_variants(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    bundle = built(open_checkpoint(tiny_checkpoint), tmp_path / 'b')
    places = []
    for variant in ('full', 'two_part'):
        model = onnx.load(
            bundle.file(bundle.graph('decoder', variant).file), load_external_data=False
        )
        outside = {
            tensor.name: {item.key: item.value for item in tensor.external_data}
            for tensor in model.graph.initializer
            if tensor.data_location == onnx.TensorProto.EXTERNAL
        }
        assert all(
            int(place['offset']) % 4096 == 0 and place['location'] == 'decoder.onnx.data'
            for place in outside.values()
        )
        places.append(outside)
    assert places[0] == places[1]


def test_progress_names_stages_in_order_and_ends_at_the_estimate(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    builder = BundleBuilder(open_checkpoint(tiny_checkpoint), order('int4'))
    stages, shares = [], [0.0]

    def show(stage: str, share: float) -> None:
        shares.append(share)
        if stage.partition(':')[0] not in stages:
            stages.append(stage.partition(':')[0])

    builder.build(tmp_path / 'b', show)
    assert stages == ['encoder', 'LLM', 'embedding table', 'checksums']
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] < 1.2  # of so small a model much is no matrix


def test_the_estimate_of_disk_is_enough_and_not_far_off(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(
        tmp_path / 'c', llm=stack(4, 2, 32, hidden=256, ffn=512), vocabulary_size=6000
    )
    for precision in ('float32', 'int8', 'int4'):
        builder = BundleBuilder(checkpoint, order(precision))
        folder = builder.build(tmp_path / precision)
        size = sum(path.stat().st_size for path in folder.rglob('*'))
        assert size < builder.estimate.disk_bytes < size + 70 * 1024**2


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('precision', ['float32', 'int4'])
@pytest.mark.parametrize(
    'name', ['lm_head.weight', 'model.layers.1.mlp.up_proj.weight', 'model.norm.weight']
)
def test_weights_that_are_not_finite_are_named(
    tmp_path: Path, value: float, precision: str, name: str
) -> None:
    folder = checkpoint_of(tmp_path / 'c', is_tied=False).path
    tensors = published_tensors(folder)
    tensors[name][1].flat[-1] = value
    checkpoint = open_checkpoint(with_tensors(folder, tensors))
    with pytest.raises(BuildRefused, match='holds NaN or infinity') as refused:
        build_bundle(checkpoint, tmp_path / 'b', order(precision))
    assert 'llm.' in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ['c']


def test_weights_too_large_for_float16_are_named_and_fit_into_bfloat16(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_checkpoint, tmp_path / 'c')
    tensors = published_tensors(folder)
    tensors['model.layers.0.mlp.down_proj.weight'][1][3, 4] = -70000.0
    checkpoint = open_checkpoint(with_tensors(folder, tensors))
    with pytest.raises(BuildRefused, match='mlp.down_proj does not fit into float16') as refused:
        build_bundle(checkpoint, tmp_path / 'b', order('float16', 'tensorrt'))
    assert 'bfloat16' in refused.value.fix
    wide = open_bundle(build_bundle(checkpoint, tmp_path / 'b', order('bfloat16', 'tensorrt')))
    assert wide.manifest.precision.compute == 'bfloat16'


@pytest.mark.parametrize(
    'facts', [{'max_length': 0}, {'head_parts': 0}, {'head_parts': 10**6}, {'threads': -1}]
)
def test_sizes_that_make_no_sense_are_refused(tiny_checkpoint: Path, facts: dict[str, int]) -> None:
    with pytest.raises(BuildRefused):
        BundleBuilder(open_checkpoint(tiny_checkpoint), order(**facts))


def test_a_disk_that_fills_on_the_way_is_named_and_nothing_is_left(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, manifest: object) -> None:
        raise OSError(28, 'No space left on device')

    built(open_checkpoint(tiny_checkpoint), tmp_path / 'b')
    before = (tmp_path / 'b' / 'bundle.yaml').read_bytes()
    monkeypatch.setattr(build_file, 'write_manifest', full)
    with pytest.raises(NotEnoughSpace, match='No space left'):
        build_bundle(open_checkpoint(tiny_checkpoint), tmp_path / 'b', order('int4'))
    assert [path.name for path in tmp_path.iterdir()] == ['b']
    assert (tmp_path / 'b' / 'bundle.yaml').read_bytes() == before


def test_a_killed_build_leaves_nothing_that_opens_and_the_next_one_cleans_up(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """The build gets SIGKILL in the middle of the LLM's weights."""
    code = f"""
import sys, time
from pathlib import Path
from penguin_ros.checkpoint.checkpoint import open_checkpoint
from penguin_ros.export.build import check_target, BuildOrder, build_bundle

def show(stage, work):
    if stage.startswith("LLM: llm.layers.1."):
        print("in the middle", flush=True)
        time.sleep(100)

build_bundle(open_checkpoint({str(tiny_checkpoint)!r}), Path("b"), BuildOrder(), show)
"""
    with subprocess.Popen(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env={'PYTHONPATH': str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == 'in the middle\n'
        process.kill()
    left = list(tmp_path.iterdir())
    assert len(left) == 1 and left[0].name.startswith('.b.build-')
    for folder in (tmp_path / 'b', left[0]):
        with pytest.raises(BundleError):
            open_bundle(folder)
    built(open_checkpoint(tiny_checkpoint), tmp_path / 'b')
    assert [path.name for path in tmp_path.iterdir()] == ['b']


@pytest.mark.parametrize('kind', ['file', 'folder'])
def test_what_is_no_bundle_is_left_alone(tmp_path: Path, kind: str) -> None:
    target = tmp_path / 'b' if kind == 'file' else tmp_path / 'b' / 'thesis.txt'
    target.parent.mkdir(exist_ok=True)
    target.write_text('mine')
    with pytest.raises(BuildRefused, match='is no bundle'):
        check_target(tmp_path / 'b')
    assert target.read_text() == 'mine'
