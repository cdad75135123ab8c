"""Draws the rooms of both packages into ARCHITECTURE.md, from the code's own imports, and counts them.

Type `.venv/bin/python docs/tools/architecture.py`; a test holds the drawing to the code.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.support import imports

DOCUMENT = imports.ROOT / "ARCHITECTURE.md"
START, END = "<!-- rooms: made by docs/tools/architecture.py -->\n", "<!-- /rooms -->"


def drawing() -> str:
    """Both packages as Mermaid; an arrow that follows from others is left out."""
    lines = ["```mermaid", "flowchart TD"]
    for package in ("labelpod", "label_server"):
        graph = imports.reduced(imports.rooms(package))
        lines.append(f"  subgraph {package}")
        lines += [f"    {_id(name)}[{name.partition('.')[2]}]" for name in sorted(graph)]
        lines += [f"    {_id(name)} --> {_id(used)}" for name in sorted(graph) for used in sorted(graph[name])]
        lines.append("  end")
    return "\n".join([*lines, "  labelpod --> labelpod_common", "  label_server --> labelpod_common", "```", ""])


def counts() -> str:
    """Rooms, arrows and circles of each package."""
    lines = []
    for package in ("labelpod", "label_server"):
        graph = imports.rooms(package)
        arrows, circles = sum(map(len, graph.values())), len(imports.circles(graph))
        lines.append(f"{package}: {len(graph)} rooms, {arrows} arrows, {circles} circles")
    return "\n".join(lines)


def drawn(text: str) -> str:
    """A document's text with the drawing of today."""
    before, _, rest = text.partition(START)
    return before + START + "\n" + drawing() + "\n" + END + rest.partition(END)[2]


def _id(name: str) -> str:
    return name.replace(".", "_").replace("__", "_")


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    print(counts())
