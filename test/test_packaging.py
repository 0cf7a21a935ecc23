# SPDX-License-Identifier: Apache-2.0
"""The two ROS packages as packages: what they declare is there, and colcon sees both."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from penguin_ros.request import StopReason

ROOT = Path(__file__).resolve().parents[1]
MESSAGES = ROOT / 'penguin_msgs'
INTERFACES = sorted(
    [*MESSAGES.glob('msg/*.msg'), *MESSAGES.glob('srv/*.srv'), *MESSAGES.glob('action/*.action')]
)
PACKAGES = ['penguin_msgs', 'penguin_ros']
FIELD = re.compile(r'^[A-Za-z][\w/]*(\[\])?\s+(?P<name>\w+)(\s*=\s*(?P<value>\S+))?$')


def declared(path: Path) -> dict[str, list[str]]:
    """Returns the elements of a package.xml by tag."""
    elements: dict[str, list[str]] = {}
    for element in ElementTree.parse(path).getroot():
        elements.setdefault(element.tag, []).append((element.text or '').strip())
    return elements


def constants(path: Path) -> dict[str, int]:
    """Returns the named constants of an interface file."""
    matches = filter(None, (FIELD.match(line) for line in path.read_text().splitlines()))
    return {match['name']: int(match['value']) for match in matches if match['value']}


def fields(path: Path, section: int = 0) -> list[str]:
    """Returns the lines of an interface's section that declare fields, without constants."""
    lines = path.read_text().split('\n---\n')[section].splitlines()
    return [line for line in lines if (match := FIELD.match(line)) and not match['value']]


@pytest.fixture(scope='module')
def setup_arguments() -> dict[str, ast.expr]:
    """Returns the keyword arguments of the call in setup.py."""
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text()))
        if isinstance(node, ast.Call)
    ]
    (call,) = (
        call for call in calls if isinstance(call.func, ast.Name) and call.func.id == 'setup'
    )
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}


@pytest.mark.parametrize('folder', [ROOT, MESSAGES], ids=PACKAGES[::-1])
def test_package_xml_is_of_format_3_with_licence_and_maintainer(folder: Path) -> None:
    path = folder / 'package.xml'
    package = declared(path)
    assert ElementTree.parse(path).getroot().get('format') == '3'
    assert package['license'] == ['Apache-2.0']
    assert package['maintainer']
    assert ElementTree.parse(path).getroot().find('maintainer').get('email')  # type: ignore[union-attr]


def test_the_licence_file_is_whole() -> None:
    text = (ROOT / 'LICENSE').read_text()
    assert 'Version 2.0, January 2004' in text
    assert 'END OF TERMS AND CONDITIONS' in text


def test_both_packages_and_setup_py_have_one_version(setup_arguments: dict[str, ast.expr]) -> None:
    version = ast.literal_eval(setup_arguments['version'])
    assert (
        declared(ROOT / 'package.xml')['version']
        == declared(MESSAGES / 'package.xml')['version']
        == [version]
    )


def test_penguin_ros_depends_on_every_message_package_that_it_imports() -> None:
    known = {
        name
        for tag, names in declared(ROOT / 'package.xml').items()
        if tag in ('depend', 'exec_depend')
        for name in names
    }
    imported = imported_ros_packages('penguin_ros')
    assert 'penguin_msgs' in imported
    assert imported <= known


def test_the_tests_depend_on_what_they_import_and_rosdep_can_install() -> None:
    package = declared(ROOT / 'package.xml')
    known = {*package['depend'], *package['exec_depend'], *package['test_depend']}
    assert imported_ros_packages('test') <= known
    texts = [path.read_text() for path in (ROOT / 'test').rglob('*.py')]
    for module in ('hypothesis', 'psutil', 'pytest'):
        assert any(re.search(rf'^(?:from|import) {module}\b', text, re.M) for text in texts)
        assert f'python3-{module}' in known


def imported_ros_packages(folder: str) -> set[str]:
    """Returns the ROS packages that the Python files of a folder import."""
    statement = re.compile(
        r'^\s*(?:from|import) (\w+_msgs|\w+_srvs|\w*_interfaces|rclpy|ament_index_python)\b', re.M
    )
    return {
        name
        for path in (ROOT / folder).rglob('*.py')
        for name in statement.findall(path.read_text())
    }


def test_an_older_pytest_is_told_by_a_sentence() -> None:
    """Before 7.0 it ignores `pythonpath`, and every test fails to import what tests share."""
    text = (ROOT / 'pyproject.toml').read_text()
    assert re.search(r'^minversion = "7\.0"', text, re.M) and 'pythonpath = ' in text


def test_every_program_that_is_declared_exists_and_is_installed(
    setup_arguments: dict[str, ast.expr],
) -> None:
    lines = ast.literal_eval(setup_arguments['entry_points'])['console_scripts']
    programs = dict(line.split(' = ') for line in lines)
    assert set(programs) == {
        'penguin',
        'penguin_node',
        'camera_node',
        'memory_node',
        'overlay_node',
        'record_node',
        'sim_camera',
    }
    for value in programs.values():
        module, _, function = value.partition(':')
        source = (ROOT / module.replace('.', '/')).with_suffix('.py')
        assert source.is_file(), value
        functions = {
            node.name
            for node in ast.parse(source.read_text()).body
            if isinstance(node, ast.FunctionDef)
        }
        assert function in functions, value
    installed = distribution('penguin_ros').entry_points.select(group='console_scripts')
    stale = {entry.name: entry.value for entry in installed if entry.value != programs[entry.name]}
    assert {entry.name for entry in installed} == set(programs)
    assert not stale, 'installed from an older setup.py; type: ./scripts/setup'


