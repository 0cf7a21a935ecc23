# SPDX-License-Identifier: Apache-2.0
"""Scenes as worlds for Gazebo, in SDF: for Gazebo Sim (Harmonic and later) and for Gazebo Classic
11.

A thing that moves is an actor without a skin: its link follows the waypoints of the scripted
trajectory, without physics, in both Gazebos. Sizes, places, light, floor and background are those
of the scene, but a sky has one colour, that of the horizon, and a camera stays where it is at the
beginning: scenes with a moving one are refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from penguin_ros.errors import PenguinError
from penguin_ros.simulation.scene import COLOURS, Rgb, Scene, Thing

WORLD_NAME = 'penguin'
IMAGE_TOPIC = '/camera/image'
INFO_TOPIC = '/camera/camera_info'
"""In Gazebo Sim it follows from the other topic by a rule of the camera sensor."""
CLASSIC_IMAGE_TOPIC = f'/gazebo/{WORLD_NAME}/camera/link/camera/image'
"""Gazebo Classic names its topics itself."""
CLASSIC_POSE_TOPIC = f'/gazebo/{WORLD_NAME}/pose/info'
OPTICAL_FRAME = 'camera_optical_frame'
CONE_FILE = 'cone.obj'
WAYPOINTS_HZ = 20.0
"""Between waypoints Gazebo interpolates with a spline, which rounds off where fast things start and
stop; with waypoints that close, the path is the scene's.
"""
HEADLIGHT = 0.15  # of the light that MuJoCo's camera carries
_VERSIONS = {True: '1.6', False: '1.9'}
_SYSTEMS = (
    ('physics', 'Physics'),
    ('user-commands', 'UserCommands'),
    ('scene-broadcaster', 'SceneBroadcaster'),
)
_WALLS = (
    (1, 0, 0.0),
    (0, 1, math.pi / 2),
    (0, -1, math.pi / 2),
)
"""Directions in which the walls stand, and their yaw."""


class UnsuitableScene(PenguinError):
    """Gazebo cannot show the scene as it is meant."""


@dataclass(frozen=True)
class SdfOptions:
    """How a scene becomes a world.

    `is_classic`: for Gazebo Classic. Images of width x height are taken at `rate_hz`. Motion begins
    after `delay_s` of simulated time; waypoints reach over `seconds`, and with `loops` start again
    from the beginning. `mesh_folder` is the URI of the folder of CONE_FILE, empty for the world's
    own; `floor_script` is the URI and name of a material of Gazebo Classic for the floor, which
    else has its mean colour; `has_shadows`: things cast real shadows.
    """

    is_classic: bool = False
    width: int = 336
    height: int = 224
    rate_hz: float = 10.0
    delay_s: float = 0.0
    seconds: float = 3.0
    loops: bool = False
    mesh_folder: str = ''
    floor_script: tuple[str, str] | None = None
    has_shadows: bool = False


def world_sdf(scene: Scene, options: SdfOptions) -> str:
    """Returns the world as text; UnsuitableScene when its camera moves."""
    if scene.camera.speed or scene.camera.sway:
        raise UnsuitableScene(
            f'the camera of scene {scene.seed} moves',
            'in the worlds for Gazebo it stands',
            'Take a scene whose camera has no speed and no sway',
        )
    root = Element('sdf', version=_VERSIONS[options.is_classic])
    world = SubElement(root, 'world', name=WORLD_NAME)
    _add_simulation(world, options)
    _add_light(world, scene, options)
    _add_floor(world, scene, options)
    _add_walls(world, scene)
    for thing in scene.things:
        _add_thing(world, scene, thing, options)
    _add_camera(world, scene, options)
    ElementTree.indent(root)
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding='unicode') + '\n'


def name_of(thing: Thing) -> str:
    """Returns the name of a thing's model or actor; no scene has two of one colour and shape."""
    return f'{thing.colour}_{thing.shape}'


