# SPDX-License-Identifier: Apache-2.0
"""Builds the TensorRT engines of a bundle, on the machine that will run them.

Reading order: `build` (the steps in order: which engines are missing or stale, and replacing them),
`candidates` (which variants are tried, and whether memory suffices), `profiles` (the sizes that an
engine takes), `graph` (the copy of a graph that TensorRT is given), `operators` (what its parser
takes, by version), `builder` (TensorRT's parser and builder), `gpu_check` (whether TensorRT for RTX
runs on this GPU). `build`, `profiles`, `graph` and `operators` can be imported without TensorRT. Of
the room `backends`, `build` loads a new engine before it replaces an old one; `builder` needs
TensorRT's log, and `profiles` the cache's bucket.

TensorRT reports progress on threads of its own; all else runs on the caller's.
"""
