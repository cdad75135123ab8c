"""A person at 3D Slicer with the MONAI Label plugins, as shipped: does what the lines on stdin say.

Usage: python slicer_session.py FOLDER, where FOLDER holds the plugins. A line is {"desk", "action", ...arguments}; the
answer is one line {"result", "boxes"} or {"error"}. Boxes are what Slicer has shown; OK was pressed on each.
"""

import json
import os
import sys
import time
import traceback
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np
import qt_stand_ins as qt
import slicer_stand_ins

slicer_stand_ins.install()
import slicer  # noqa: E402, it takes the stand-ins
import vtk  # noqa: E402, it comes with slicer


class Desk:
    """A plugin's window, and what a person does there."""

    module = ""

    def __init__(self) -> None:
        parent = qt.QWidget()
        parent.isEntered = True
        self.widget = getattr(sys.modules[self.module], f"{self.module}Widget")(parent)
        self.widget.setup()

    @property
    def ui(self):
        return self.widget.ui


class Annotation(Desk):
    """The module MONAI Label."""

    module = "MONAILabel"

    def connect(self, url: str) -> dict:
        self.ui.serverComboBox.setCurrentText(url)
        self.ui.fetchServerInfoButton.click()
        return self.shown()

    def shown(self) -> dict:
        ui = self.ui
        boxes = {"labels": ui.labelComboBox, "models": ui.deepgrowModelSelector, "strategies": ui.strategyBox}
        items = {key: [box.itemText(index) for index in range(box.count)] for key, box in boxes.items()}
        return items | {"labelled": ui.activeLearningProgressBar.toolTip, "training": ui.trainingProgressBar.toolTip}

    def next_sample(self) -> dict:
        self.ui.nextSampleButton.click()
        sample, volume = self.widget.current_sample, self.widget._volumeNode
        if not sample:
            return {}
        return {"image": sample["id"], "size": volume.GetImageData().GetDimensions(), "name": volume.GetName()}

    def open_again(self, file: str, name: str) -> dict:
        """Load a volume from elsewhere into an empty Slicer; the module finds it there."""
        slicer.mrmlScene.Clear(0)
        slicer.util.loadVolume(file, {"name": name})
        self.widget.updateGUIFromParameterNode()
        return {"image": self.widget.current_sample["id"]}

    def volume(self, file: str) -> None:
        np.save(file, slicer.util.arrayFromVolume(self.widget._volumeNode))

    def click(self, model: str, label: str, ras: list[float]) -> None:
        """Place a foreground point; the plugin notices it by itself."""
        self.ui.deepgrowModelSelector.choose(model)
        self.ui.labelComboBox.choose(label)
        points = self.ui.dgPositiveControlPointPlacementWidget.currentNode()
        points.GetDisplayNode().SetActiveControlPoint(points.GetNumberOfControlPoints())  # the one under the mouse
        points.AddControlPoint(ras)

    def received(self) -> str:
        """The newest answer of an inference, which the plugin leaves in its folder."""
        answers = Path(self.widget.tmpdir).glob("*.nrrd")
        return os.fspath(max(answers, key=lambda file: file.stat().st_mtime))

    def paint(self, label: str, ras: list[float], radius: float) -> None:
        """A ball, in mm."""
        inside = (np.linalg.norm(self._positions - ras, axis=-1) <= radius).astype(np.uint8)
        node, volume = self.widget._segmentNode, self.widget._volumeNode
        slicer.util.updateSegmentBinaryLabelmapFromArray(inside, node, self._segment(label), volume)

    def segment(self, label: str, file: str) -> int:
        """Write the LPS positions of a segment's voxels into a file; how many they are."""
        node, volume = self.widget._segmentNode, self.widget._volumeNode
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, self._segment(label), volume)
        positions = self._positions[voxels > 0] * (-1, -1, 1) if voxels is not None else np.empty((0, 3))
        np.save(file, positions)
        return len(positions)

    def _segment(self, label: str) -> str:
        return self.widget._segmentNode.GetSegmentation().GetSegmentIdBySegmentName(label)

    @property
    def _positions(self) -> np.ndarray:
        """RAS of each voxel (slice, row, column) of the volume."""
        volume = self.widget._volumeNode
        matrix = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(matrix)
        columns, rows, slices = volume.GetImageData().GetDimensions()
        kji = np.stack(np.meshgrid(*map(np.arange, (slices, rows, columns)), indexing="ij"), axis=-1)
        affine = slicer.util.arrayFromVTKMatrix(matrix)
        return kji[..., ::-1] @ affine[:3, :3].T + affine[:3, 3]

    def submit(self) -> dict:
        self.ui.saveLabelButton.click()
        return self.shown()

    def train(self, model: str, options: dict[str, str]) -> None:
        self.ui.optionsSection.choose("train")
        self.ui.optionsName.choose(model)
        table = self.ui.configTable
        rows = {table.item(row, 0).text(): row for row in range(table.rowCount)}
        for key, value in options.items():
            table.item(rows[key], 1).setText(value)
        self.ui.trainerBox.choose(model)
        self.ui.trainingButton.click()

    def wait_for_training(self, seconds: float) -> dict:
        """Let the plugin's timer tick until it has stopped it."""
        deadline = time.monotonic() + seconds
        while qt.QTimer.running and time.monotonic() < deadline:
            time.sleep(max(timer.interval for timer in qt.QTimer.running) / 1000)
            for timer in qt.QTimer.running:
                timer.timeout.emit()
        return self.shown()

    def stop_training(self) -> None:
        self.ui.stopTrainingButton.click()


