# SPDX-License-Identifier: Apache-2.0
"""`penguin bench live`: what a live camera costs with everything recomputed and with reuse, and
that both say the same.

Read `tasks` (values), `models` (which models get which parts), `parts` (one part, in a process of
its own), `texts` (texts with and without reuse), then the cases: `clips`, `captions`, `growth`,
`interrupt`. `scenes` has what the camera sees, `probe` is the backend in between, `drafts` and
`ratios` say what the cases come to, `report` and `tables` show it. `node` measures the node over
real topics and is the only file that uses ROS. `cli/bench_live` calls this folder.
"""
