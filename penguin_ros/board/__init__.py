# SPDX-License-Identifier: Apache-2.0
"""What a board with an NVIDIA GPU can do, found out on it: `penguin bench board`.

Reading order: `steps` (the steps as data), `sizes` (how large what they measure is), `result`
(values), `runner` with `step_process` (each step in a process of its own), the steps themselves
(`identity_step`, `cuda_step`, `memory_step` with `machine_facts`; `tensorrt_step`, `products_step`,
`decoder_layer_step`, `encoder_layer_step`, `top_token_step` with `micro_engine`, `micro_step`,
`product_graph` and `layer_bundle`; `build_step`, `load_step`, `numbers_step`, `speed_step`,
`kernels_step`, `with_engines_step` and `with_kernels_step` with `whole_answer`, `soak_step`),
`verdicts`, `engine_verdicts` and `model_verdicts` (facts in words), `decode_times` (what is
faster), `choice` and `profile` (what `penguin build --profile` takes), `golden` (what the numbers
are compared with) and `report`.

The verb `cli/bench_board` calls `runner`, `choice` and `report`; `penguin doctor` runs the first
steps. No step knows another: what one found out, the next is handed as plain values. Neither ROS
nor torch is imported here. Everything runs on the main thread of a step's process but the sampling
of memory while engines are built.
"""
