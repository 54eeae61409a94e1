"""The syntax tree of one definition -> which other definitions and imports its text uses, and where.

For `source_linker`, which knows what a name at the top of a module stands for. Follows Python's scopes: arguments,
local variables and names of a class body hide those at the top of the module.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

Name = tuple[str, str]
"""(module, name in it); the name is empty where the module itself is meant."""
Span = tuple[int, int, int, int]
"""First line and column, last line and column of a stretch of text; lines from 1, columns in bytes from 0."""
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True)
class Import:
    """`import module` or `from module import name`, under the local name `local`."""

    module: str
    name: str
    local: str

    def line(self) -> str:
        """As it is written."""
        bound = self.name or self.module
        alias = "" if self.local == bound else f" as {self.local}"
        return f"from {self.module} import {self.name}{alias}" if self.name else f"import {self.module}{alias}"


def imports_of(node: ast.stmt) -> list[Import]:
    """What an import statement binds; nothing for other statements and for `__future__`."""
    if isinstance(node, ast.Import):
        return [Import(alias.name, "", alias.asname or alias.name) for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module != "__future__":
        return [Import(node.module or "", alias.name, alias.asname or alias.name) for alias in node.names]
    return []


def bound_in(body: list[ast.stmt]) -> Iterator[str | Import]:
    """Names that the statements of a function or class bind, imports as such; nested scopes are left alone."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from imports_of(node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif not isinstance(node, (ast.Lambda, *Comprehension.__args__)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            if isinstance(node, ast.ExceptHandler) and node.name:
                yield node.name
            waiting += ast.iter_child_nodes(node)


Scope = tuple[bool, dict[str, Name | Import | None]]
"""(whether it is a class body, local name -> what was imported under it; None for an ordinary variable)."""


class Reader(ast.NodeVisitor):
    """Visit a piece's node; then read the three results.

    Args:
        resolve: (module, name at its top) -> a definition of ours, an import of others', None for a builtin.
        target: the same for an import statement.
        module: where the piece stands.
        drop: methods that are left out.

    Attributes:
        uses: stretches of text that name another definition, and what each of them names.
        foreign: imports at the top of the module that the piece needs.
        cut: lines that fall away: dropped methods, imports of ours inside functions.
    """

    def __init__(
        self,
        resolve: Callable[[str, str], Name | Import | None],
        target: Callable[[Import], Name | Import],
        module: str,
        drop: Set[str],
    ) -> None:
        self.resolve, self.target, self.module, self.drop = resolve, target, module, drop
        self.uses: list[tuple[Span, Name]] = []
        self.foreign: set[Import] = set()
        self.cut: set[int] = set()
        self.scopes: list[Scope] = []

    def found(self, name: str) -> Name | Import | None:
        """What a name means here; None: a local variable or a builtin."""
        for depth, (of_class, names) in enumerate(reversed(self.scopes)):
            if name in names and not (of_class and depth):
                return names[name]
        return self.resolve(self.module, name)

    def _inside(self, of_class: bool, names: dict[str, Name | Import | None], nodes: list[ast.AST]) -> None:
        self.scopes.append((of_class, names))
        for node in nodes:
            self.visit(node)
        self.scopes.pop()

    def _bound(self, body: list[ast.stmt]) -> dict[str, Name | Import | None]:
        names: dict[str, Name | Import | None] = {}
        for one in bound_in(body):
            if isinstance(one, Import):
                led = self.target(one)
                names[one.local] = led if isinstance(led, tuple) else None  # foreign imports stay where they are
            else:
                names[one] = None
        return names

    def _function(self, node: Function) -> None:
        given = node.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *(a for a in (given.vararg, given.kwarg) if a)]
        outside: list[ast.AST] = [*given.defaults, *(d for d in given.kw_defaults if d is not None)]
        outside += [a.annotation for a in every if a.annotation is not None]
        body: list[ast.stmt] = [] if isinstance(node, ast.Lambda) else node.body
        if not isinstance(node, ast.Lambda):
            outside += [*node.decorator_list, *([node.returns] if node.returns is not None else [])]
        for part in outside:
            self.visit(part)
        names = self._bound(body) | dict.fromkeys(a.arg for a in every)
        self._inside(False, names, [node.body] if isinstance(node, ast.Lambda) else list(body))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Arguments and local variables hide what is outside."""
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """As functions."""
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """As functions."""
        self._function(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Names of the body are seen in the body, not in its methods."""
        for part in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self.visit(part)
        kept: list[ast.AST] = []
        for inner in node.body:
            if not self.scopes and isinstance(inner, ast.FunctionDef) and inner.name in self.drop:
                first = min([inner.lineno, *(d.lineno for d in inner.decorator_list)])
                self.cut |= set(range(first - 1, (inner.end_lineno or first) + 1))  # with the empty line before it
            else:
                kept.append(inner)
        self._inside(True, self._bound([n for n in kept if isinstance(n, ast.stmt)]), kept)

    def _comprehension(self, node: Comprehension) -> None:
        targets = [n.id for one in node.generators for n in ast.walk(one.target) if isinstance(n, ast.Name)]
        self._inside(False, dict.fromkeys(targets), list(ast.iter_child_nodes(node)))

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        ours = [isinstance(self.target(one), tuple) for one in imports_of(node)]
        if all(ours):
            self.cut |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        elif any(ours):
            raise ValueError(f"{self.module}, line {node.lineno}: imports of ours and of others in one line")

    visit_Import = visit_ImportFrom = _import

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """`module.name` of an imported module of ours names the definition itself."""
        led = self.found(node.value.id) if isinstance(node.value, ast.Name) else None
        if not (isinstance(led, tuple) and not led[1]):
            self.generic_visit(node)
            return
        named = self.resolve(led[0], node.attr)
        if not isinstance(named, tuple) or not named[1]:
            raise ValueError(f"{self.module}, line {node.lineno}: {led[0]} defines no {node.attr}")
        self._use(node, named)

    def visit_Name(self, node: ast.Name) -> None:
        """A use of a definition or an import."""
        led = self.found(node.id)
        if isinstance(led, Import):
            self.foreign.add(led)
        elif led is not None:
            if not led[1]:
                raise ValueError(f"{self.module}, line {node.lineno}: the module {led[0]} is used as a value")
            self._use(node, led)

    def _use(self, node: ast.expr, named: Name) -> None:
        end = (node.end_lineno or node.lineno, node.end_col_offset or 0)
        self.uses.append(((node.lineno, node.col_offset, *end), named))
