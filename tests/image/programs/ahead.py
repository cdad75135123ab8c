"""What was made ready ahead is not read again."""

from deepgrow_tasks import click, image, loaded, tasks

_, ours = tasks(3)
a = image("a")
ours.prepare(a)
assert loaded == [a]
for task in (ours, tasks(2)[1]):
    click(task, a, [20, 20, 6])
assert loaded == [a]
print("done")
