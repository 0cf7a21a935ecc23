# SPDX-License-Identifier: Apache-2.0
"""Makes the picture of docs/rules.md: forty seconds of the simulated world as an animated PNG, a
file of rules, and `penguin rules replay` over both.

    python benchmarks/rule_replay_picture.py FOLDER
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image as PillowImage

from penguin_ros.cli import main
from penguin_ros.shipped import shipped_model
from penguin_ros.simulation.random_look import random_camera, random_look
from penguin_ros.simulation.random_scene import Placement, placed
from penguin_ros.simulation.scene import Scene, Thing
from penguin_ros.simulation.world import World

SECONDS, FPS, SEED = 40, 1, 1
PLANNED_S = 3.0
PLACEMENTS = (
    (Placement('box', 'red', 'static', 4), 0.0),
    (Placement('ball', 'blue', 'appear', 4), 7.0),
    (Placement('cylinder', 'yellow', 'toward', 4), 17.0),
    (Placement('cone', 'green', 'leave', 4), 28.0),
)
RULES = """\
rules:
  - id: ball-is-there
    condition: Is there a blue ball?
    severity: warn
  - id: comes-closer
    condition: Is the yellow cylinder coming closer?
    severity: error
  - id: cone-leaves
    condition: What does the green cone do?
    choices: [It stands still., It moves left., It left the view., I cannot see that.]
    firing_choice: It left the view.
    severity: warn
  - id: four-things
    condition: Are there four things?
  - id: choices-that-do-not-fit
    condition: What does the green cone do?
    choices: [It comes closer., It left the view.]
    firing_choice: It comes closer.
  - id: never
    condition: Did the red box move and stop?
"""


def scene() -> Scene:
    source = random.Random(SEED)
    while True:
        camera = replace(random_camera(source, 1.0, PLANNED_S), speed=0.0)
        found = placed(source, camera, [one for one, _ in PLACEMENTS], PLANNED_S)
        if found:
            things = tuple(
                later(thing, begin) for thing, (_, begin) in zip(found, PLACEMENTS, strict=True)
            )
            look = random_look(source, 1.0)
            return Scene(SEED, things, camera, look.light, look.floor, look.background, 4.0)


def later(thing: Thing, seconds: float) -> Thing:
    motion = thing.motion
    start_s, stop_s = motion.start_s + seconds, motion.stop_s + seconds
    return replace(thing, motion=replace(motion, start_s=start_s, stop_s=stop_s))


def make(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    recording, rules = folder / 'recording.png', folder / 'rules.yaml'
    with World(168, 112) as world:
        world.load(scene())
        images = [PillowImage.fromarray(world.render(at / FPS)) for at in range(SECONDS * FPS)]
    images[0].save(
        recording, save_all=True, append_images=images[1:], duration=round(1000 / FPS), loop=0
    )
    rules.write_text(RULES)
    words = ['rules', 'replay', str(recording), '--rules', str(rules)]
    words += ['--checkpoint', str(shipped_model()), '--fps', str(FPS), '--max-frames', '4']
    picture = folder / 'rules_replay.png'
    code = main.main([*words, '--picture', str(picture)])
    PillowImage.open(picture).convert('RGB').quantize(64).save(picture, optimize=True)
    return code


if __name__ == '__main__':
    sys.exit(make(Path(sys.argv[1])))
