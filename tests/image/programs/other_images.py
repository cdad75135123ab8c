"""Other kinds of image files give the same, too."""

from deepgrow_tasks import click, image, tasks

for path in (image("a", extension=".nii"), image("a", extension=".nrrd"), image("a.b")):
    upstream, ours = tasks(2)
    masks = [click(task, path, [20, 20, 6], result_dtype="uint8") for task in (upstream, ours)]
    assert masks[0] == masks[1], path
print("done")
