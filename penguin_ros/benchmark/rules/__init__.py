# SPDX-License-Identifier: Apache-2.0
"""`penguin bench rules`: what many rules on one clip cost, read as branches of it, against one rule
and against asking one after another.

Read `tasks` (values), `measures` (one model, in this process) and `report`. `cli/bench_rules` calls
this folder.
"""
