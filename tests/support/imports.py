"""Who imports whom: the project's own modules, and the rooms that they make."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "labelpod": ROOT,
    "label_server": ROOT / "images" / "label-server",
    "labelpod_common": ROOT,
}
# Small modules at the top of a package that everybody may use; in a drawing they are one room.
BASICS = {
    "labelpod": {"console", "errors", "files", "launcher", "os_errors", "parallel", "process", "project", "text"},
    "label_server": {"audit", "errors", "logs", "paths", "settings", "users"},
}

Graph = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """All modules by their dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted((folder / package).rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports() -> Graph:
    """Module -> the project's own modules that it imports, wherever in its text."""
    known = modules()
    return {name: set(_imported(path, known)) - {name} for name, path in known.items()}


def _imported(path: Path, known: dict[str, Path]) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{each.name}" for each in node.names]
    return [found for name in names if (found := _longest(name, known))]


def _longest(name: str, known: dict[str, Path]) -> str:
    """The module that an imported name is, or is in."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def room(module: str) -> str:
    """The room of a module: the first folder below its package, or the module itself."""
    package, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    if not name:
        return package
    return f"{package}.basics" if name in BASICS.get(package, ()) else f"{package}.{name}"


def rooms(package: str) -> Graph:
    """Room -> the rooms of the same package that it uses."""
    graph: Graph = defaultdict(set)
    for module, used in imports().items():
        if module.partition(".")[0] == package and module != package:
            graph[room(module)] |= {
                room(each) for each in used if each.startswith(f"{package}.") and room(each) != room(module)
            }
    return dict(graph)


def circles(graph: Graph) -> list[list[str]]:
    """Rooms that need each other; each circle once."""
    return [sorted(group) for group in _strongly_connected(graph) if len(group) > 1]


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += graph.get(each, ())
    return seen


def _strongly_connected(graph: Graph) -> list[set[str]]:
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {frozenset({name} | {other for other in reach[name] if name in reach.get(other, ())}) for name in graph}
    return [set(group) for group in groups]


def reduced(graph: Graph) -> Graph:
    """The graph without the arrows that follow from others; for a graph without circles."""
    return {
        name: {each for each in used if not any(each in _reachable(graph, other) for other in used - {each})}
        for name, used in graph.items()
    }
