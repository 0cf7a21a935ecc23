# SPDX-License-Identifier: Apache-2.0
"""What a model takes of a board's memory, and how the memory is kept free for it.

Read `board_classes` (what boards of a size have, and the sizes that fit them), `needs` (the bytes
that follow from a model's shape), `memory_plan` (needs against what there is: the table, the
refusal, what would fit), `page_cache` (files leave memory once they have been read). The plan is
made before anything is loaded: by `penguin build`, `penguin doctor` and the backend's `open`, each
on its own thread. Nothing here needs ROS or an inference library.
"""
