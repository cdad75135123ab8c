"""A format that nobody knows leaves no file."""

from pathlib import Path

from deepgrow_tasks import click, image, tasks

_, ours = tasks(2)
a, there = image("a"), set(Path("/tmp").iterdir())
try:
    click(ours, a, [20, 20, 6], result_extension=".unknown")
except RuntimeError:
    assert set(Path("/tmp").iterdir()) == there
print("done")
