# SPDX-License-Identifier: Apache-2.0
"""The only room that knows an inference library: it runs the network of a checkpoint or bundle.

Reading order: `base/` (the contract, and what all backends have in common), then one folder per
library, `torch/`, `onnxruntime/`, `cuda/` and `tensorrt/`, in which equal names mean equal roles
(`backend`, `session`, `encoder`, `decoder`, `cache`), and `open_backend` (the one branch on the
kind of backend). The rooms `generation` and `requests` call a backend through
`base.backend.Backend`, on the scheduler's worker thread, which opens, uses and closes it. Numpy
arrays and opaque handles go in and out; no tensor of a library leaves this room.
"""