class Review(Desk):
    """The module MONAI Label Reviewer, in its reviewer mode."""

    module = "MONAILabelReviewer"
    levels: ClassVar = {"easy": "btn_easy", "medium": "btn_medium", "hard": "btn_hard"}
    verdicts: ClassVar = {"approved": "btn_approved", "flagged": "btn_mark_revision"}

    def connect(self, url: str, reviewer: str) -> dict:
        self.ui.btn_reviewers_mode.click()
        self.ui.comboBox_server_url.setCurrentText(url)
        self.ui.comboBox_reviewers.setCurrentText(reviewer)
        self.ui.btn_connect_monai.click()
        return self.shown()

    def load(self) -> dict:
        self.ui.btn_load.click()
        return self.shown()

    def shown(self) -> dict:
        ui, scene = self.ui, slicer.mrmlScene
        segmentation = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
        fields = {"image": ui.lineEdit_image_id, "level": ui.lineEdit_level, "status": ui.lineEdit_status}
        fields |= {"comment": ui.plainText_comment, "annotator": ui.lineEdit_segmentator}
        fields |= {"segmented": ui.label_idx_seg_image, "approved": ui.label_idx_appr_image}
        return {key: field.text for key, field in fields.items()} | {
            "images": [each.getName() for each in self.widget.listImageData or ()],
            "progress": [ui.progressBar_segmentation.value, ui.progressBar_approved_total.value],
            "size": volume and volume.GetImageData().GetDimensions(),
            "segments": segmentation and list(segmentation.GetSegmentation().GetSegmentIDs()),
        }

    def grade(self, level: str) -> None:
        getattr(self.ui, self.levels[level]).click()

    def judge(self, verdict: str, comment: str) -> None:
        getattr(self.ui, self.verdicts[verdict]).click()
        self.ui.plainText_comment.setPlainText(comment)

    def next(self) -> dict:
        self.ui.btn_next.click()
        return self.shown()


class Session:
    def __init__(self, plugins: Path) -> None:
        for each in (Annotation.module, Review.module):
            sys.path.insert(0, os.fspath(plugins / each))
            getattr(import_module(each), each)(qt.QWidget())
        slicer.app.startupCompleted.emit()  # makes the page of the settings, with what holds where nobody changed it

    @cached_property
    def annotation(self) -> Annotation:
        return Annotation()

    @cached_property
    def review(self) -> Review:
        return Review()

    def answer(self, line: str) -> dict:
        request = json.loads(line)
        qt.ctkMessageBox.shown.clear()
        try:
            desk = getattr(self, request.pop("desk"))
            result = getattr(desk, request.pop("action"))(**request)
        except Exception:
            return {"error": traceback.format_exc()}
        return {"result": result, "boxes": qt.ctkMessageBox.shown}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the plugins and VTK print
    session = Session(Path(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(session.answer(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
