# SPDX-License-Identifier: Apache-2.0
"""Has Sphinx read the pages of this folder, which are Markdown; rosdoc2 adds the modules."""

project = 'penguin_ros'
author = 'penguin_ros developers'
copyright = author
extensions = ['myst_parser']
root_doc = 'index'
myst_heading_anchors = 4
exclude_patterns = ['README.md']
# Pages link to files of the repository, which are no pages.
suppress_warnings = ['myst.xref_missing']
autodoc_mock_imports = [
    *('numpy', 'PIL', 'cv2', 'yaml', 'rich', 'safetensors', 'tokenizers', 'onnx', 'torch'),
    *('onnxruntime', 'tensorrt', 'cuda', 'mujoco', 'matplotlib', 'rosbags', 'psutil', 'rclpy'),
    *('launch', 'launch_ros'),
]
