# SPDX-License-Identifier: Apache-2.0
"""What the robot saw, found again by time, words, meaning and place.

Reading order: `entry.py` and `filter.py` (the values), `store.py` (the front door). Writing:
`writer.py` (the thread), `changes.py` (its transactions), `inserter.py`, `pictures.py` (files
beside the database), `limits.py`. Searching: `recall.py`, `search.py`, `words.py`, `catalogue.py`
(the columns in memory), `paging.py`. The file: `database.py`, `schema.py`, `rows.py`.

The memory node and the verbs `recall`, `memory` and `index` call Store; this room knows neither ROS
nor a model. Any thread may call Store. What changes the store runs on its writer's thread; a search
runs on the caller's.
"""
