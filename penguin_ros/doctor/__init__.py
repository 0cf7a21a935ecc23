# SPDX-License-Identifier: Apache-2.0
"""What is missing on this machine, and which command provides it: the checks of `penguin doctor`.

Read `finding` (a value), then `library_checks` (Python, libraries and their versions),
`card_checks` (the NVIDIA card, and who leaves it idle), `cuda_checks` (driver and runtime),
`memory_checks` (a Jetson's memory, and whether a bundle fits),
`board_checks` (a Jetson: its power mode, calls of CUDA, how memory behaves), `machine_checks`
(ROS 2, transport, files), `engine_checks` (a bundle runs and computes what it should),
`camera_checks` (image topics on the air). Each check is a generator of findings; the verb
`cli/doctor` chooses them and prints. `engine_checks` and `board_checks` run what they measure in
processes of their own; everything else runs on the main thread.
"""
