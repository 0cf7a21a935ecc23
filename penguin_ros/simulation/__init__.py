# SPDX-License-Identifier: Apache-2.0
"""A small world with a camera, of which everything true is known.

Reading order: `scene.py` (the world as values), `random_scene.py` and `random_look.py` (scenes by
seed) or `scene_file.py` (scenes as JSON); `world.py` draws a scene with the MuJoCo model of
`world_model.py`. `truth.py` says what a watcher could truly tell, from the geometry in `view.py`
and `motion_seen.py`; `language.py` and `questions.py` put it into the phrases of `words.py`;
`scoring.py` compares what a model says with it. `clips.py` and `ground_truth.py` combine these for
training and for the simulated camera.

The simulated camera, `penguin score`, the demo and the training tools call this room; it knows
neither ROS nor a model. A World belongs to the thread that made it, everything else is values and
pure functions.
"""
