"""Ours and upstream's give the same file, byte by byte."""

from deepgrow_tasks import click, image, tasks

for dimension in (2, 3):
    upstream, ours = tasks(dimension)
    path = image("a")
    for more in ({}, {"result_extension": ".nrrd"}, {"result_extension": ".nii", "result_compress": True}):
        for point in ([20, 20, 6], [21, 20, 6], [30, 25, 3], [20, 20, 6]):
            masks = [click(task, path, point, result_dtype="uint16", **more) for task in (upstream, ours)]
            assert masks[0] == masks[1] and any(masks[0][352:]), (dimension, point, more)
print("done")
