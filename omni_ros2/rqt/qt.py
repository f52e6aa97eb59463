"""Qt, as rqt has chosen it, else PyQt5 alone."""

from __future__ import annotations

try:
    from python_qt_binding import QtCore, QtGui, QtWidgets
except ImportError:
    from PyQt5 import QtCore, QtGui, QtWidgets

Signal = getattr(QtCore, "Signal", None) or QtCore.pyqtSignal

__all__ = ["QtCore", "QtGui", "QtWidgets", "Signal"]
