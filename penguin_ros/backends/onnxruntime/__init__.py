# SPDX-License-Identifier: Apache-2.0
"""The backend that runs a bundle with ONNX Runtime, on a CPU or a GPU; it needs no torch.

Reading order: `backend` (what the scheduler's worker calls), `encoder` and `decoder` (the graphs of
the two parts), `steps` (one run of the LLM as a value), then the two ways to run it: `host_steps`
with `cache` on a CPU, `device_steps` with `device_cache` and `device_memory` on a GPU, where
`device_encoder` takes the place of `encoder`; `session`
(one graph opened and checked), `providers` (where it computes), `cuda_libraries` (what a GPU needs
for that), `library` (which version is there, and its errors). No file needs onnxruntime to be
imported; `open` loads it. Everything runs on the worker thread.
"""
