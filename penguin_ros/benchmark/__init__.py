# SPDX-License-Identifier: Apache-2.0
"""Is it fast? Measurements of a model on this machine.

Read `tasks` (what is measured, as values), `process` (a task in a process of its own), `machine`
(the machine's own limits) and `stored_clip` (the input), then the folders: `engine/` measures one
bundle or checkpoint, `live/` what a live camera costs with reuse and without.

The verb `bench` calls `engine/` and `live/`, the doctor calls rounds of `engine/`, and the programs
of the repository's `benchmarks/` use the rest. What is measured runs on the main thread of its own
process; only `live/interrupt` and `live/node` involve the worker thread of a pipeline.
"""
