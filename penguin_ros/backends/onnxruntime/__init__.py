# SPDX-License-Identifier: Apache-2.0
"""The backend that runs a bundle with ONNX Runtime, on a CPU or a GPU; it needs no torch.

Reading order: `backend` (what the scheduler's worker calls), `encoder` and `decoder` (the graphs of
the two parts), `cache` (keys and values in the host's or the device's memory), `session` (one graph
opened and checked), `providers` (where it computes), `library` (which version is there, and its
errors). No file needs onnxruntime to be imported; `open` loads it. Everything runs on the worker
thread.
"""
