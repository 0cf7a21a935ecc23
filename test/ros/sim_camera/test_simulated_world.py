# SPDX-License-Identifier: Apache-2.0
"""End to end over ROS topics in simulated time: a camera in a world whose truth is known, the node,
captions, answers.

The flow is tested with a tiny random network. What the captions mean is measured with the small
model of the simulated world, on scenes that it was never trained on, and held against what stands
beside its weights (evaluation/simulation_model.py).
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from penguin_msgs.msg import Caption, Evidence
from support.graph import Graph, stamp_ns
from support.simulated_world import Described, SimulatedWorld, events_outside, tally_of

from penguin_ros.config import ModelConfig
from penguin_ros.evaluation.simulation_model import Measured, measured
from penguin_ros.export.bundle_cache import with_bundle
from penguin_ros.ros.conversions.times import time_message
from penguin_ros.ros.sim_camera.scenes import Showing, ground_truth
from penguin_ros.shipped import shipped_model
from penguin_ros.simulation.clips import HELD_OUT
from penguin_ros.simulation.random_scene import random_scene
from penguin_ros.simulation.world import World

pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
pytestmark = pytest.mark.skipif(importlib.util.find_spec('mujoco') is None, reason='no MuJoCo here')

SCENES, QUESTIONS = 20, 3
FIRST_SCENE = HELD_OUT[3000]  # others than those that `penguin score` takes
FACTOR = 2.0
SCENE_S = 7.0 / FACTOR  # shown and paused, in real time


@pytest.fixture(scope='module')
def world() -> Iterator[World]:
    with World() as world:
        yield world


def of_four_frames(run: SimulatedWorld) -> Any:
    """Returns a whole scene whose caption rests on as many frames as it should."""
    found = [item for item in run.whole.values() if len(item.caption.evidence.frames) == 4]
    return found[0] if found else None


def test_what_the_node_tells_of_a_simulated_camera_is_about_images_of_one_scene(
    graph: Graph, world: World, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """This is about the flow only: whatever such a network says, its captions and answers come and
    name what they are about.
    """
    model = with_bundle(
        ModelConfig(checkpoint=str(tiny_checkpoint), backend='onnxruntime'), tmp_path
    )
    node = {
        'model.bundle': model.bundle,
        'caption.max_tokens': 8,
        'question.max_tokens': 8,
        'caption.period': 0.3,
    }
    run = SimulatedWorld(graph, world, node, {'seed': FIRST_SCENE, 'real_time_factor': 3.0})
    # A busy machine shows fewer images of a scene.
    item = run.wait_for(lambda: of_four_frames(run), 90, 'a caption of four images of a scene')
    assert item.caption.text
    assert item.caption.header.frame_id == 'camera_optical_frame'
    assert item.showing.end_ns - item.showing.start_ns == 3 * 10**9, 'as the parameter file says'
    answer = run.ask(item.showing.questions[0].question, item.showing)
    assert answer.error_code == 0 and answer.text
    assert item.showing.holds(stamp_ns(answer.evidence.start), stamp_ns(answer.evidence.end))
    assert not run.faults
    run.stop()


def test_an_event_outside_of_a_captions_stretch_would_be_seen(world: World) -> None:
    scene = next(
        scene
        for scene in (random_scene(seed, 2, 3.0) for seed in range(50))
        if scene.things[0].motion.kind == 'left'
    )
    showing = ground_truth(world, scene, Showing(0, 0, 10**10, 3.0, 0))

    def described(start_s: float, end_s: float, is_whole: bool) -> Described:
        stretch = Evidence(
            start=time_message(round(start_s * 1e9)), end=time_message(round(end_s * 1e9))
        )
        return Described(
            Caption(text=showing.caption, evidence=stretch), showing, None, is_whole, None
        )  # type: ignore[arg-type]

    assert (
        events_outside(described(10.0, 13.0, True))
        == events_outside(described(10.0, 12.0, False))
        == []
    )
    assert events_outside(described(11.0, 13.0, True)) and events_outside(
        described(5.0, 9.0, False)
    )


@pytest.fixture(scope='module')
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Measured]:
    """The model of the simulated world for ONNX Runtime, and what it is known to reach."""
    checkpoint = shipped_model()
    if checkpoint is None:
        pytest.xfail('engines/penguin_sim has no weights here: nothing that sees can be tested')
    model = with_bundle(
        ModelConfig(checkpoint=str(checkpoint), backend='onnxruntime'),
        tmp_path_factory.mktemp('bundle'),
    )
    return model.bundle, measured(checkpoint)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize('resets', [False, True], ids=['time_goes_on', 'time_is_set_back'])
def test_captions_and_answers_about_held_out_scenes_are_right(
    graph: Graph, world: World, bundle: tuple[str, Measured], resets: bool, record_property: Any
) -> None:
    folder, known = bundle
    seed = FIRST_SCENE + 500 * resets
    run = SimulatedWorld(
        graph,
        world,
        {'model.bundle': folder, 'caption.period': 0.5},
        {'seed': seed, 'level': known.level, 'real_time_factor': FACTOR},
    )
    try:
        answers = tally_of([])
        for number in range(SCENES):
            run.wait_for(
                lambda number=number: len(run.whole) > number,
                30 + 6 * SCENE_S,
                f'{number + 1} scenes described',
            )
            run.ask_all(list(run.whole.values())[number], QUESTIONS, answers)
            if resets and number == SCENES // 2:
                run.reset()
                run.wait_for(lambda: run.showings[-1].epoch == 1, 10, 'a scene of the new time')
        items = list(run.whole.values())[:SCENES]
        shares = {**tally_of(items).shares, 'answers': answers.shares['answers']}
        report = _report(items, answers, shares, run, known)
        record_property('simulated_world', report)
        warnings.warn(report, stacklevel=1)  # seen in every run's summary, passed or not
        assert run.faults == []
        assert {item.showing.epoch for item in items} == ({0, 1} if resets else {0})
        assert [text for item in run.described for text in events_outside(item)] == []
        assert {name: share for name, share in shares.items() if share < known.least(name)} == {}, (
            report
        )
    finally:  # the next run has another clock
        run.stop()


def _report(
    items: list[Any], answers: Any, shares: dict[str, float], run: SimulatedWorld, known: Measured
) -> str:
    parts = tally_of([item for item in run.described if not item.is_whole])
    told = ', '.join(
        f'{name} {share:.1%} (least {known.least(name):.1%})' for name, share in shares.items()
    )
    wrong = [
        f'{kind}: {text!r} for {right!r}'
        for kind, right, text, is_right in answers.answers
        if not is_right
    ]
    return (
        f'{len(items)} scenes of level {known.level}, {len(answers.answers)} answers: {told}; '
        f'{parts.claimed} facts of captions of unfinished scenes, '
        f'{parts.shares["caption_precision"]:.1%} right; wrong answers: {wrong}'
    )
