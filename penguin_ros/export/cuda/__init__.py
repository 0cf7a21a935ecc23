# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as a bundle for the backend `cuda`: weights packed as the kernels read them, and the
kernels, compiled for GPUs that need not be here.

`kernel_files` writes what was compiled.
"""
