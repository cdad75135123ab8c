"""What 3D Slicer's application and its Python modules add to the core that slicer-core is, without a window.

Reading, writing, segmentation and markups are the core's, `slicer.util` is Slicer's own. Nothing here knows a plugin.
"""

import logging
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import qt_stand_ins as qt
import SimpleITK as sitk
import slicer
import slicer.util
import vtk
from slicer_core import vtkSegmentationCore

LOGICS = {
    "Colors": slicer.vtkSlicerColorLogic,
    "Volumes": slicer.vtkSlicerVolumesLogic,
    "Markups": slicer.vtkSlicerMarkupsLogic,
    "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic,
}
Effects = SimpleNamespace(  # as in Slicer, where the numbers are the logic's
    ModificationModeSet=slicer.vtkSlicerSegmentEditorLogic.ModificationModeSet,
    ModificationModeAdd=slicer.vtkSlicerSegmentEditorLogic.ModificationModeAdd,
)


def install() -> None:
    """Make `slicer`, `qt`, `ctk` and Slicer's Python modules what a plugin expects them to be."""
    slicer.mrmlScene = slicer.vtkMRMLScene()
    slicer.app = Application()
    slicer.modules = SimpleNamespace(**{name.lower(): _module(name, logic()) for name, logic in LOGICS.items()})
    slicer.qMRMLSegmentEditorWidget = qMRMLSegmentEditorWidget
    slicer.qSlicerSegmentEditorAbstractEffect = Effects
    slicer.util.tempDirectory = lambda key: tempfile.mkdtemp(prefix=key, dir=slicer.app.temporaryPath)
    qt.qMRMLSegmentEditorWidget = qMRMLSegmentEditorWidget
    qt.qSlicerMarkupsPlaceWidget = qSlicerMarkupsPlaceWidget
    sys.modules |= {"qt": qt, "ctk": qt, "vtkSegmentationCore": vtkSegmentationCore}
    _add_module("slicer.i18n", tr=lambda text: text, translate=lambda _, text: text)
    _add_module("SampleData", SampleDataLogic=SampleDataLogic)
    _add_module("sitkUtils", PushVolumeToSlicer=push_volume_to_slicer)
    scripted = (ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic)
    names = {each.__name__: each for each in scripted} | {"ScriptedLoadableModuleTest": object}
    _add_module("slicer.ScriptedLoadableModule", **names)


def _module(name, logic):
    slicer.app.applicationLogic().SetModuleLogic(name, logic)
    logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    logic.SetMRMLScene(slicer.mrmlScene)
    return SimpleNamespace(logic=lambda: logic)


def _add_module(name: str, **members) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module


# --- the application ---


class Application(qt.QWidget):
    signals = ("startupCompleted",)
    applicationName = "3D Slicer"

    def __init__(self):
        super().__init__()
        self.temporaryPath = tempfile.mkdtemp(prefix="slicer-")
        self._window = qt.QWidget()
        self._window.objectName = "qSlicerMainWindow"
        self._files = Files()
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)

    def applicationLogic(self):
        return self._logic

    def topLevelWidgets(self):
        return [self._window]

    def settingsDialog(self):
        return self._window

    def commandOptions(self):
        return SimpleNamespace(noMainWindow=False)

    def coreIOManager(self):
        return self._files

    def layoutManager(self):
        return SimpleNamespace(sliceViewNames=tuple)

    def testingEnabled(self):
        return False

    def processEvents(self):
        pass


class Files:
    """qSlicerCoreIOManager: reads and writes by the core's storage nodes."""

    def loadNodes(self, kind, properties, nodes, _messages):
        path, name = properties["fileName"], properties.get("name")
        if kind == "SegmentationFile":
            node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(path)
        else:
            node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name or Path(path).stem)
        if node:
            nodes.AddItem(node)
        return node is not None

    def fileWriterFileType(self, _node):
        return ""

    def saveNodes(self, _kind, properties, _messages):
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode(properties["fileName"])
        node.GetStorageNode().SetFileName(properties["fileName"])  # what was loaded has one of its own
        return node.GetStorageNode().WriteData(node) == 1


