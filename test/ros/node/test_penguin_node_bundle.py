# SPDX-License-Identifier: Apache-2.0
"""The node on a bundle, in a process in which neither torch nor what builds bundles can be
imported.
"""

import pytest
from penguin_msgs.msg import ModelInfo
from rclpy.qos import DurabilityPolicy, QoSProfile
from support.blocked_libraries import environment_without
from support.live_node import LiveNode, with_frames

from penguin_ros.checkpoint.checkpoint import open_checkpoint

pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope='module')
def bundle(tiny_checkpoint, tmp_path_factory):
    from penguin_ros.export.build import BuildOrder, build_bundle

    return build_bundle(
        open_checkpoint(tiny_checkpoint), tmp_path_factory.mktemp('built') / 'bundle', BuildOrder()
    )


def test_questions_and_captions_are_answered_without_torch(graph, bundle, tmp_path):
    node = LiveNode(
        graph,
        None,
        {'model.bundle': str(bundle), 'caption.period': 0.5},
        environment=environment_without(tmp_path / 'blocked', 'torch', 'onnx', 'tensorrt'),
    )
    info = graph.collect(ModelInfo, '/penguin/model_info', LATCHED)
    node.wait_until('active')
    with_frames(node)
    answer = node.ask(max_tokens=6).answer
    assert (
        not answer.error_code
        and answer.text
        and answer.evidence.generated_tokens == 6
        and answer.evidence.visual_tokens
    )
    graph.wait_for(
        lambda: any(not caption.error_code and caption.text for caption in node.captions),
        30,
        'a caption',
    )
    graph.wait_for(lambda: info, 10, 'what the model is')
    assert (info[0].backend, info[0].device, info[0].precision, info[0].source) == (
        'onnxruntime',
        'cpu',
        'float32',
        str(bundle),
    )
    assert info[0].weight_bytes > info[0].language_parameters + info[0].vision_parameters > 0
    node.process.stop()


def test_a_bundle_that_is_damaged_leaves_the_node_up_and_names_the_command(graph, bundle, tmp_path):
    import shutil

    damaged = shutil.copytree(bundle, tmp_path / 'damaged')
    (damaged / 'decoder.onnx.data').write_bytes((bundle / 'decoder.onnx.data').read_bytes()[:-5])
    node = LiveNode(graph, None, {'model.bundle': str(damaged)}, name='/damaged')
    node.process.wait_for_log('penguin build ')
    node.wait_until('unconfigured')
    assert 'decoder.onnx.data has' in node.process.log
    node.process.stop()


def test_a_checkpoint_is_never_built_by_the_node(graph, tiny_checkpoint, tmp_path):
    node = LiveNode(
        graph,
        tiny_checkpoint,
        {'model.backend': 'onnxruntime'},
        name='/builder',
        environment={'XDG_CACHE_HOME': str(tmp_path)},
    )
    node.process.wait_for_log(f'penguin build {tiny_checkpoint}')
    node.wait_until('unconfigured')
    assert not list(tmp_path.iterdir())
    node.process.stop()
