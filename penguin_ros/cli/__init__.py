# SPDX-License-Identifier: Apache-2.0
"""The command `penguin`: verbs that parse options, call a library room and print what came of it.

Each verb is a file of this folder with `add_arguments` and `run`; `bench` has a file for each kind,
`bench_engine` and `bench_live`. Read `main` first (it finds the verb and prints errors), then
`setting_options` (settings as options), then the verbs: `caption`, `ask`, `watch`, `demo`, `build`,
`bench`, `score`, `parity`, `doctor`. `exit_codes` has what they return.

Nothing imports this room but programs in `tools/`. What a verb does lives in `evaluation/`,
`benchmark/`, `demo/`, `doctor/`, `export/` or `ros/client/`. Everything runs on the main thread.
"""
