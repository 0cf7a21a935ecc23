# SPDX-License-Identifier: Apache-2.0
"""The simulated camera: what it publishes and when, its clock, its ground truth, slow drawing, and
how it ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import re
import signal
import threading

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.blocked_libraries import environment_without
from support.graph import REPOSITORY, parameter_node, ros_context, stamp_ns

from penguin_ros.errors import SettingError
from penguin_ros.media.convert import message_to_rgb
from penguin_ros.ros.sim_camera.parameters import SimCameraParameters, sim_camera_parameters
from penguin_ros.simulation.ground_truth import from_json
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.scene import Scene, Thing
from penguin_ros.simulation.scene_file import scene_record
from penguin_ros.simulation.world import World

pytestmark = pytest.mark.skipif(importlib.util.find_spec('mujoco') is None, reason='no MuJoCo here')

SIM_CAMERA = 'penguin_ros.ros.sim_camera.main'
SENSOR = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=50, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SECOND = 10**9
PERIOD_NS = SECOND // 10
FAST = {'real_time_factor': 3.0, 'seconds': 1.0, 'pause': 0.5}


@pytest.fixture
def graph(fresh_graph):
    """A graph for each test alone."""
    return fresh_graph


class Watch:
    """Everything that a camera publishes, as it comes."""

    def __init__(self, graph, prefix=''):
        self.raw, self.jpeg = (
            graph.collect(kind, f'{prefix}/camera/image{end}', SENSOR)
            for kind, end in ((Image, ''), (CompressedImage, '/compressed'))
        )
        self.infos = graph.collect(CameraInfo, f'{prefix}/camera/camera_info', SENSOR)
        self.clock = graph.collect(Clock, '/clock', SENSOR)
        self._truths = graph.collect(String, f'{prefix}/sim_camera/ground_truth', LATCHED)

    @property
    def truths(self):
        return [from_json(message.data) for message in self._truths]

    def stamps(self):
        return [stamp_ns(message.header.stamp) for message in self.raw]

    def complete(self):
        """Returns the showings of which nothing was missed: images preceded them, they are over."""
        stamps = self.stamps()
        return [
            truth
            for truth in self.truths
            if stamps and stamps[0] < truth.start_ns and truth.end_ns <= stamps[-1]
        ]

    def well_seen(self):
        """Returns a complete showing with images in both forms; a busy machine skips some."""
        raw, jpeg = (
            {stamp_ns(message.header.stamp) for message in messages}
            for messages in (self.raw, self.jpeg)
        )
        return next(
            (
                truth
                for truth in self.complete()
                if sum(truth.holds(stamp, stamp) for stamp in raw & jpeg) > 3
            ),
            None,
        )

    def clock_ns(self):
        return [stamp_ns(message.clock) for message in self.clock]


def start(graph, *arguments, **parameters):
    return graph.start(SIM_CAMERA, parameters={**FAST, **parameters}, arguments=arguments)


def test_images_calibration_clock_and_truth_of_two_scenes_agree(graph):
    watch = Watch(graph)
    camera = start(graph, seed=40, level=2)
    graph.wait_for(lambda: len(watch.complete()) >= 2, 30, 'two scenes')
    truths, stamps = watch.truths, watch.stamps()
    assert [(truth.number, truth.epoch) for truth in truths] == [
        (number, 0) for number in range(len(truths))
    ]
    assert [truth.scene for truth in truths] == [
        random_scene(40 + number, 2, 1.0) for number in range(len(truths))
    ]
    assert {truth.end_ns - truth.start_ns for truth in truths} == {SECOND}
    assert all(
        late.start_ns - early.end_ns >= SECOND // 2
        for early, late in zip(truths, truths[1:], strict=False)
    )
    assert all(sum(truth.holds(stamp, stamp) for truth in truths) == 1 for stamp in stamps), (
        'no image but in a scene'
    )
    truth = watch.complete()[0]
    inside = [stamp for stamp in stamps if truth.holds(stamp, stamp)]
    assert {(stamp - truth.start_ns) % PERIOD_NS for stamp in inside} == {0} and len(
        inside
    ) + truths[-1].skipped >= 11
    image = watch.raw[-1]
    assert (image.width, image.height, image.encoding) == (168, 112, 'rgb8')
    assert image.header.frame_id == 'camera_optical_frame'
    camera.stop()


def test_what_is_published_is_the_world_at_the_time_of_the_stamp(graph):
    watch = Watch(graph)
    camera = start(graph, seed=40, level=2, jpeg_quality=95)
    truth = graph.wait_for(watch.well_seen, 30, 'a whole scene with images of both kinds')
    raw = {stamp_ns(message.header.stamp): message for message in watch.raw}
    jpeg = {stamp_ns(message.header.stamp): message for message in watch.jpeg}
    stamps = sorted(stamp for stamp in set(raw) & set(jpeg) if truth.holds(stamp, stamp))
    with World() as world:
        world.load(truth.scene)
        for stamp in stamps[::3]:
            drawn = world.render((stamp - truth.start_ns) / SECOND).astype(int)
            assert np.array_equal(message_to_rgb(raw[stamp]), drawn)
            assert np.abs(message_to_rgb(jpeg[stamp]) - drawn).mean() < 4.0
    info = next(info for info in watch.infos if stamp_ns(info.header.stamp) in stamps)
    assert (info.width, info.height, info.header.frame_id) == (
        168,
        112,
        raw[stamps[0]].header.frame_id,
    )
    assert info.k[4] == pytest.approx(56 / np.tan(truth.scene.camera.fov_y / 2)) and (
        info.k[2],
        info.k[5],
    ) == (83.5, 55.5)
    camera.stop()


def test_the_clock_runs_at_its_factor_and_images_are_of_its_time(graph):
    watch = Watch(graph)
    camera = start(graph, real_time_factor=4.0, clock_start=500.0)
    graph.wait_for(lambda: len(watch.raw) > 20, 30, 'images')
    times = watch.clock_ns()
    assert times == sorted(times) and 500 * SECOND <= times[0] < times[-1] < 600 * SECOND
    assert np.median(np.diff(times)) == pytest.approx(4.0 / 50 * SECOND, rel=0.3)
    assert abs(watch.stamps()[-1] - times[-1]) < 2 * SECOND
    camera.stop()


def test_a_reset_sets_the_clock_back_and_the_next_scene_begins_in_a_new_epoch(graph):
    watch = Watch(graph)
    camera = start(graph, real_time_factor=2.0, seconds=2.0)
    graph.wait_for(lambda: watch.clock and watch.clock_ns()[-1] > 4 * SECOND, 30, 'time')
    graph.wait_for(lambda: watch.truths and len(watch.raw) > 5, 30, 'a scene')
    before, seen = watch.clock_ns()[-1], len(watch.raw)
    assert graph.call(graph.client(Trigger, '/sim_camera/reset'), Trigger.Request()).success
    graph.wait_for(lambda: watch.truths[-1].epoch == 1, 10, 'a scene of the new epoch')
    new = watch.truths[-1]
    graph.wait_for(
        lambda: any(new.holds(stamp, stamp) for stamp in watch.stamps()[seen:]), 10, 'its images'
    )
    falls = [
        late
        for early, late in zip(watch.clock_ns(), watch.clock_ns()[1:], strict=False)
        if late < early
    ]
    assert len(falls) == 1 and falls[0] < 2 * SECOND < before
    assert new.number == watch.truths[-2].number + 1 and new.start_ns < before
    stamps = watch.stamps()
    back = next(index for index in range(1, len(stamps)) if stamps[index] < stamps[index - 1])
    assert stamps[back:] == sorted(stamps[back:]), 'no image of before the reset comes after it'
    camera.stop()


def test_in_real_time_stamps_are_of_the_wall_and_no_clock_is_published(graph):
    watch = Watch(graph)
    camera = start(graph, clock='wall')
    graph.wait_for(lambda: len(watch.raw) > 3, 30, 'images')
    now_ns = graph.node.get_clock().now().nanoseconds
    assert (
        0 <= now_ns - watch.stamps()[-1] < 5 * SECOND and graph.node.count_publishers('/clock') == 0
    )
    response = graph.call(graph.client(Trigger, '/sim_camera/reset'), Trigger.Request())
    assert not response.success and 'clock' in response.message
    camera.stop()


def given_scene(folder):
    """Returns a scene and the file that holds it."""
    scene = Scene(3, (Thing('box', 'red', 0.3, (2.0, 0.0)),), seconds=0.8)
    path = folder / 'scene.json'
    path.write_text(json.dumps(scene_record(scene)))
    return scene, path


def test_a_given_scene_is_shown_again_and_again(graph, tmp_path):
    scene, path = given_scene(tmp_path)
    watch = Watch(graph)
    with running_camera(graph, watch, World, scene=path, scenes=2, pause=0.5) as ended:
        graph.wait_for(ended.is_set, 30, 'the end of the last scene')
        graph.wait_for(lambda: len(watch.truths) == 2, 10, 'what is true of two scenes')
    assert [truth.scene for truth in watch.truths] == [scene, scene]
    assert {truth.caption for truth in watch.truths} == {'There is one thing: a red box.'}
    assert len(watch.jpeg) > 4


def test_the_node_ends_after_the_last_scene(graph, tmp_path):
    _, path = given_scene(tmp_path)
    camera = start(graph, '-r', '__ns:=/sim', scene=str(path), scenes=2)
    assert camera.wait_for_exit(30) == 0 and 'Traceback' not in camera.log


@pytest.mark.parametrize(
    ('parameters', 'reason'),
    [
        ({'scene': '/nowhere/scene.json'}, '/nowhere/scene.json'),
        ({'level': 4}, 'level'),
        ({'clock': 'sundial'}, 'clock'),
    ],
)
def test_what_cannot_be_used_is_named_and_ends_with_code_2(graph, parameters, reason):
    camera = start(graph, **parameters)
    assert camera.wait_for_exit() == 2
    assert 'sim_camera: ' in camera.log and reason in camera.log and 'Traceback' not in camera.log


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly_in_the_middle_of_a_long_pause(graph, number):
    watch = Watch(graph)
    camera = start(graph, pause=3000.0)
    graph.wait_for(lambda: watch.clock and watch.clock_ns()[-1] > 5 * SECOND, 30, 'the pause')
    camera.stop(number)


@pytest.mark.parametrize(
    'parameter',
    [
        'seed:=-1',
        'level:=0',
        'seconds:=0.1',
        'pause:=-1.0',
        'rate:=0.0',
        'width:=4',
        'real_time_factor:=0.0',
        'clock:=sundial',
        'clock_start:=0.0',
        'encoding:=yuv9',
        "topic:='a b'",
    ],
)
def test_a_parameter_that_does_not_fit_is_named(graph, parameter):
    with (
        pytest.raises(SettingError, match=parameter.partition(':')[0]),
        parameter_node(graph.domain, parameter) as node,
    ):
        sim_camera_parameters(node)


def test_every_parameter_describes_itself(graph):
    with parameter_node(graph.domain, 'rate:=5') as node:
        assert sim_camera_parameters(node).rate == 5.0
        assert all(
            node.describe_parameter(item.name).description
            for item in dataclasses.fields(SimCameraParameters)
        )


@pytest.mark.parametrize(
    ('given', 'told'),
    [
        ('sead:=3', 'Did you mean seed?'),
        ('real_time_facter:=2.0', 'Did you mean real_time_factor?'),
        ('qos_overrides./other.publisher.depth:=3', 'has no effect'),
        ('qos_overrides./camera/image.subscription.depth:=3', 'has no effect'),
    ],
)
def test_a_parameter_that_nothing_takes_is_told(graph, capfd, given, told):
    with parameter_node(graph.domain, given) as node:
        sim_camera_parameters(node)
        graph.wait_for(lambda: told in capfd.readouterr().err, 5.0, 'the warning')


def test_parameters_of_other_nodes_in_the_same_file_are_not_taken_for_slips(graph, capfd):
    file = str(REPOSITORY / 'config' / 'simulation.yaml')
    with ros_context(graph.domain, '--params-file', file) as context:
        node = Node('sim_camera', context=context)
        sim_camera_parameters(node)
        node.destroy_node()
    assert 'nothing reads' not in capfd.readouterr().err


class SlowWorld(World):
    """A world that takes longer to draw an image than there is time for three."""

    def render(self, seconds):
        threading.Event().wait(0.35)
        return super().render(seconds)


@contextlib.contextmanager
def running_camera(graph, watch, make_world, **parameters):
    """A camera in this process, started once `watch` is connected to it; yields what is set when
    the camera ends by itself.
    """
    from penguin_ros.ros.sim_camera.sim_camera import SimCamera

    arguments = [part for name, value in parameters.items() for part in ('-p', f'{name}:={value}')]
    stop, ended = threading.Event(), threading.Event()
    with ros_context(graph.domain, *arguments) as context:
        camera = SimCamera(lambda error: ended.set(), make_world, context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(camera)
        spinner = threading.Thread(
            target=lambda: [executor.spin_once(timeout_sec=0.1) for _ in iter(stop.is_set, True)]
        )
        spinner.start()
        try:
            # Images that are sent before both ends know each other are lost.
            graph.wait_for(
                lambda: watch.clock and are_connected(graph.node, camera), 30, 'subscriptions'
            )
            camera.start()
            yield ended
        finally:
            camera.stop()
            stop.set()
            spinner.join()
            camera.destroy_node()


def are_connected(client, camera):
    """Returns whether the camera knows a subscriber, and the client a publisher, of each topic."""
    topics = '/camera/image', '/camera/image/compressed', '/camera/camera_info'
    return all(camera.count_subscribers(topic) for topic in topics) and all(
        client.count_publishers(topic) for topic in topics
    )


def test_slow_drawing_drops_images_and_counts_them_while_the_clock_goes_on(graph):
    watch = Watch(graph)
    with running_camera(graph, watch, SlowWorld, seconds=3.0, pause=0.5):
        graph.wait_for(
            lambda: len(watch.truths) >= 2 and watch.truths[1].skipped,
            30,
            'the count of a slow scene',
        )
    first, second = watch.truths[:2]
    sent = len([stamp for stamp in watch.stamps() if first.holds(stamp, stamp)])
    assert 1 <= sent <= 12 and second.skipped == 31 - sent, 'of 31 images each is sent or counted'
    # An executor that waited for drawing would be silent for each image.
    silences = np.count_nonzero(np.diff(watch.clock_ns()) > SECOND // 3)
    assert silences < sent, 'time does not wait for drawing'


def test_without_mujoco_it_says_what_to_install(graph, tmp_path):
    camera = graph.start(
        SIM_CAMERA, environment=environment_without(tmp_path / 'blocked', 'mujoco')
    )
    assert camera.wait_for_exit() == 2
    assert (
        'sim_camera: ' in camera.log
        and re.search('pip install "?mujoco', camera.log)
        and 'Traceback' not in camera.log
    )