# --- widgets that work on the scene ---


class qMRMLSegmentEditorWidget(qt.QWidget):
    """The core's segment editor, which Slicer's widget shows."""

    def __init__(self, *_):
        super().__init__()
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self.SegmentationNodeComboBox = self.SourceVolumeNodeComboBox = qt.QWidget()

    def setMRMLScene(self, scene):
        self._logic.SetMRMLScene(scene)

    def setMRMLSegmentEditorNode(self, node):
        self._logic.SetSegmentEditorNode(node)

    def setSegmentationNode(self, node):
        self._logic.SetSegmentationNode(node)

    def setSourceVolumeNode(self, node):
        self._logic.SetSourceVolumeNode(node)

    def setCurrentSegmentID(self, segment):
        self._logic.SetCurrentSegmentID(segment)

    def effectByName(self, _name):
        return SegmentEditorEffect(self._logic)


class SegmentEditorEffect:
    def __init__(self, logic):
        self._logic = logic

    def selectedSegmentLabelmap(self):
        self._logic.UpdateReferenceGeometryImage()
        self._logic.UpdateSelectedSegmentLabelmap()
        return self._logic.GetSelectedSegmentLabelmap()

    def modifySelectedSegmentByLabelmap(self, labelmap, mode):
        node = self._logic.GetSegmentEditorNode()
        segmentation, segment = node.GetSegmentationNode(), node.GetSelectedSegmentID()
        self._logic.ModifySegmentByLabelmap(segmentation, segment, labelmap, mode, True, False)


class qSlicerMarkupsPlaceWidget(qt.QWidget):
    def __init__(self, *_):
        super().__init__()
        self.placeModeEnabled, self._node, self._button = False, None, qt.QPushButton()

    def currentNode(self):
        return self._node

    def setCurrentNode(self, node):
        self._node = node

    def placeButton(self):
        return self._button

    deleteButton = placeButton


# --- Slicer's Python modules ---


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent):
        self.parent, self.layout = parent, qt.QWidget()

    def setup(self):
        pass

    def resourcePath(self, name):
        return os.fspath(Path(sys.modules[type(self).__module__].__file__).parent / "Resources" / name)


class ScriptedLoadableModuleLogic:
    def getParameterNode(self):
        name = type(self).__module__
        found = slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLScriptedModuleNode")
        return found or slicer.mrmlScene.AddNode(self._parameter_node(name))

    def _parameter_node(self, name):
        node = slicer.vtkMRMLScriptedModuleNode()
        node.SetSingletonTag(name)
        node.SetModuleName(name)
        node.SetName(name)
        return node


class SampleDataLogic:
    """Downloads into a cache by file name, as Slicer does: with urllib, and without a header of anybody's."""

    def downloadFromURL(self, uris, fileNames, nodeNames, checksums=None):
        cache = Path(slicer.app.temporaryPath, "RemoteIO")
        cache.mkdir(exist_ok=True)
        path = cache / fileNames
        if not slicer.util.downloadFile(uris, os.fspath(path), checksums):
            raise RuntimeError(f"Download of {fileNames} failed")
        logging.info("downloaded %s", path)
        return [slicer.util.loadVolume(os.fspath(path), {"name": nodeNames})]


def push_volume_to_slicer(image, target=None, name=None, className="vtkMRMLScalarVolumeNode"):
    to_physical = np.eye(4)
    to_physical[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    to_physical[:3, 3] = image.GetOrigin()
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy((np.diag([-1, -1, 1, 1]) @ to_physical).ravel())  # ITK's LPS to Slicer's RAS
    return slicer.util.addVolumeFromArray(sitk.GetArrayFromImage(image), matrix, name, className)
