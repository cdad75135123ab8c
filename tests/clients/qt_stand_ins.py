"""Qt and CTK for a Slicer without a window: widgets that follow Qt's rules and know nothing of any plugin.

The Slicer session imports this file as `qt` and as `ctk`. A widget keeps its properties, and calls whoever is connected
to its signals; a person's part, such as `click`, is refused where a person could not do it.
"""

import inspect
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

Qt = SimpleNamespace(WaitCursor=3, ToolTipRole=3, ItemIsEditable=2)


class Signal:
    def __init__(self, owner):
        self._owner, self._receivers = owner, []

    def connect(self, receiver):
        self._receivers.append(receiver)

    def emit(self, *values):
        if self._owner.signalsBlocked:
            return
        for receiver in self._receivers:
            receiver(*values[: _positional(receiver)])


def _positional(function) -> int:
    """How many arguments a slot takes: PythonQt leaves out the others."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in kinds for each in inspect.signature(function).parameters.values())


class QWidget:
    """Any widget. `setX` and `isX` stand for the property x, as everywhere in Qt."""

    signals = ()

    def __init__(self, *_):
        self.name = self.text = self.toolTip = ""
        self.enabled = self.visible = True
        self.signalsBlocked = False
        self._children = []
        for each in self.signals:
            setattr(self, each, Signal(self))

    def __getattr__(self, name):
        if name.startswith("set") and name != "set":
            return lambda *values: setattr(self, _property(name[3:]), values[0] if len(values) == 1 else values)
        if name.startswith("is"):
            return lambda: getattr(self, _property(name[2:]))
        raise AttributeError(f"{type(self).__name__} has no {name}")

    def children(self):
        return self._children

    def connect(self, signature, receiver):
        getattr(self, signature.partition("(")[0]).connect(receiver)

    def blockSignals(self, block):
        before, self.signalsBlocked = self.signalsBlocked, block
        return before

    def setProperty(self, name, value):
        setattr(self, name, value)

    def show(self):
        self.visible = True

    def hide(self):
        self.visible = False

    def activateWindow(self):
        pass

    def _lay_out(self, *_):
        pass

    addWidget = addRow = addStretch = addPanel = _lay_out


def _property(name: str) -> str:
    return name[:1].lower() + name[1:]


class QDialog(QWidget):
    pass


QProgressDialog = QDialog
QVBoxLayout = QFormLayout = QLineEdit = ctkCollapsibleGroupBox = QWidget
SIGNAL = str


class QPushButton(QWidget):
    signals = ("clicked", "toggled")

    def __init__(self, *_):
        super().__init__()
        self.checkable = self.checked = False

    def click(self):
        """A person presses it."""
        if not self.enabled or not self.visible:
            raise RuntimeError(f"nobody can press {self.name}: enabled {self.enabled}, visible {self.visible}")
        if self.checkable:
            self.checked = not self.checked
        self.clicked.emit(self.checked)


class QCheckBox(QPushButton):
    signals = ("clicked", "toggled", "stateChanged")

    def __init__(self, *_):
        super().__init__()
        self.checkable = True


class QComboBox(QWidget):
    signals = ("currentIndexChanged",)

    def __init__(self, *_):
        super().__init__()
        self.editable, self._items, self._index, self._typed = False, [], -1, ""

    @property
    def count(self):
        return len(self._items)

    @property
    def currentIndex(self):
        return self._index

    @property
    def currentText(self):
        return self._typed if self.editable else self.itemText(self._index)

    @currentText.setter
    def currentText(self, text):
        self.setCurrentText(text)

    def itemText(self, index):
        return self._items[index] if 0 <= index < self.count else ""

    def findText(self, text):
        return self._items.index(text) if text in self._items else -1

    def addItem(self, *item):
        """`text`, `icon, text` or `text, data`; the first item is chosen at once."""
        self._items.append(item[1] if isinstance(item[0], QIcon) else item[0])
        if self.count == 1:
            self.setCurrentIndex(0)

    def addItems(self, texts):
        for each in texts:
            self.addItem(each)

    def clear(self):
        self._items = []
        self.setCurrentIndex(-1)

    def setCurrentIndex(self, index):
        index = index if 0 <= index < self.count else -1
        changed, self._index, self._typed = index != self._index, index, self.itemText(index)
        if changed:
            self.currentIndexChanged.emit(index)

    def setCurrentText(self, text):
        if self.editable:
            self._typed = text or ""
        elif text in self._items:
            self.setCurrentIndex(self.findText(text))

    def choose(self, text):
        """A person chooses one of the items."""
        if text not in self._items:
            raise RuntimeError(f"{self.name} does not offer {text!r} but {self._items}")
        self.setCurrentIndex(self.findText(text))

    def lineEdit(self):
        return QWidget()


ctkComboBox = QComboBox


class QTableWidgetItem:
    def __init__(self, text=""):
        self._text, self._flags = text, 0

    def text(self):
        return self._text

    def setText(self, text):
        self._text = text

    def flags(self):
        return self._flags

    def setFlags(self, flags):
        self._flags = flags


class QTableWidget(QWidget):
    def __init__(self, *_):
        super().__init__()
        self.rowCount, self._cells, self._widgets = 0, {}, {}

    def item(self, row, column):
        return self._cells.get((row, column))

    def setItem(self, row, column, item):
        self._cells[row, column] = item

    def cellWidget(self, row, column):
        return self._widgets.get((row, column))

    def setCellWidget(self, row, column, widget):
        self._widgets[row, column] = widget

    def clear(self):
        self._cells, self._widgets = {}, {}

    clearContents = clear


class QPlainTextEdit(QWidget):
    def toPlainText(self):
        return self.text

    def setPlainText(self, text):
        self.text = text

    def clear(self):
        self.text = ""


QTextEdit = QPlainTextEdit


class QProgressBar(QWidget):
    def __init__(self, *_):
        super().__init__()
        self.value = 0


class ctkSliderWidget(QProgressBar):
    signals = ("valueChanged",)


class QTimer(QWidget):
    signals = ("timeout",)
    running = ()  # all that tick

    def start(self):
        QTimer.running = (*QTimer.running, self)

    def stop(self):
        QTimer.running = tuple(each for each in QTimer.running if each is not self)


class QIcon:
    def __init__(self, *_):
        pass


class QSettings:
    """One store, as Slicer's settings are one file."""

    _values: ClassVar = {}

    def value(self, key):
        return self._values.get(key)

    def contains(self, key):
        return key in self._values

    def setValue(self, key, value):
        self._values[key] = value


