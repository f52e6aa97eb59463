"""The fleet view: a line that sums up, the graph, the table of links, what was dropped. Shows a FleetModel, no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omni_ros2.rqt.graph import GraphView
from omni_ros2.rqt.model import FleetModel, Row, duration, percent, size
from omni_ros2.rqt.qt import QtCore, QtGui, QtWidgets

LINK_COLUMNS = ("robot", "peer", "state", "path", "round trip", "loss", "clock offset", "engine", "out", "in")
DROP_COLUMNS = ("robot", "reason", "packets")
NUMBERS = {"round trip", "loss", "clock offset", "out", "in", "packets"}
COLOURS = {0: None, 1: "#b36b00", 2: "#c62828"}


class FleetWidget(QtWidgets.QWidget):
    def __init__(self, model: FleetModel, parent: Any = None) -> None:
        super().__init__(parent)
        self.setObjectName("OmniFleet")
        self.setWindowTitle("Omni fleet")
        self._model = model
        self._summary = QtWidgets.QLabel()
        self._summary.setWordWrap(True)
        self._filter = QtWidgets.QLineEdit()
        self._filter.setPlaceholderText("show only lines with this text")
        self._filter.setClearButtonEnabled(True)
        self.graph = GraphView()
        self.links = _table(LINK_COLUMNS)
        self.drops = _table(DROP_COLUMNS)
        lower = QtWidgets.QSplitter(QtCore.Qt.Horizontal)
        lower.addWidget(self.links)
        lower.addWidget(self.drops)
        lower.setSizes([760, 300])
        self.splitter = QtWidgets.QSplitter(QtCore.Qt.Vertical)
        self.splitter.addWidget(self.graph)
        self.splitter.addWidget(lower)
        self.splitter.setSizes([400, 270])
        top = QtWidgets.QHBoxLayout()
        top.addWidget(self._summary, 3)
        top.addWidget(self._filter, 1)
        column = QtWidgets.QVBoxLayout(self)
        column.addLayout(top)
        column.addWidget(self.splitter, 1)
        self.resize(1080, 720)

    def refresh(self, now: float) -> None:
        wanted = self._filter.text().lower()
        self._summary.setText(self._model.summary(now))
        self.graph.show_graph(self._model.nodes(now), self._model.edges(now))
        rows = [(cells(row), row.level) for row in self._model.rows(now)]
        drops = [((robot, reason, str(count)), 0) for robot, reason, count in self._model.drops()]
        for table, lines in ((self.links, rows), (self.drops, drops)):
            _fill(table, [line for line in lines if wanted in " ".join(line[0]).lower()])


def cells(row: Row) -> tuple[str, ...]:
    """As LINK_COLUMNS."""
    return (
        row.robot, row.peer, row.state, row.path or "–", duration(row.rtt), percent(row.loss), duration(row.offset),
        row.engine, size(row.tx_bytes), size(row.rx_bytes),
    )  # fmt: skip


def _table(columns: Sequence[str]) -> Any:
    table = QtWidgets.QTableWidget(0, len(columns))
    table.setHorizontalHeaderLabels(list(columns))
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(22)
    table.setEditTriggers(QtWidgets.QAbstractItemView.NoEditTriggers)
    table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
    table.setAlternatingRowColors(True)
    table.horizontalHeader().setSectionResizeMode(QtWidgets.QHeaderView.ResizeToContents)
    table.horizontalHeader().setStretchLastSection(True)
    return table


def _fill(table: Any, lines: Sequence[tuple[Sequence[str], int]]) -> None:
    """Cells are changed in place, so that the selection and the scroll bar stay."""
    table.setRowCount(len(lines))
    for number, (texts, level) in enumerate(lines):
        for column, text in enumerate(texts):
            item = table.item(number, column)
            if item is None:
                item = QtWidgets.QTableWidgetItem()
                if table.horizontalHeaderItem(column).text() in NUMBERS:
                    item.setTextAlignment(int(QtCore.Qt.AlignRight | QtCore.Qt.AlignVCenter))
                table.setItem(number, column, item)
            item.setText(text)
            colour = COLOURS[level]
            item.setForeground(QtGui.QBrush(QtGui.QColor(colour)) if colour else table.palette().text())
