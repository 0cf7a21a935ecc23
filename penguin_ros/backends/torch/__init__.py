# SPDX-License-Identifier: Apache-2.0
"""The backend that runs a published checkpoint with PyTorch: the reference of this project's own
numbers, and the one that needs no build.

Reading order: `backend` (what the scheduler's worker calls), `session` (weights and cache, open at
once), `encoder` and `decoder` (the network as functions), `layers` (what both consist of), `cache`
(keys and values), `weights` (tensors from the checkpoint), `device` (where and in which precision),
`attention` (which kernels).
Only `backend` can be imported without torch; everything runs on the worker thread.
"""
