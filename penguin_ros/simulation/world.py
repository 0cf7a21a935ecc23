# SPDX-License-Identifier: Apache-2.0
"""Draws scenes with MuJoCo, offscreen through EGL: one compiled model whose geoms are moved,
recoloured and hidden.

A World belongs to the thread that made it.
"""

from __future__ import annotations

import math
import os
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penguin_ros.errors import BackendUnavailable
from penguin_ros.frame import Image
from penguin_ros.libraries import prepare, remedy
from penguin_ros.simulation.scene import COLOURS, HALF_HEIGHTS, MAX_THINGS, SIZES, Scene, Thing
from penguin_ros.simulation.world_model import (
    BLOTS,
    FLOOR_TEXELS,
    HIDDEN,
    SHOWN,
    SKY_TEXELS,
    WALLS,
    floor_texels,
    model_xml,
    sky_texels,
)

Segments = NDArray[np.int32]
"""(height, width) int32: per pixel the index of the thing in `scene.things`, -1 where there is
none.
"""


class World:
    """Draws images of the loaded scene at any times; BackendUnavailable where nothing can be
    drawn.
    """

    def __init__(self, width: int = 168, height: int = 112) -> None:
        self._mujoco = mujoco = _mujoco()
        self.width = width
        self.height = height
        self._model = mujoco.MjModel.from_xml_string(model_xml(width, height))
        self._data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, self._data)
        self._cones = [_Offset(self._model, index) for index in range(len(SIZES))]
        self._draw_list = mujoco.MjvScene(self._model, maxgeom=100)
        self._options = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = 0
        self._gl, self._context = _open_gl(mujoco, self._model, width, height)
        self._scene: Scene | None = None
        self._geoms: list[int] = []

    def load(self, scene: Scene) -> None:
        """Loads the scene that is drawn from now on; loading it again does nothing."""
        if scene is self._scene:
            return
        self._gl.make_current()
        model, numbers = self._model, dict.fromkeys(HALF_HEIGHTS, 0)
        model.geom_group[:] = HIDDEN
        model.geom_group[self._geom('floor')] = SHOWN
        self._geoms = []
        for index, thing in enumerate(scene.things):
            geom = self._geom(f'{thing.shape}_{numbers[thing.shape]}')
            numbers[thing.shape] += 1
            self._geoms.append(geom)
            self._dress(geom, thing)
            if scene.light.shadow > 0:
                blot = self._geom(f'blot_{index}')
                model.geom_group[blot] = BLOTS
                model.geom_rgba[blot] = (0, 0, 0, scene.light.shadow)
                model.geom_size[blot, 0] = thing.size * 1.15
        self._scene = scene
        self._set_surroundings(scene)

    def render(self, seconds: float) -> Image:
        """Returns (height, width, 3) uint8 RGB of the loaded scene at a time."""
        scene = self._place(seconds)
        self._options.geomgroup[BLOTS] = 1
        image = self._drawn(is_segmented=False)
        if scene.noise > 0:
            random = np.random.default_rng((scene.seed, round(seconds * 1000)))
            noise = random.standard_normal(image.shape, np.float32) * np.float32(scene.noise)
            return np.asarray(np.clip(image + noise, 0, 255), np.uint8)
        return image

    def segment(self, seconds: float) -> Segments:
        """Returns which thing each pixel shows."""
        self._place(seconds)
        self._options.geomgroup[BLOTS] = 0
        model = self._model
        walls_and_floor = [
            geom
            for geom in range(model.ngeom)
            if model.geom_group[geom] == SHOWN and geom not in self._geoms
        ]
        model.geom_group[walls_and_floor] = HIDDEN
        # 1 + the place in the list of what is drawn
        numbers = self._drawn(is_segmented=True).astype(np.int32)[..., 0]
        model.geom_group[walls_and_floor] = SHOWN
        table = np.full(MAX_THINGS + 1, -1, np.int32)
        for place, geom in enumerate(sorted(self._geoms)):
            table[place + 1] = self._geoms.index(geom)
        return table[numbers]

    def close(self) -> None:
        """Frees the graphics context; may be called again."""
        if self._context is not None:
            self._gl.make_current()  # else the objects of another World would be freed
            self._context.free()
            self._gl.free()
            self._context = self._gl = None

    def __enter__(self) -> World:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _geom(self, name: str) -> int:
        return int(self._model.geom(name).id)

    def _dress(self, geom: int, thing: Thing) -> None:
        model = self._model
        model.geom_group[geom] = SHOWN
        model.geom_rgba[geom] = (*COLOURS[thing.colour], 1.0)
        if thing.shape == 'cone':
            model.geom_dataid[geom] = self._size_index(thing)
        elif thing.shape == 'cylinder':
            model.geom_size[geom] = thing.size, thing.half_height, 0
        else:
            model.geom_size[geom] = thing.size, thing.size, thing.half_height

    @staticmethod
    def _size_index(thing: Thing) -> int:
        return min(range(len(SIZES)), key=lambda index: abs(SIZES[index] - thing.size))

    def _set_surroundings(self, scene: Scene) -> None:
        model, light, background = self._model, scene.light, scene.background
        model.cam_fovy[0] = math.degrees(scene.camera.fov_y)
        model.light_diffuse[0] = light.sun
        model.light_ambient[0] = light.ambient
        model.light_specular[0] = (light.shininess,) * 3
        self._data.light_xdir[0] = np.asarray(light.direction) / np.linalg.norm(light.direction)
        self._data.light_xpos[0] = 0, 0, 10
        material = model.material('floor').id
        model.mat_texrepeat[material] = (0.5 / scene.floor.tile,) * 2
        self._upload('floor', floor_texels(scene.floor, FLOOR_TEXELS, scene.seed))
        self._upload('sky', sky_texels(background, SKY_TEXELS))
        if background.wall_distance > 0:
            places = (
                (background.wall_distance, 0.0, 0.0),
                (0.0, background.wall_distance, math.pi / 2),
                (0.0, -background.wall_distance, math.pi / 2),
            )
            for number in range(WALLS):
                geom = self._geom(f'wall_{number}')
                x, y, yaw = places[number]
                model.geom_group[geom] = SHOWN
                model.geom_rgba[geom] = (*background.wall, 1.0)
                self._set_pose(geom, (x, y, 0.0), _turned(yaw))

    def _upload(self, name: str, texels: NDArray[np.uint8]) -> None:
        texture = self._model.texture(name).id
        start = int(self._model.tex_adr[texture])
        self._model.tex_data[start : start + texels.size] = texels.reshape(-1)
        self._mujoco.mjr_uploadTexture(self._model, self._context, texture)

    def _place(self, seconds: float) -> Scene:
        assert self._scene is not None, 'load a scene first'
        scene, sun = self._scene, self._scene.light.direction
        for index, (thing, geom) in enumerate(zip(scene.things, self._geoms, strict=True)):
            place, turn = thing.position(seconds), _turned(thing.yaw)
            if thing.shape == 'cone':
                place, turn = self._cones[self._size_index(thing)].applied(place, turn)
            self._set_pose(geom, place, turn)
            if scene.light.shadow > 0:
                x, y, z = thing.position(seconds)
                aside = 0.15 * z / -sun[2]
                self._set_pose(
                    self._geom(f'blot_{index}'),
                    (x + aside * sun[0], y + aside * sun[1], 0.003),
                    _turned(0.0),
                )
        place, yaw = scene.camera.pose(seconds)
        self._data.cam_xpos[0] = place
        self._data.cam_xmat[0] = _looking(yaw, scene.camera.pitch).reshape(-1)
        return scene

    def _set_pose(self, geom: int, place: Any, turn: NDArray[np.float64]) -> None:
        self._data.geom_xpos[geom] = place
        self._data.geom_xmat[geom] = turn.reshape(-1)

    def _drawn(self, is_segmented: bool) -> Image:
        mujoco, draw_list = self._mujoco, self._draw_list
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model,
            self._data,
            self._options,
            None,
            self._camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            draw_list,
        )
        for flag in (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR):
            draw_list.flags[flag] = is_segmented
        draw_list.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = not is_segmented
        for flag in (
            mujoco.mjtRndFlag.mjRND_SHADOW,
            mujoco.mjtRndFlag.mjRND_REFLECTION,
            mujoco.mjtRndFlag.mjRND_HAZE,
        ):
            draw_list.flags[flag] = 0
        mujoco.mjr_render(mujoco.MjrRect(0, 0, self.width, self.height), draw_list, self._context)
        image = np.empty((self.height, self.width, 3), np.uint8)
        mujoco.mjr_readPixels(
            image, None, mujoco.MjrRect(0, 0, self.width, self.height), self._context
        )
        return np.ascontiguousarray(image[::-1])  # OpenGL's first row is the lowest