def cone_obj(sides: int = 24) -> str:
    """Returns a Wavefront OBJ of a cone around z, with radius 1, from -1 to 1, and flat faces."""
    corner = 2 * math.pi / sides
    ring, slopes = (
        [
            (math.cos(corner * (side + turn)), math.sin(corner * (side + turn)))
            for side in range(sides)
        ]
        for turn in (0.0, 0.5)
    )
    lines = ['# SPDX-License-Identifier: Apache-2.0', 'o cone']
    lines += [f'v {x:.5f} {y:.5f} -1' for x, y in ring] + ['v 0 0 1', 'v 0 0 -1']
    # it rises 2 over 1
    lines += [f'vn {0.89443 * x:.5f} {0.89443 * y:.5f} 0.44721' for x, y in slopes]
    lines += ['vn 0 0 -1']
    top, bottom, down = sides + 1, sides + 2, sides + 1
    for side in range(1, sides + 1):
        following = side % sides + 1
        lines += [
            f'f {side}//{side} {following}//{side} {top}//{side}',
            f'f {following}//{down} {side}//{down} {bottom}//{down}',
        ]
    return '\n'.join(lines) + '\n'


def _add_simulation(world: Element, options: SdfOptions) -> None:
    """Steps of 10 ms are enough for paths that no force changes."""
    physics = SubElement(world, 'physics', name='steps', type='ode')
    _add(physics, max_step_size='0.01', real_time_update_rate='100')
    if options.is_classic:
        return
    _add(physics, real_time_factor='1')
    for file, name in _SYSTEMS:
        SubElement(
            world, 'plugin', filename=f'gz-sim-{file}-system', name=f'gz::sim::systems::{name}'
        )
    sensors = SubElement(
        world, 'plugin', filename='gz-sim-sensors-system', name='gz::sim::systems::Sensors'
    )
    _add(sensors, render_engine='ogre2')


def _add_light(world: Element, scene: Scene, options: SdfOptions) -> None:
    shown = SubElement(world, 'scene')
    _add(
        shown,
        ambient=_rgba(scene.light.ambient),
        background=_rgba(scene.background.horizon),
        shadows=_bool(options.has_shadows),
        grid='false',
    )
    pitch = scene.camera.pitch
    for name, direction, colour in (
        ('sun', scene.light.direction, scene.light.sun),
        ('headlight', (math.cos(pitch), 0.0, -math.sin(pitch)), (HEADLIGHT,) * 3),
    ):
        light = SubElement(world, 'light', name=name, type='directional')
        shine = scene.light.shininess if name == 'sun' else 0.0
        _add(
            light,
            cast_shadows=_bool(options.has_shadows and name == 'sun'),
            pose='0 0 10 0 0 0',
            diffuse=_rgba(colour),
            specular=_rgba((shine, shine, shine)),
            direction=_numbers(*direction),
        )
        _add(SubElement(light, 'attenuation'), range='100', constant='1', linear='0', quadratic='0')


def _add_floor(world: Element, scene: Scene, options: SdfOptions) -> None:
    visual = _static_visual(world, 'floor', (0.0, 0.0, 0.0), 0.0)
    _add(SubElement(SubElement(visual, 'geometry'), 'plane'), normal='0 0 1', size='80 80')
    if options.floor_script is None:
        floor = scene.floor
        share = 0.0 if floor.pattern == 'plain' else 0.5
        _add_material(visual, _mixed(floor.colour, floor.second, share), 0.0)
        return
    uri, name = options.floor_script
    _add(SubElement(SubElement(visual, 'material'), 'script'), uri=uri, name=name)


def _add_walls(world: Element, scene: Scene) -> None:
    distance = scene.background.wall_distance
    for number, (x, y, yaw) in enumerate(_WALLS if distance > 0 else ()):
        visual = _static_visual(world, f'wall_{number}', (x * distance, y * distance, 0.0), yaw)
        _add(SubElement(SubElement(visual, 'geometry'), 'box'), size='0.1 40 5')
        _add_material(visual, scene.background.wall, 0.0)


def _add_thing(world: Element, scene: Scene, thing: Thing, options: SdfOptions) -> None:
    place = _numbers(*thing.position(0.0), 0, 0, thing.yaw)
    if thing.motion.kind == 'static':
        model = SubElement(world, 'model', name=name_of(thing))
        _add(model, static='true', pose=place)
    else:
        model = SubElement(world, 'actor', name=name_of(thing))
        # where the actor waits; in Gazebo Sim the waypoints would count from there
        if options.is_classic:
            _add(model, pose=place)
    visual = SubElement(SubElement(model, 'link', name='link'), 'visual', name='visual')
    _add_shape(SubElement(visual, 'geometry'), thing, options)
    _add_material(visual, COLOURS[thing.colour], scene.light.shininess)
    if thing.motion.kind != 'static':
        _add_path(model, thing, options)


