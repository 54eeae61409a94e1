"""Definitions of this project and all that they need -> the text of one Python file that imports nothing of it.

A linker for source code: from the roots it follows every name that a function, class or constant uses through the
project's own imports, takes the text of just those definitions, comments included, and lists the foreign imports that
they need. Where two modules give one name to different things, both are renamed. Runs none of the code; knows
functions, classes, constants and imports at the top of a module, and says so where it meets anything else.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.exports.packaging.source_reader import Import, Name, Reader, Span, imports_of

ROOT = Path(__file__).resolve().parents[3]


@dataclass(eq=False)
class Piece:
    """One definition at the top of a module.

    Attributes:
        module: where it stands.
        names: what it defines.
        node: its syntax tree.
        first: first line, comments above and decorators included.
        last: last line, the text below a constant included.
        uses: stretches of text that name another definition, and what each of them names.
        foreign: imports that it needs.
        cut: lines to be left out.
    """

    module: str
    names: tuple[str, ...]
    node: ast.stmt
    first: int
    last: int
    uses: list[tuple[Span, Name]] = field(default_factory=list)
    foreign: set[Import] = field(default_factory=set)
    cut: set[int] = field(default_factory=set)


class Module:
    """One file, taken apart.

    Raises:
        ValueError: something stands at the top of it that is neither a definition nor an import.
    """

    def __init__(self, name: str, source: str, own: Set[str]) -> None:
        self.name, self.own = name, own
        self.lines = source.splitlines(keepends=True)
        self.imports: dict[str, Import] = {}
        self.needs: list[str] = []
        """Own modules that must stand before this one."""
        self.pieces: dict[str, Piece] = {}
        body = ast.parse(source).body
        for number, node in enumerate(body):
            self._top(node, body[number + 1] if number + 1 < len(body) else None)

    def _top(self, node: ast.stmt, after: ast.stmt | None) -> None:
        """Files one statement."""
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found = imports_of(node)
            self.imports |= {one.local: one for one in found}
            for one in found:
                self.needs += [m for m in (f"{one.module}.{one.name}", one.module) if owned(m, self.own)]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for inner in node.body:
                self.imports |= {one.local: one for one in imports_of(inner)}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            self._file((node.name,), node, after)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            named = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
            if named != ["__all__"]:
                self._file(tuple(named), node, after)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            raise ValueError(f"{self.name}, line {node.lineno}: only definitions and imports can be linked")

    def _file(self, names: tuple[str, ...], node: ast.stmt, after: ast.stmt | None) -> None:
        decorators = node.decorator_list if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else []
        first = min([node.lineno, *(d.lineno for d in decorators)])
        while first > 1 and self.lines[first - 2].startswith("#") and not self.lines[first - 2].startswith("# ---"):
            first -= 1
        last = node.end_lineno or node.lineno
        constant = isinstance(node, (ast.Assign, ast.AnnAssign))
        if constant and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            last = after.end_lineno or last
        piece = Piece(self.name, names, node, first, last)
        self.pieces |= dict.fromkeys(names, piece)


def owned(module: str, own: Set[str]) -> bool:
    """Whether a module is a file of the packages or modules in `own`."""
    inside = any(module == part or module.startswith(f"{part}.") for part in own)
    return inside and path_of(module) is not None


def path_of(module: str) -> Path | None:
    """The file of a module of this project."""
    base = ROOT.joinpath(*module.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


class Linker:
    """Collects definitions from the roots on.

    Args:
        own: packages and modules whose definitions are taken; everything else is imported.
        instead: definition, ours or not -> another one of ours that is taken wherever it is named.
        without: class -> methods that are left out.
    """

    def __init__(
        self, own: Set[str], instead: Mapping[Name, Name] | None = None, without: Mapping[Name, Set[str]] | None = None
    ) -> None:
        self.own, self.instead, self.without = own, instead or {}, without or {}
        self.modules: dict[str, Module] = {}
        self.taken: dict[Name, Piece] = {}

    def module(self, name: str) -> Module:
        """A file of this project, read once."""
        if name not in self.modules:
            file = path_of(name)
            assert file is not None
            self.modules[name] = Module(name, file.read_text(encoding="utf-8"), self.own)
        return self.modules[name]

    def resolve(self, module: str, name: str) -> Name | Import | None:
        """What a name at the top of a module stands for: a definition of ours, an import of others', a builtin."""
        here = self.module(module)
        if name in here.pieces:
            return self.instead.get((module, name), (module, name))
        found = here.imports.get(name)
        return None if found is None else self.target(found)

    def target(self, found: Import) -> Name | Import:
        """What an import leads to; a module of ours is (its name, "")."""
        if (found.module, found.name) in self.instead:
            return self.instead[found.module, found.name]
        inner = f"{found.module}.{found.name}"
        if found.name and owned(inner, self.own):
            return inner, ""
        if not owned(found.module, self.own):
            return found
        led = self.resolve(found.module, found.name)
        if led is None:
            raise ValueError(f"{found.module} defines no {found.name}")
        return led

    def take(self, name: Name) -> None:
        """Adds a definition and all that it needs."""
        waiting = [name]
        while waiting:
            module, defined = waiting.pop()
            if (module, defined) in self.taken:
                continue
            piece = self.module(module).pieces.get(defined)
            if piece is None:
                raise ValueError(f"{module} defines no {defined}")
            self.taken |= {(module, one): piece for one in piece.names}
            drop = self.without[module, defined] if (module, defined) in self.without else frozenset[str]()
            reader = Reader(self.resolve, self.target, module, drop)
            reader.visit(piece.node)
            piece.uses, piece.foreign, piece.cut = reader.uses, reader.foreign, reader.cut
            waiting += [target for _, target in piece.uses]

    def order(self) -> list[str]:
        """Names of the modules, each after those that it imports."""
        ordered: list[str] = []

        def add(name: str, above: tuple[str, ...]) -> None:
            if name in ordered or name in above:
                return
            for needed in self.module(name).needs:
                add(needed, (*above, name))
            ordered.append(name)

        for module, _ in self.taken:
            add(module, ())
        return ordered

    def text(self) -> str:
        """Imports, then the definitions, module by module."""
        pieces = list({id(piece): piece for piece in self.taken.values()}.values())
        foreign = sorted({one for piece in pieces for one in piece.foreign}, key=lambda one: one.line())
        given = final_names(self.taken, foreign)
        parts = [import_lines(foreign)]
        for module in self.order():
            mine = sorted((piece for piece in pieces if piece.module == module), key=lambda piece: piece.first)
            if mine:
                parts.append(f"# --- {module} {'-' * max(3, 113 - len(module))}")
                parts += [rewritten(piece, self.module(module).lines, given) for piece in mine]
        return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def final_names(taken: Mapping[Name, Piece], foreign: Sequence[Import]) -> dict[Name, str]:
    """Definition -> its name in the one file: its own, unless another module or an import has the same.

    Raises:
        ValueError: two imports of different things under one name.
    """
    local: dict[str, Import] = {}
    for one in foreign:
        if local.setdefault(one.local, one) != one:
            raise ValueError(f"{one.local} is imported as {local[one.local].line()!r} and {one.line()!r}")
    homes: dict[str, set[str]] = {}
    for module, name in taken:
        homes.setdefault(name, set()).add(module)
    given = {}
    for module, name in taken:
        alone = len(homes[name]) == 1 and name not in local
        prefix = "" if alone else f"_{module.rsplit('.', 1)[-1]}_"
        given[module, name] = prefix + (name if alone else name.lstrip("_"))
    if len(set(given.values())) < len(given):
        raise ValueError("two definitions have the same name, and so have their modules")
    return given


def import_lines(foreign: Sequence[Import]) -> str:
    """The import statements, plain ones first."""
    plain = [one.line() for one in foreign if not one.name]
    by_module: dict[str, list[str]] = {}
    for one in foreign:
        if one.name:
            by_module.setdefault(one.module, []).append(one.line().partition(" import ")[2])
    return "\n".join([*plain, *(f"from {m} import {', '.join(names)}" for m, names in sorted(by_module.items()))])


def rewritten(piece: Piece, lines: list[str], given: Mapping[Name, str]) -> str:
    """The text of a piece under its final names."""
    text = {number: lines[number - 1].encode() for number in range(piece.first, piece.last + 1)}
    for (row, column, last_row, last_column), target in sorted(piece.uses, reverse=True):
        assert row == last_row
        text[row] = text[row][:column] + given[target].encode() + text[row][last_column:]
    if isinstance(piece.node, (ast.FunctionDef, ast.ClassDef)):
        row, own = piece.node.lineno, piece.names[0]
        renamed = re.sub(rf"^(\s*(?:def|class) ){own}\b", rf"\g<1>{given[piece.module, own]}", text[row].decode())
        text[row] = renamed.encode()
    return b"".join(line for number, line in text.items() if number not in piece.cut).decode()
