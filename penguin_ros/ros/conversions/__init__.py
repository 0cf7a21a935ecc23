# SPDX-License-Identifier: Apache-2.0
"""Converts between the core's values and what travels over ROS.

Reading order: `times` and `error_codes` convert single values, `messages` whole requests, evidence,
answers and captions. `topics` holds the names and qualities of service of a camera's topics,
`parameters` the descriptors of parameters and the checks of their values.

Every other room below `ros/` calls this one; it calls only the core's value rooms. `times`,
`topics` and `parameters` need no built `penguin_msgs`, so camera nodes run without it. Nothing here
has state or a thread.
"""
