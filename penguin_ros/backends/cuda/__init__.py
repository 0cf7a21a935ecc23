# SPDX-License-Identifier: Apache-2.0
"""An NVIDIA GPU through NVIDIA's own Python bindings, `cuda-bindings`; nothing here needs torch,
TensorRT or Triton.

Reading order: `versions` (which bindings go with which driver), `buffers` and `device` (memory,
copies, captured graphs), `features` (visual features in device memory). The backend of TensorRT
uses these files as well. `buffers`, `features` and `versions` can be imported without the bindings.
Everything runs on the worker thread.
"""
