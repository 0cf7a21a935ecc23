# SPDX-License-Identifier: Apache-2.0
"""The backend that runs the network in kernels of this project on an NVIDIA GPU. It needs the
driver and NVIDIA's Python bindings; no torch, no TensorRT, no Triton.

Reading order: `backend` (what the scheduler's worker calls), `session` (everything that is open at
once), `opened_kernels`, `decoder` with `llm_passes`, and `encoder` (what passes are given and say;
of which kernels they consist says `kernels.passes`), `pass_memory` (where all that lies), `slots`
(keys and values), `inputs` (what changes from pass to pass), `launcher` (kernels by name, passes as
graphs of CUDA), `modules` (kernels in the driver), `kernel_set` and `network_file` (kernels and
weights of a bundle on disk), `weights` (in device memory).

What the backend of TensorRT uses as well: `device_backend` (what both are), `versions` (which
bindings go with which driver), `buffers` and `device` (memory, copies, captured graphs), `faults`
(the errors that codes of CUDA become), `features` (visual features in device memory), `chunks` (a
chunk cut into passes).

`backend`, `buffers`, `chunks`, `device_backend`, `faults`, `features`, `kernel_set`,
`network_file`, `slots` and `versions` can be imported without the bindings. Everything runs on the
worker thread.
"""
