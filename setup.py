# SPDX-License-Identifier: Apache-2.0
"""Packages penguin_ros for colcon (ament_python) and pip; what needs a ROS 2 is in package.xml."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = 'penguin_ros'
OPENCV = 'opencv-python-headless>=4.5.4,<6'

setup(
    name=PACKAGE,
    version='0.1.0',
    description='Camera topics in, captions out, questions answered: Penguin-VL on ROS 2.',
    license='Apache-2.0',
    author='penguin_ros developers',
    author_email='maintainers@penguin-ros.invalid',
    maintainer='penguin_ros developers',
    maintainer_email='maintainers@penguin-ros.invalid',
    python_requires='>=3.10',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={'penguin_ros.web_console': ['page/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml', 'LICENSE']),
        (f'share/{PACKAGE}/launch', glob('launch/*.launch.py')),
        (f'share/{PACKAGE}/engines/penguin_sim', glob('engines/penguin_sim/*')),
        (f'share/{PACKAGE}/config', glob('config/*')),  # layouts too
        (f'share/{PACKAGE}/worlds', glob('worlds/*')),
    ],
    zip_safe=False,
    # Lower bounds are the oldest versions that work: numpy, pillow, PyYAML, rich and OpenCV are
    # those of Ubuntu 22.04, which an installed ROS 2 Humble uses. Upper bounds leave out the next
    # major version, or the one after the newest that was tried.
    install_requires=[
        'numpy>=1.21,<3',
        'pillow>=9.0,<14',
        'PyYAML>=5.4,<7',
        'rich>=11.2,<16',
        'safetensors>=0.4,<1',
        'tokenizers>=0.20,<1',
    ],
    extras_require={
        # Without ROS, `onnxruntime` or `torch` is all that captions, bundles and benchmarks need.
        # They bring OpenCV; the package by itself does not, since a pip build of it would hide
        # python3-opencv, which the cv_bridge of an installed ROS 2 was built with.
        'onnxruntime': [OPENCV, 'onnx>=1.19,<2', 'onnxruntime>=1.23,<2'],
        'torch': [OPENCV, 'torch>=2.1,<3'],
        'opencv': [OPENCV],
        # TensorRT itself comes with JetPack. The runtime in cuda-bindings must not be of a later
        # major version than the driver: CUDA 12 for JetPack 6, 13 for JetPack 7, whose driver is
        # no newer than 13.2. Either runs on a newer driver.
        'tensorrt-cu12': ['cuda-bindings>=12.9,<13'],
        'tensorrt-cu13': ['cuda-bindings>=13.0,<13.3'],
        # A desktop without TensorRT; newer versions of it were not tried, and each drops something.
        'tensorrt-rtx-cu12': ['cuda-bindings>=12.9,<13', 'tensorrt-rtx-cu12>=1.4,<1.8'],
        'tensorrt-rtx': ['cuda-bindings>=13.0,<14', 'tensorrt-rtx-cu13>=1.4,<1.8'],
        # Compiles kernels for the backend cuda; a machine that runs a bundle needs none of it.
        'kernels': ['triton>=3.9,<3.10; python_version >= "3.11"'],
        'export': ['onnx>=1.19,<2'],
        'hub': ['huggingface_hub>=0.25,<3'],
        'bag': ['rosbags>=0.10.9,<0.12'],
        # The operator's console in the browser, the engine behind HTTP, and what asks such engines.
        'console': ['aiohttp>=3.8,<4'],
        'serve': ['aiohttp>=3.8,<4'],
        # Many machines: penguin index --ray, penguin serve --ray.
        'ray': ['ray[serve]>=2.50,<3', 'pyarrow>=15,<30'],
        'remote': ['aiohttp>=3.8,<4'],
        # Answers that conform to a JSON schema.
        'json': ['llguidance>=1.6,<2'],
        # What the memory finds by meaning: a table of word vectors lies in this package.
        'meaning': ['wordllama>=0.2.2,<0.5'],
        # `penguin mcp`: tools for LLM agents. It brings starlette, uvicorn, pydantic, cryptography.
        'mcp': ['mcp>=2.1,<3'],
        # Behaviours for trees of py_trees; an installed ROS 2 brings ros-<distro>-py-trees.
        'trees': ['py_trees>=2.2,<3'],
        'simulation': ['mujoco>=3.4,<5'],
        'plot': ['matplotlib>=3.5,<4'],
        # For tools/train_penguin_sim.py, which needs the optimiser Muon.
        'train': ['torch>=2.9,<3', 'mujoco>=3.4,<5', 'matplotlib>=3.5,<4'],
        'test': ['pytest>=7,<10', 'pytest-timeout', 'hypothesis'],
    },
    entry_points={
        'console_scripts': [
            'penguin = penguin_ros.cli.entry:main',
            'penguin_node = penguin_ros.ros.node.main:main',
            'camera_node = penguin_ros.ros.camera_node.main:main',
            'memory_node = penguin_ros.ros.memory_node.main:main',
            'overlay_node = penguin_ros.ros.overlay_node.main:main',
            'record_node = penguin_ros.ros.record_node.main:main',
            'sim_camera = penguin_ros.ros.sim_camera.main:main',
        ],
        # `ros2 penguin VERB`, and what `ros2 doctor` says of penguin_ros, where ros2cli is.
        'ros2cli.command': ['penguin = penguin_ros.cli.ros2_verbs:PenguinCommand'],
        'penguin_ros.verb': [
            'ask = penguin_ros.cli.ros2_verbs:Ask',
            'chat = penguin_ros.cli.ros2_verbs:Chat',
            'console = penguin_ros.cli.ros2_verbs:Console',
            'doctor = penguin_ros.cli.ros2_verbs:Doctor',
            'memory = penguin_ros.cli.ros2_verbs:Memory',
            'recall = penguin_ros.cli.ros2_verbs:Recall',
            'rules = penguin_ros.cli.ros2_verbs:Rules',
            'summarise = penguin_ros.cli.ros2_verbs:Summarise',
            'watch = penguin_ros.cli.ros2_verbs:Watch',
        ],
        'ros2doctor.checks': ['PenguinCheck = penguin_ros.doctor.ros2_doctor:PenguinCheck'],
        'ros2doctor.report': ['PenguinReport = penguin_ros.doctor.ros2_doctor:PenguinReport'],
    },
)