def _add_shape(geometry: Element, thing: Thing, options: SdfOptions) -> None:
    radius, height = thing.size, 2 * thing.half_height
    if thing.shape == 'box':
        _add(SubElement(geometry, 'box'), size=_numbers(2 * radius, 2 * radius, height))
    elif thing.shape == 'ball':
        _add(SubElement(geometry, 'sphere'), radius=_numbers(radius))
    elif thing.shape == 'cylinder':
        _add(SubElement(geometry, 'cylinder'), radius=_numbers(radius), length=_numbers(height))
    else:  # SDF has known cones since 1.12 only
        folder = f'{options.mesh_folder}/' if options.mesh_folder else ''
        _add(
            SubElement(geometry, 'mesh'),
            uri=folder + CONE_FILE,
            scale=_numbers(radius, radius, height / 2),
        )


def _add_path(actor: Element, thing: Thing, options: SdfOptions) -> None:
    script = SubElement(actor, 'script')
    _add(
        script, loop=_bool(options.loops), delay_start=_numbers(options.delay_s), auto_start='true'
    )
    path = SubElement(script, 'trajectory', id='0', type='path')
    steps = max(1, math.ceil(options.seconds * WAYPOINTS_HZ))
    for step in range(steps + 1):
        seconds = options.seconds * step / steps
        _add(
            SubElement(path, 'waypoint'),
            time=_numbers(seconds),
            pose=_numbers(*thing.position(seconds), 0, 0, thing.yaw),
        )


def _add_camera(world: Element, scene: Scene, options: SdfOptions) -> None:
    model = SubElement(world, 'model', name='camera')
    (x, y, z), yaw = scene.camera.pose(0.0)
    _add(model, static='true', pose=_numbers(x, y, z, 0, scene.camera.pitch, yaw))
    sensor = SubElement(
        SubElement(model, 'link', name='link'), 'sensor', name='camera', type='camera'
    )
    _add(sensor, always_on='true', update_rate=_numbers(options.rate_hz))
    if not options.is_classic:
        _add(sensor, topic=IMAGE_TOPIC.lstrip('/'), gz_frame_id=OPTICAL_FRAME)
    camera = SubElement(sensor, 'camera')
    fov_x = 2 * math.atan(math.tan(scene.camera.fov_y / 2) * options.width / options.height)
    _add(camera, horizontal_fov=_numbers(fov_x))
    _add(
        SubElement(camera, 'image'),
        width=str(options.width),
        height=str(options.height),
        format='R8G8B8',
    )
    _add(SubElement(camera, 'clip'), near='0.05', far='100')
    if scene.noise > 0:
        _add(
            SubElement(camera, 'noise'),
            type='gaussian',
            mean='0',
            stddev=_numbers(scene.noise / 255),
        )


def _static_visual(
    world: Element, name: str, place: tuple[float, float, float], yaw: float
) -> Element:
    model = SubElement(world, 'model', name=name)
    _add(model, static='true', pose=_numbers(*place, 0, 0, yaw))
    return SubElement(SubElement(model, 'link', name='link'), 'visual', name='visual')


def _add_material(visual: Element, colour: Rgb, shininess: float) -> None:
    _add(
        SubElement(visual, 'material'),
        ambient=_rgba(colour),
        diffuse=_rgba(colour),
        specular=_rgba((shininess,) * 3),
    )


def _add(parent: Element, **texts: str) -> None:
    """Adds a child with a text for each argument, in their order."""
    for tag, text in texts.items():
        SubElement(parent, tag).text = text


def _mixed(first: Rgb, second: Rgb, share: float) -> Rgb:
    red, green, blue = (
        one + (other - one) * share for one, other in zip(first, second, strict=True)
    )
    return red, green, blue


def _numbers(*values: float) -> str:
    return ' '.join(f'{value:.5g}' for value in values)


def _rgba(colour: tuple[float, ...]) -> str:
    return _numbers(*colour, 1)


def _bool(value: bool) -> str:
    return 'true' if value else 'false'
