# SPDX-License-Identifier: Apache-2.0
"""Finds what a Python file uses of ROS 2: names that it imports, attributes of what it imported or
made from that, arguments of calls, and methods that its classes inherit.

Types follow from imports, annotations, constructors, and from what distribution_api.json says that
methods return. Where nothing else tells it, a variable called `node` is taken for a node, and so
with the other names in BY_NAME. What stays without a type is not looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from support.distribution_api import is_known, type_of

ROOTS = frozenset(
    'rclpy launch launch_ros ament_index_python action_msgs builtin_interfaces diagnostic_msgs '
    'lifecycle_msgs rcl_interfaces rosgraph_msgs sensor_msgs std_msgs std_srvs'.split()
)
NODE = 'rclpy.node.Node'
LIFECYCLE = 'rclpy.lifecycle.LifecycleNodeMixin'
BY_NAME = {
    'node': f'{NODE} {LIFECYCLE}',
    'executor': 'rclpy.executors.SingleThreadedExecutor',
    'goal': 'rclpy.action.server.ServerGoalHandle',
    'handle': 'rclpy.action.client.ClientGoalHandle',
    'endpoint': 'rclpy.node.TopicEndpointInfo',
    'logger': 'rclpy.impl.rcutils_logger.RcutilsLogger',
}
_FAILURES = {'ImportError', 'ModuleNotFoundError', 'AttributeError'}


@dataclass(frozen=True)
class Use:
    """One use of a name: where it stands, how it is called, and whether the code around it asks or
    tries whether the name is there. `positional` is None where it is not called, or with arguments
    that cannot be counted.
    """

    line: int
    name: str
    positional: int | None = None
    keywords: tuple[str, ...] = ()
    is_guarded: bool = False


def ros_uses(source: str, of_our_nodes: Iterable[str] = ()) -> list[Use]:
    """Returns the uses in a Python file, by line.

    `of_our_nodes` are names that our nodes have besides what they inherit.
    """
    reader = _Reader(ast.parse(source), frozenset(of_our_nodes))
    return sorted(set(reader.uses()), key=lambda use: (use.line, use.name, str(use)))


def is_about_ros(source: str) -> bool:
    """Returns whether a file imports anything of ROS."""
    return any(root in source for root in ROOTS) and bool(_imports(ast.parse(source)))


def own_names(source: str) -> set[str]:
    """Returns the methods, and the attributes of self, that the classes of a file define."""
    tree = ast.parse(source)
    return {
        part.attr if isinstance(part, ast.Attribute) else part.name
        for kind in ast.walk(tree)
        if isinstance(kind, ast.ClassDef)
        for part in ast.walk(kind)
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))
        or (isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store))
    }


class _Reader:
    """Reads one file.

    A type is the full name of a class, or of several with blanks between them: bases, or what a
    try statement imports under one name. `_types` are those of variables, by name, and of
    attributes, by `self.name`; a name that stands for two things in one file has the type that it
    was given last.
    """

    def __init__(self, tree: ast.Module, of_our_nodes: frozenset[str]) -> None:
        self._tree = tree
        self._of_our_nodes = of_our_nodes
        self._parents = {
            child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)
        }
        self._imported = _imports(tree)
        self._own = own_names(ast.unparse(tree))
        self._types: dict[str, str] = {}
        for _ in range(2):  # what is assigned may have its type from an assignment further down
            self._read_types()

    def uses(self) -> Iterator[Use]:
        """Yields every use, some of them twice."""
        for node in ast.walk(self._tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for name in _imported_names(node).values():
                    yield Use(node.lineno, name, is_guarded=self._is_guarded(node, name))
            elif isinstance(node, ast.Attribute):
                for name in self._member(node).split():
                    yield Use(node.lineno, name, is_guarded=self._is_guarded(node, name))
            elif isinstance(node, ast.Call):
                yield from self._asked_for(node)
                yield from self._called(node)

    def _called(self, call: ast.Call) -> Iterator[Use]:
        """Yields the use of what is called, with its arguments."""
        names = (self._constructor(call) or self._name(call.func)).split()
        is_counted = not any(isinstance(argument, ast.Starred) for argument in call.args)
        positional = len(call.args) - self._is_unbound(call) if is_counted else None
        keywords = tuple(keyword.arg for keyword in call.keywords if keyword.arg is not None)
        for name in names:
            is_guarded = len(names) > 1 or self._is_guarded(call, name)
            yield Use(call.lineno, name, positional, keywords, is_guarded)

    def _asked_for(self, call: ast.Call) -> Iterator[Use]:
        """Yields the name that `hasattr` or `getattr` looks for."""
        function = call.func
        if not isinstance(function, ast.Name) or function.id not in ('hasattr', 'getattr'):
            return
        owner, wanted = self._type(call.args[0]).split(), call.args[1]
        if owner and isinstance(wanted, ast.Constant):
            is_asked = function.id == 'hasattr' or len(call.args) == 3
            name = _of_first(owner, str(wanted.value)) or f'{owner[0]}.{wanted.value}'
            yield Use(call.lineno, name, is_guarded=is_asked or self._is_guarded(call, name))

    def _constructor(self, call: ast.Call) -> str:
        """Returns the class whose constructor `super().__init__` or `Base.__init__` calls."""
        function = call.func
        if not isinstance(function, ast.Attribute) or function.attr != '__init__':
            return ''
        if isinstance(function.value, ast.Name):
            return self._name(function.value)
        return self._bases(call).partition(' ')[0]

    def _is_unbound(self, call: ast.Call) -> bool:
        """Returns whether the first argument is self, as in `Base.__init__(self)`."""
        function = call.func
        is_constructor = isinstance(function, ast.Attribute) and function.attr == '__init__'
        return is_constructor and isinstance(function.value, ast.Name)  # type: ignore[union-attr]

    # --- types ------------------------------------------------------------------------------------

    def _read_types(self) -> None:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.arg) and node.annotation is not None:
                self._note(node.arg, self._annotated(node.annotation))
            elif isinstance(node, ast.AnnAssign):
                self._note(_plain(node.target), self._annotated(node.annotation))
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    self._note(_plain(target), self._type(node.value))

    def _note(self, variable: str, kind: str) -> None:
        if variable and kind:
            self._types[variable] = kind

    def _annotated(self, annotation: ast.expr) -> str:
        if isinstance(annotation, ast.BinOp):  # Timer | None
            return self._annotated(annotation.left) or self._annotated(annotation.right)
        return self._name(annotation)

    def _type(self, node: ast.expr) -> str:
        """Returns the type of a value, '' when it is not known."""
        if isinstance(node, ast.Name):
            known = self._bases(node) if node.id == 'self' else self._types.get(node.id, '')
            return known or self._imported.get(node.id, '') or BY_NAME.get(node.id, '')
        if isinstance(node, ast.Attribute):
            member = self._member(node)
            held = type_of(member) or (member if member.rpartition('.')[2][:1].isupper() else '')
            by_name = '' if member else BY_NAME.get(node.attr.lstrip('_'), '')
            return self._types.get(_plain(node), '') or held or by_name
        if isinstance(node, ast.Call):
            name = self._name(node.func)
            return type_of(name) or (name if name.rpartition('.')[2][:1].isupper() else '')
        return ''

    def _name(self, node: ast.expr) -> str:
        """Returns the full name of what an expression names, '' when it is nothing of ROS."""
        if isinstance(node, ast.Name):
            return self._imported.get(node.id, '')
        return self._member(node) if isinstance(node, ast.Attribute) else ''

    def _member(self, node: ast.Attribute) -> str:
        """Returns the full name of an attribute of something that has a type."""
        owner = self._type(node.value).split()
        if not owner or node.attr == '__init__':
            return ''
        is_ours = node.attr in self._own or (NODE in owner and node.attr in self._of_our_nodes)
        return _of_first(owner, node.attr) or ('' if is_ours else f'{owner[0]}.{node.attr}')

    def _bases(self, node: ast.AST) -> str:
        """Returns the bases, as far as they are of ROS, of the class around a node."""
        kind = self._around(node, ast.ClassDef)
        bases = kind.bases if isinstance(kind, ast.ClassDef) else []
        return ' '.join(filter(None, map(self._name, bases)))

    # --- guards -----------------------------------------------------------------------------------

    def _is_guarded(self, node: ast.AST, name: str) -> bool:
        """Returns whether the code around asks with hasattr for the last part of the name, or
        catches that it is missing.
        """
        last = name.rpartition('.')[2]
        around: ast.AST | None = node
        while around := self._parents.get(around) if around is not None else None:
            if isinstance(around, ast.Try) and _FAILURES & _caught(around):
                return True
            if isinstance(around, (ast.If, ast.IfExp)) and last in _asked(around):
                return True
        return False

    def _around(self, node: ast.AST, kind: type[ast.AST]) -> ast.AST | None:
        around = self._parents.get(node)
        while around is not None and not isinstance(around, kind):
            around = self._parents.get(around)
        return around


def _of_first(owner: list[str], attribute: str) -> str:
    """Returns the attribute's full name in the first of several classes that has it."""
    names = (f'{kind}.{attribute}' for kind in owner)
    return next(filter(is_known, names), '')


def _imports(tree: ast.Module) -> dict[str, str]:
    """Returns what a file imports from ROS: full names by the names that it gives them."""
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for local, name in _imported_names(node).items():
                others = imported.get(local, '').split()
                imported[local] = ' '.join([*others, name] if name not in others else others)
    return imported


def _imported_names(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    module = f'{node.module}.' if isinstance(node, ast.ImportFrom) else ''
    return {
        alias.asname or alias.name: f'{module}{alias.name}'
        for alias in node.names
        if f'{module}{alias.name}'.partition('.')[0] in ROOTS
    }


def _plain(node: ast.expr) -> str:
    """Returns `name` or `self.name`, '' for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f'self.{node.attr}' if node.value.id == 'self' else ''
    return ''


def _caught(node: ast.Try) -> set[str]:
    types = [handler.type for handler in node.handlers if handler.type is not None]
    return {part.id for kind in types for part in ast.walk(kind) if isinstance(part, ast.Name)}


def _asked(node: ast.If | ast.IfExp) -> set[object]:
    return {
        call.args[1].value
        for call in ast.walk(node.test)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == 'hasattr'
        and isinstance(call.args[1], ast.Constant)
    }
