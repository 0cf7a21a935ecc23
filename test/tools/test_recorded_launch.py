# SPDX-License-Identifier: Apache-2.0
"""What launch files declare is told by running them, without `launch` and without a trace of what
stood in for it.
"""

from __future__ import annotations

import sys

from recorded_launch import STAND_INS, USERS, launch_arguments


def test_arguments_come_in_their_order_also_those_that_files_share() -> None:
    declared = launch_arguments('overlay.launch.py')
    names = ['node', 'rules', 'namespace', 'name', 'params_file', 'use_sim_time', 'log_level']
    assert [argument.name for argument in declared] == [*names, 'respawn']
    assert {argument.name: argument.default for argument in declared if argument.default} == {
        'name': 'overlay',
        'respawn': 'true',
    }


def test_a_default_in_the_folder_of_a_package_is_shown_by_its_path_below_it() -> None:
    defaults = {each.name: each.default for each in launch_arguments('gazebo.launch.py')}
    assert defaults['world'] == 'worlds/penguin_demo.sdf'
    assert defaults['params_file'] == 'config/simulation.yaml'


def test_nothing_of_the_stand_ins_is_left_behind() -> None:
    before = {name: sys.modules.get(name) for name in (*STAND_INS, *USERS)}
    launch_arguments('simulation.launch.py')
    assert {name: sys.modules.get(name) for name in before} == before
