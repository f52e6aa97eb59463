"""The graph of who talks to whom, painted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omni_ros2.rqt.layout import arrange
from omni_ros2.rqt.model import Edge, Node, duration, size
from omni_ros2.rqt.qt import QtCore, QtGui, QtWidgets

LEVELS = {-1: "#9aa0a6", 0: "#2e7d32", 1: "#e08a00", 2: "#c62828"}
EDGES = {"up": "#4c8c4a", "handshaking": "#e08a00", "lost": "#c62828"}
IDLE = "#b0b4b8"
RADIUS = 7.0  # px, of a robot
MARGIN_X, MARGIN_Y = 110.0, 58.0  # px, for the labels
LABELLED = 12  # links that get their figures written beside them; with more, those of the robot under the mouse
DETAILED = 16  # robots that get a second line


class GraphView(QtWidgets.QWidget):
    """``show_graph`` gives it what to paint. The robot under the mouse is shown with its links alone."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._nodes: Sequence[Node] = ()
        self._edges: Sequence[Edge] = ()
        self._places: dict[str, tuple[float, float]] = {}
        self._hovered = ""
        self.setMouseTracking(True)
        self.setMinimumSize(320, 260)

    def show_graph(self, nodes: Sequence[Node], edges: Sequence[Edge]) -> None:
        if [node.key for node in nodes] != [node.key for node in self._nodes]:
            self._places = arrange([node.key for node in nodes], [(e.a, e.b) for e in edges if e.state != "idle"])
        self._nodes, self._edges = nodes, edges
        self.update()

    def mouseMoveEvent(self, event: Any) -> None:
        points = self._points()
        near = [
            (abs(x - event.x()) + abs(y - event.y()), key)
            for key, (x, y) in points.items()
            if abs(x - event.x()) + abs(y - event.y()) < 4 * RADIUS
        ]
        hovered = min(near)[1] if near else ""
        if hovered != self._hovered:
            self._hovered = hovered
            self.update()

    def leaveEvent(self, event: Any) -> None:
        self._hovered = ""
        self.update()

    def paintEvent(self, event: Any) -> None:
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.Antialiasing)
        painter.fillRect(self.rect(), self.palette().base())
        if not self._nodes:
            painter.setPen(QtGui.QColor(LEVELS[-1]))
            painter.drawText(self.rect(), QtCore.Qt.AlignCenter, "no robots yet")
            return
        points = self._points()
        edges = [e for e in self._edges if not self._hovered or self._hovered in (e.a, e.b)]
        labelled = len(edges) <= LABELLED or bool(self._hovered)
        for edge in sorted(edges, key=lambda edge: edge.state == "lost"):
            self._paint_edge(painter, edge, points[edge.a], points[edge.b], labelled)
        for node in self._nodes:
            self._paint_node(painter, node, points[node.key])

    def _points(self) -> dict[str, tuple[float, float]]:
        width, height = self.width() / 2, self.height() / 2
        scale_x, scale_y = max(10.0, width - MARGIN_X), max(10.0, height - MARGIN_Y)
        return {key: (width + x * scale_x, height + y * scale_y) for key, (x, y) in self._places.items()}

    def _paint_edge(
        self, painter: Any, edge: Edge, a: tuple[float, float], b: tuple[float, float], labelled: bool
    ) -> None:
        colour = QtGui.QColor(EDGES.get(edge.state, IDLE))
        if len(self._edges) > 60 and edge.state == "up" and not self._hovered:
            colour.setAlpha(70)  # a full mesh would be one green blot
        pen = QtGui.QPen(colour, 1.0 + min(3.0, edge.traffic / 1e6))
        if edge.state != "up":
            pen.setStyle(QtCore.Qt.DashLine)
        painter.setPen(pen)
        painter.drawLine(QtCore.QPointF(*a), QtCore.QPointF(*b))
        if not labelled:
            return
        text = edge.state if edge.state != "up" else duration(edge.rtt)
        if edge.loss:
            text += f", {edge.loss * 100:.1f} % lost"
        if edge.traffic >= 1000:
            text += f", {size(edge.traffic)}/s"
        # Off the middle, so that the labels of links that cross there are apart.
        x, y = a[0] + (b[0] - a[0]) * 0.42, a[1] + (b[1] - a[1]) * 0.42
        box = painter.fontMetrics().boundingRect(text).adjusted(-3, -1, 3, 1)
        box.moveCenter(QtCore.QPoint(int(x), int(y)))
        painter.fillRect(box, self.palette().base())
        painter.setPen(colour.darker(130))
        painter.drawText(box, QtCore.Qt.AlignCenter, text)

    def _paint_node(self, painter: Any, node: Node, point: tuple[float, float]) -> None:
        x, y = point
        colour = QtGui.QColor(LEVELS[node.level])
        painter.setPen(QtGui.QPen(colour.darker(120), 1.5))
        painter.setBrush(colour if node.level >= 0 else self.palette().base())
        painter.drawEllipse(QtCore.QPointF(x, y), RADIUS, RADIUS)
        detail = node.detail if len(self._nodes) <= DETAILED or node.key == self._hovered else ""
        metrics = painter.fontMetrics()
        lines = [node.label, *([detail] if detail else [])]
        # Outwards from the middle, where no links are.
        below = y >= self.height() / 2
        sideways = abs(x - self.width() / 2) > self.width() / 8
        top = y + RADIUS + 3 if below else y - RADIUS - 3 - metrics.height() * len(lines)
        if sideways:
            top = y - metrics.height() * len(lines) / 2
        for index, line in enumerate(lines):
            width = metrics.boundingRect(line).width() + 4
            left = x - width / 2
            if sideways:
                left = x + RADIUS + 5 if x > self.width() / 2 else x - RADIUS - 5 - width
            painter.setPen(self.palette().text().color() if index == 0 else QtGui.QColor("#6b7075"))
            box = QtCore.QRectF(left, top + index * metrics.height(), width, metrics.height())
            painter.drawText(box, QtCore.Qt.AlignCenter, line)