def test_programs_go_where_ros2_run_looks_for_them() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    assert (
        config['develop']['script_dir']
        == config['install']['install_scripts']
        == '$base/lib/penguin_ros'
    )


def test_only_the_package_itself_is_installed(setup_arguments: dict[str, ast.expr]) -> None:
    assert isinstance(setup_arguments['packages'], ast.Call)
    # In a process of its own: setuptools does not import where a library imported distutils first.
    program = (
        'from setuptools import find_packages; '
        'print(*find_packages(include=["penguin_ros", "penguin_ros.*"]))'
    )
    found = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert all(name.split('.')[0] == 'penguin_ros' for name in found)
    rooms = {
        '.'.join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / 'penguin_ros').rglob('*.py')
    }
    assert rooms == set(found)


def test_colcon_test_runs_something(setup_arguments: dict[str, ast.expr]) -> None:
    extras = setup_arguments['extras_require']
    assert isinstance(extras, ast.Dict)
    by_name = dict(
        zip((ast.literal_eval(key) for key in extras.keys if key), extras.values, strict=True)
    )
    assert any(
        requirement.startswith('pytest') for requirement in ast.literal_eval(by_name['test'])
    )


def test_no_pip_build_of_opencv_hides_that_of_the_system(
    setup_arguments: dict[str, ast.expr],
) -> None:
    assert not any(
        'opencv' in requirement
        for requirement in ast.literal_eval(setup_arguments['install_requires'])
    )


def colcon_list(folder: Path, *arguments: str) -> list[str]:
    """Returns the names that colcon finds from `folder`."""
    result = subprocess.run(
        [sys.executable, '-m', 'colcon', 'list', '--names-only', *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return sorted(result.stdout.split())


def test_colcon_sees_both_packages_in_the_root() -> None:
    assert colcon_list(ROOT) == PACKAGES


def test_colcon_sees_both_packages_in_a_workspace_with_the_documented_command(
    tmp_path: Path,
) -> None:
    source = tmp_path / 'src' / 'penguin_ros'
    shutil.copytree(MESSAGES, source / 'penguin_msgs')
    for name in ('package.xml', 'setup.py', 'setup.cfg'):
        shutil.copy(ROOT / name, source / name)
    assert colcon_list(tmp_path, '--base-paths', 'src', 'src/penguin_ros/penguin_msgs') == PACKAGES


def test_every_interface_file_is_built() -> None:
    listed = set(
        re.findall(
            r'^\s+((?:msg|srv|action)/\w+\.\w+)$', (MESSAGES / 'CMakeLists.txt').read_text(), re.M
        )
    )
    assert listed == {str(path.relative_to(MESSAGES)) for path in INTERFACES}


@pytest.mark.parametrize('path', INTERFACES, ids=lambda path: path.name)
def test_every_field_has_a_comment_right_above_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith('# ') and lines[1] in ('', '#') or lines[1].startswith('# ')
    declarations = [
        number for number, line in enumerate(lines) if line and not line.startswith(('#', '---'))
    ]
    assert declarations
    for number in declarations:
        assert FIELD.match(lines[number]), lines[number]
        assert lines[number - 1].startswith('# '), f'{lines[number]!r} has no comment'


def test_a_question_has_the_same_fields_on_every_way_in() -> None:
    question = fields(MESSAGES / 'msg' / 'Question.msg')
    assert (
        question
        == fields(MESSAGES / 'srv' / 'Ask.srv')
        == fields(MESSAGES / 'action' / 'AnswerQuestion.action')
    )


def test_stop_reasons_have_the_numbers_of_the_core() -> None:
    assert constants(MESSAGES / 'msg' / 'Evidence.msg') == {
        reason.name: int(reason) for reason in StopReason
    }


def test_error_codes_are_unique_and_start_with_none() -> None:
    codes = constants(MESSAGES / 'msg' / 'ErrorCode.msg')
    assert codes['NONE'] == 0
    assert sorted(codes.values()) == list(range(len(codes)))


@pytest.mark.parametrize('folder', [ROOT, MESSAGES], ids=PACKAGES[::-1])
def test_a_package_can_be_built_on_the_build_farm(folder: Path) -> None:
    package = ElementTree.parse(folder / 'package.xml').getroot()
    needed = [tag.text or '' for tag in package if tag.tag.endswith('depend')]
    assert needed and not [key for key in needed if key.endswith('-pip')]
    assert [tag.text for tag in package.findall('license')] == ['Apache-2.0']
    name = package.findtext('name')
    assert f'Changelog for package {name}' in (folder / 'CHANGELOG.rst').read_text()


def test_the_pages_of_docs_are_built_for_docs_ros_org() -> None:
    package = ElementTree.parse(ROOT / 'package.xml').getroot()
    documents = list(
        yaml.safe_load_all((ROOT / package.findtext('export/rosdoc2', '')).read_text())
    )
    assert documents[0]['type'] == 'rosdoc2 config'
    sphinx = documents[1]['builders'][0]['sphinx']
    assert (ROOT / sphinx['sphinx_sourcedir'] / 'conf.py').is_file()
    assert (ROOT / sphinx['sphinx_sourcedir'] / 'index.rst').is_file()
