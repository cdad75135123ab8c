"""Counts the code: files, lines of code, and how long functions are. `python docs/tools/sizes.py FOLDER...`."""

import ast
import statistics
import sys
from pathlib import Path


def main(folders: list[Path]) -> None:
    """Print one line for each folder."""
    head = ("folder", "files", "code", "median file", "longest file", "functions", "median", "95 %", "longest")
    print(("{:<40}" + "{:>13}" * 8).format(*head))
    for folder in folders:
        files = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}
        lines = {path: _lines(text) for path, text in files.items()}
        functions = sorted(length for text in files.values() for length in _functions(text))
        numbers = (
            *(len(files), sum(lines.values()), round(statistics.median(lines.values())), max(lines.values())),
            *(len(functions), round(statistics.median(functions)), functions[int(len(functions) * 0.95)]),
            functions[-1],
        )
        print((f"{folder!s:<40}" + "{:>13}" * 8).format(*numbers))


def _lines(text: str) -> int:
    """Lines that are neither blank nor comments."""
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def _functions(text: str) -> list[int]:
    """The length of each function, its docstring left out."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            start = node.lineno
            if ast.get_docstring(node) is not None and node.body[0].end_lineno:
                start += node.body[0].end_lineno - node.body[0].lineno + 1
            found.append(node.end_lineno - start + 1)
    return found


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