class _Offset:
    """Undoes the turn by which MuJoCo aligns a mesh with its own axes of inertia."""

    def __init__(self, model: Any, mesh: int) -> None:
        w, x, y, z = model.mesh_quat[mesh]
        self._place = np.array(model.mesh_pos[mesh])
        self._turn = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )

    def applied(self, place: Any, turn: NDArray[np.float64]) -> tuple[Any, NDArray[np.float64]]:
        return np.asarray(place) + turn @ self._place, turn @ self._turn


def _turned(yaw: float) -> NDArray[np.float64]:
    return np.array(
        [[math.cos(yaw), -math.sin(yaw), 0.0], [math.sin(yaw), math.cos(yaw), 0.0], [0.0, 0.0, 1.0]]
    )


def _looking(yaw: float, pitch: float) -> NDArray[np.float64]:
    """Returns the axes of a camera as columns: right, up, backward."""
    forward = np.array(
        [math.cos(pitch) * math.cos(yaw), math.cos(pitch) * math.sin(yaw), -math.sin(pitch)]
    )
    right = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
    return np.stack([right, np.cross(right, forward), -forward], axis=1)


def _mujoco() -> Any:
    prepare('mujoco')
    try:
        import mujoco
    except Exception as error:
        raise BackendUnavailable(
            'MuJoCo cannot be loaded',
            str(error),
            f'{remedy(error, "mujoco")}, '
            'and on Debian: sudo apt-get install libegl1 libgl1-mesa-dri',
        ) from error
    return mujoco


def _open_gl(mujoco: Any, model: Any, width: int, height: int) -> tuple[Any, Any]:
    """Returns a graphics context without a screen, current on this thread, and MuJoCo's context in
    it.
    """
    gl = None
    try:
        # mujoco.GLContext is another one where mujoco was imported before that was set.
        if os.environ['MUJOCO_GL'] == 'egl':
            from mujoco.egl import GLContext
        else:
            GLContext = mujoco.GLContext
        gl = GLContext(width, height)
        gl.make_current()
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    except Exception as error:
        if gl is not None:
            gl.free()
        raise BackendUnavailable(
            'nothing can be drawn without a screen',
            str(error),
            'sudo apt-get install libegl1 libgl1-mesa-dri',
        ) from error
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    return gl, context
