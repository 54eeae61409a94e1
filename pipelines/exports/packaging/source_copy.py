"""A module of this project and all that it needs -> the files of one package that imports nothing of it.

Whole modules are copied as they are; only the word after `from` changes, into a relative import, so that the package
works under any name and beside any version of this project. What a module imports at its top comes along. What it
imports inside of a function is an optional part (a compiler's kernels, adapters) and stays out: asked for, it raises
ModuleNotFoundError. Runs none of the code.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
OWN = frozenset({"models", "pipelines", "skeleton_io"})


def copy_package(
    entry: str, root: Path = ROOT, stand_ins: Mapping[str, str] | None = None, by_name: Sequence[str] = ()
) -> dict[str, str]:
    """The package's files, as path in it -> text, sorted.

    Args:
        entry: module to begin with, `pipelines.room.module`.
        root: folder with the packages of `OWN`.
        stand_ins: foreign module -> the module of ours that is imported in its place.
        by_name: further modules, which a table of ours imports by their names.

    Raises:
        ValueError: an import that names no module of ours, or one that cannot be made relative; says where.
    """
    files: dict[str, str] = {}
    waiting = [entry, *by_name]
    while waiting:
        module = waiting.pop()
        path = f"{module.replace('.', '/')}.py"
        if path in files:
            continue
        text = (root / path).read_text(encoding="utf-8")
        tree = ast.parse(text)
        files[path] = _relative(module, text, tree, stand_ins or {})
        waiting += _needed(module, tree, root, stand_ins or {})
    for path in [*files]:
        # Ours load names of the public API when asked; the copies are plain folders.
        files |= {f"{folder.as_posix()}/__init__.py": "" for folder in Path(path).parents if folder.name}
    return dict(sorted(files.items()))


def _target(node: ast.AST, stand_ins: Mapping[str, str]) -> str:
    """The module of ours that a `from` names; empty for any other node."""
    if not isinstance(node, ast.ImportFrom) or node.module is None:
        return ""
    module = stand_ins.get(node.module, node.module)
    return module if module.partition(".")[0] in OWN else ""


def _needed(module: str, tree: ast.Module, root: Path, stand_ins: Mapping[str, str]) -> list[str]:
    """Modules of ours that are imported when this one is."""
    needed = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (source := _target(node, stand_ins)):
            if (root / f"{source.replace('.', '/')}.py").is_file():
                needed.append(source)
                continue
            for alias in node.names:
                if not (root / source.replace(".", "/") / f"{alias.name}.py").is_file():
                    raise ValueError(f"{module}, line {node.lineno}: {source}.{alias.name} is no module of ours")
                needed.append(f"{source}.{alias.name}")
    return needed


def _relative(module: str, text: str, tree: ast.Module, stand_ins: Mapping[str, str]) -> str:
    """The text with every import of ours, optional ones too, relative to the package."""
    lines = text.splitlines(keepends=True)
    dots = "." * (module.count(".") + 1)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(alias.name.partition(".")[0] in OWN for alias in node.names):
            raise ValueError(f"{module}, line {node.lineno}: `import` of ours cannot be relative; use `from`")
        if isinstance(node, ast.ImportFrom) and (source := _target(node, stand_ins)):
            line = lines[node.lineno - 1]
            lines[node.lineno - 1] = line.replace(f"from {node.module} ", f"from {dots}{source} ", 1)
    return "".join(lines)