class QApplication:
    @staticmethod
    def setOverrideCursor(_):
        pass

    @staticmethod
    def restoreOverrideCursor():
        pass


class QMessageBox:
    Information, Warning, Critical, Question = 1, 2, 3, 4
    Ok, Cancel = 0x400, 0x400000


class ctkMessageBox(QWidget):
    """Is answered with OK at once, and remembered."""

    shown: ClassVar = []

    def __init__(self, *_):
        super().__init__()
        self.detailedText, self.icon, self.standardButtons, self.windowTitle = "", 0, 0, ""

    def deleteLater(self):
        pass

    def exec_(self):
        self.shown.append({"icon": self.icon, "text": self.text, "details": self.detailedText})
        return QMessageBox.Ok


class ctkBooleanMapper:
    def __init__(self, widget, name, _):
        self._widget, self._name = widget, name

    @property
    def valueAsInt(self):
        return int(getattr(self._widget, self._name))


class ctkSettingsPanel(QWidget):
    """Writes what its widgets say into the settings, where nothing stands there yet."""

    def registerProperty(self, key, widget, name, _):
        if not QSettings().contains(key):
            QSettings().setValue(key, getattr(widget, name))


class QFile:
    ReadOnly = 1

    def __init__(self, path):
        self.path = Path(path)

    def exists(self):
        return self.path.exists()

    def open(self, _):
        pass


class QUiLoader:
    """Makes the widgets of a Qt Designer file, with the properties that they have there."""

    def load(self, file):
        return self._widget(ET.parse(file.path).find("widget"))

    def _widget(self, element):
        widget = globals().get(element.get("class"), QWidget)()
        widget.name = element.get("name")
        for each in element.iterfind("property"):
            _set(widget, each.get("name"), each[0])
        for text in element.iterfind("item/property[@name='text']/string"):
            widget.addItem(text.text)
        widget._children = [self._widget(each) for each in _nested(element)]
        return widget


def _set(widget, name, value):
    if value.tag == "bool":
        setattr(widget, name, value.text == "true")
    elif value.tag in ("string", "number") and name != "currentIndex":
        setattr(widget, name, value.text or "" if value.tag == "string" else int(value.text))


def _nested(element):
    """The widgets and layouts directly below; a layout is a child of its widget, and its widgets are its own here."""
    for each in element:
        if each.tag in ("widget", "layout"):
            yield each
        elif each.tag == "item":
            yield from _nested(each)
