# SPDX-License-Identifier: Apache-2.0
"""Packages penguin_ros for colcon (ament_python) and pip; what needs a ROS 2 is in package.xml."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = 'penguin_ros'

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
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml', 'LICENSE']),
        (f'share/{PACKAGE}/launch', glob('launch/*.launch.py')),
        (f'share/{PACKAGE}/engines/penguin_sim', glob('engines/penguin_sim/*')),
        (
            f'share/{PACKAGE}/config',
            glob('config/*.yaml') + glob('config/*.xml') + glob('config/*.rviz'),
        ),
        (f'share/{PACKAGE}/worlds', glob('worlds/*')),
    ],
    zip_safe=False,
    install_requires=[
        'numpy>=1.21',
        'pillow>=9.0',
        'PyYAML',
        'rich',
        'safetensors>=0.4',
        'tokenizers>=0.15',
    ],
    extras_require={
        # OpenCV is an extra because a pip build of it would hide python3-opencv, which cv_bridge
        # was built with.
        'opencv': ['opencv-python-headless'],
        'torch': ['torch>=2.1'],
        'onnxruntime': ['onnxruntime>=1.23'],
        'export': ['onnx>=1.19'],
        # TensorRT itself comes with JetPack; this must match its CUDA: 12.x or 13.x.
        'tensorrt': ['cuda-bindings>=12.8'],
        'hub': ['huggingface_hub'],
        'bag': ['rosbags'],
        'simulation': ['mujoco>=3.4'],
        'plot': ['matplotlib'],
        # For tools/train_penguin_sim.py, which needs the optimiser Muon.
        'train': ['torch>=2.9', 'mujoco>=3.4', 'matplotlib'],
        'test': ['pytest>=7', 'pytest-timeout', 'hypothesis'],
    },
    entry_points={
        'console_scripts': [
            'penguin = penguin_ros.cli.main:main',
            'penguin_node = penguin_ros.ros.node.main:main',
            'camera_node = penguin_ros.ros.camera_node.main:main',
            'sim_camera = penguin_ros.ros.sim_camera.main:main',
        ],
    },
)
