"""The plugin of rqt: finds every topic with a GanglionStatus, feeds the model, keeps the widget up to date."""

from __future__ import annotations

import time
from typing import Any

from rqt_gui_py.plugin import Plugin

from omni_ros2.managed import LATCHED
from omni_ros2.msg import GanglionStatus
from omni_ros2.rqt.model import FleetModel
from omni_ros2.rqt.qt import QtCore, Signal
from omni_ros2.rqt.widget import FleetWidget

TYPE = "omni_ros2/msg/GanglionStatus"
REFRESH = 500  # ms
LOOK = 4  # refreshes between two looks for new topics


class FleetPlugin(Plugin):
    heard = Signal(object)

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.setObjectName("OmniFleet")
        self._node = context.node
        self._model = FleetModel()
        self._subscriptions: dict[str, Any] = {}
        self._ticks = 0
        self.widget = FleetWidget(self._model)
        if context.serial_number() > 1:
            self.widget.setWindowTitle(f"{self.widget.windowTitle()} ({context.serial_number()})")
        context.add_widget(self.widget)
        # Messages come in a thread of rqt; the model belongs to Qt's.
        self.heard.connect(self._on_heard)
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self._tick)
        self._timer.start(REFRESH)
        self._tick()

    def shutdown_plugin(self) -> None:
        self._timer.stop()
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def save_settings(self, plugin_settings: Any, instance_settings: Any) -> None:
        instance_settings.set_value("splitter", self.widget.splitter.saveState())

    def restore_settings(self, plugin_settings: Any, instance_settings: Any) -> None:
        state = instance_settings.value("splitter")
        if state is not None:
            self.widget.splitter.restoreState(state)

    def _on_heard(self, message: GanglionStatus) -> None:
        self._model.update(message, time.monotonic())

    def _tick(self) -> None:
        if self._ticks % LOOK == 0:
            self._look()
        self._ticks += 1
        self.widget.refresh(time.monotonic())

    def _look(self) -> None:
        for topic, types in self._node.get_topic_names_and_types():
            if TYPE in types and topic not in self._subscriptions:
                self._subscriptions[topic] = self._node.create_subscription(GanglionStatus, topic, self._hear, LATCHED)

    def _hear(self, message: GanglionStatus) -> None:
        """In a thread of rqt. (rclpy wants a python function.)"""
        self.heard.emit(message)
