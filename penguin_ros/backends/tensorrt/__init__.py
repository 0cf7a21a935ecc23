# SPDX-License-Identifier: Apache-2.0
"""The backend that runs a bundle with TensorRT engines on an NVIDIA GPU, a Jetson's for one.

Reading order: `backend` (what the scheduler's worker calls), `session` (everything that is open at
once), `encoder` and `decoder` (one engine each), `decoder_inputs` and `chunks` (what one run of the
decoder is given), `cache` (keys and values in device memory), `cuda_graphs` (steps that repeat, and
where), `decode_choice` and `kernel_steps` (own kernels instead, on the same cache), `engine`,
`kernel_cache` and `log` (TensorRT), `engine_manifest` (which engines a bundle has and whether they
fit here), `library` and `bindings` (which TensorRT is installed, and its module). The GPU and its
memory are those of `backends/cuda`.

`backend`, `cache`, `decode_choice`, `engine_manifest` and `library` can be imported without
TensorRT and CUDA's bindings. The room `export` builds engines with `cache`, `engine`,
`engine_manifest`, `library` and `log`. Everything runs on the worker thread; TensorRT calls `log`
on threads of its own.
"""
