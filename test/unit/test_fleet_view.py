"""The widget of the fleet view, painted without a screen. OMNI_SAVE_PICTURES=directory keeps the pictures."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip(
    "PyQt5.QtWidgets", reason="no PyQt5, or a system library that it needs is missing", exc_type=ImportError
)

from support.fleet_messages import fleet

from omni_ros2.rqt.graph import EDGES, LEVELS
from omni_ros2.rqt.model import FleetModel
from omni_ros2.rqt.qt import QtWidgets
from omni_ros2.rqt.widget import FleetWidget, cells

ROOT = Path(__file__).parents[2]


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


def painted(count: int, tmp_path: Path, before: Any = None) -> tuple[FleetWidget, Any]:
    """The widget with a fleet of ``count`` robots, and its picture, read back from the file."""
    model = FleetModel()
    for message in fleet(count, seed=7):
        model.update(message, 0.0)
    widget = FleetWidget(model)
    if before is not None:
        before(widget)
    widget.refresh(1.0)
    directory = Path(os.environ.get("OMNI_SAVE_PICTURES", tmp_path))
    file = directory / f"fleet-{count}.png"
    assert widget.grab().save(str(file))
    image = widget.graph.grab().toImage()
    return widget, {image.pixelColor(x, y).name() for x in range(image.width()) for y in range(0, image.height(), 2)}


def test_an_empty_fleet_says_so(application: Any, tmp_path: Path) -> None:
    widget, colours = painted(0, tmp_path)
    assert widget.links.rowCount() == widget.drops.rowCount() == 0
    assert not set(EDGES.values()) & colours


def test_three_robots(application: Any, tmp_path: Path) -> None:
    widget, colours = painted(3, tmp_path)
    assert widget.links.rowCount() == 6
    assert {EDGES["up"], LEVELS[0]} <= colours
    shown = tuple(widget.links.item(0, column).text() for column in range(widget.links.columnCount()))
    assert shown == cells(widget._model.rows(1.0)[0])


def test_thirty_robots_and_a_filter(application: Any, tmp_path: Path) -> None:
    widget, colours = painted(30, tmp_path)
    assert widget.links.rowCount() == 30 * 29
    assert LEVELS[0] in colours and EDGES["lost"] in colours
    widget._filter.setText("robot-17")
    widget.refresh(1.0)
    assert widget.links.rowCount() == 2 * 29
    widget.refresh(100.0)
    assert all(widget.graph._nodes[index].level == 2 for index in range(30))  # silent


def test_the_plugin_file_names_what_is_there() -> None:
    (found,) = ElementTree.parse(ROOT / "plugin.xml").iter("class")
    module, _, name = found.attrib["type"].rpartition(".")
    source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
    assert f"class {name}(" in source


@pytest.mark.parametrize("file", sorted((ROOT / "config/rqt").glob("*.perspective")), ids=lambda path: path.stem)
def test_perspectives_are_what_rqt_reads(file: Path) -> None:
    manager = json.loads(file.read_text())["groups"]["pluginmanager"]
    running = ast.literal_eval(manager["keys"]["running-plugins"]["repr"])
    assert all(instances == [1] for instances in running.values())
    assert set(manager["groups"]) <= {f"plugin__{name.replace('/', '__')}__1" for name in running}
