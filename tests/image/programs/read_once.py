"""An image is read once; the last three are kept."""

import os
from pathlib import Path

from deepgrow_tasks import click, image, loaded, tasks

_, ours = tasks(2)
a = image("a")
first = click(ours, a, [20, 20, 6])
assert click(ours, a, [20, 20, 6]) == first and loaded == [a]
os.utime(a, ns=(1, Path(a).stat().st_mtime_ns))
assert click(ours, a, [20, 20, 6]) == first and loaded == [a], "it was used, not changed"
image("a", seed=2)
os.utime(a, ns=(1, 1))
assert click(ours, a, [20, 20, 6]) != first and loaded == [a, a]
others = [image(name) for name in "bcd"]
for path in (*others, *others, a):
    click(ours, path, [20, 20, 6])
assert loaded[2:] == [*others, a], loaded
print("done")
