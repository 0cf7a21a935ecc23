# SPDX-License-Identifier: Apache-2.0
"""The network as kernels of this project: written in Triton, run on a CPU by Triton's interpreter,
compiled ahead for cards that are not here, loaded by `backends/cuda` without Triton.

In reading order: `table` (what a loader must know of a kernel, as values and JSON), `packing` (how
weights lie in memory), `reference` (what each kernel computes, in numpy), `sources/` (the kernels;
only child processes import them), `library` (where Triton lies, and why it never is in this
process), `ahead` with `compile_process` (to PTX and machine code), `interpreter` with
`interpreter_process` (runs a kernel over memory that both processes see).

What a loader does: for every `table.Kernel` of a bundle it gets the function `symbol` from the
module made of `cubin`, or of `ptx` where the card is none of `table.TARGETS`. A launch has
`kernel.grid.programs(rows)` blocks of `32 * kernel.warps` threads and `shared_bytes` of shared
memory (above 48 KiB after cuFuncSetAttribute); its arguments are those of `kernel.arguments` in
order, then `table.HIDDEN_POINTERS` addresses that are 0. Constants are compiled in and not given.
An argument with `is_aligned` is a multiple of 16, as an address or as a number.

All of it runs on the thread that calls; the interpreter's and the compiler's processes are children
that end with their owner. `export` and `backends.cuda` call this room; it knows of checkpoints'
shapes and of nothing else.
"""
