# SPDX-License-Identifier: Apache-2.0
"""The kernels themselves, in Triton: imported by the process that compiles them and by the one that
interprets them, by nothing else.

A file holds kernels of one part of the network. Arguments in lower case are given at a launch,
those in capitals are fixed when a kernel is compiled. What a kernel computes is said in numpy by
`penguin_ros/kernels/reference.py`; its name and arguments there are the same.
"""
