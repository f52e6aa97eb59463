"""ROS parameters from the tables of omni_core.config: type, range, description, read-only; the same checks as for TOML.

A wrong value in a parameters file does not end the process: the parameter is declared with its default and ``values``
raises what was wrong with it until somebody sets it to a value that is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from omni_core.config.schema import Field, read_fields
from omni_core.errors import ConfigError

AUTOSTART = "autostart"
_AUTOSTART_DESCRIPTION = "Configure and activate as soon as the process runs, without a lifecycle manager."
_NO_ITEMS = [""]  # ROS cannot tell the type of an empty list; empty items are skipped when the list is read


class NodeParameters:
    """The parameters of one node, made with ``automatically_declare_parameters_from_overrides``."""

    def __init__(self, node: Node, fields: Sequence[Field], is_configured: Callable[[], bool]) -> None:
        """``is_configured``: True while only ``live`` parameters may change."""
        self._node = node
        self._fields = {field.name: field for field in fields}
        self._is_configured = is_configured
        self._refused: dict[str, ConfigError] = {}
        given = self._take_overrides([*self._fields, AUTOSTART])
        for field in fields:
            self._declare(field, given)
        self.autostart = self._declare_autostart(given)
        node.add_on_set_parameters_callback(self._check)

    def values(self) -> dict[str, Any]:
        """Raw values, for ``validate``. Raises ConfigError when a value that was given at the start is wrong."""
        for error in self._refused.values():
            raise error
        return {name: self._node.get_parameter(name).value for name in self._fields}

    def unknown(self) -> list[str]:
        """Names that were given at the start and that this node does not have (a wildcard may mean another node)."""
        return sorted(
            name
            for name in self._node.get_parameters_by_prefix("")
            if name not in (*self._fields, AUTOSTART, "use_sim_time", "start_type_description_service")
            and not name.startswith("qos_overrides.")
        )

    def _take_overrides(self, names: Sequence[str]) -> dict[str, Any]:
        """What the command line and parameter files gave: rclpy declared it with any type and without a range."""
        given = {}
        for name in names:
            if self._node.has_parameter(name):
                given[name] = self._node.get_parameter(name).value
                self._node.undeclare_parameter(name)
        return given

    def _declare(self, field: Field, given: Mapping[str, Any]) -> None:
        value = _ros_value(field, field.default)
        if field.name in given:
            try:
                read_fields([field], {field.name: given[field.name]})
                value = _ros_value(field, given[field.name])
            except ConfigError as error:
                self._refused[field.name] = error
        descriptor = _descriptor(field, read_only=field.read_only and field.name not in self._refused)
        self._node.declare_parameter(field.name, value, descriptor, ignore_override=True)

    def _declare_autostart(self, given: Mapping[str, Any]) -> bool:
        wanted = given.get(AUTOSTART, False)
        if not isinstance(wanted, bool):
            self._refused[AUTOSTART] = ConfigError(
                AUTOSTART, f"expected true or false, got {wanted!r}", "use true or false"
            )
            wanted = False
        descriptor = ParameterDescriptor(description=_AUTOSTART_DESCRIPTION, read_only=AUTOSTART not in self._refused)
        return bool(self._node.declare_parameter(AUTOSTART, wanted, descriptor, ignore_override=True).value)

    def _check(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            field = self._fields.get(parameter.name)
            if field is None:
                continue
            if not field.live and self._is_configured():
                return SetParametersResult(
                    successful=False,
                    reason=f"{field.name}: is in use. Fix: clean the node up, set it, then configure again",
                )
            try:
                read_fields([field], {field.name: parameter.value})
            except ConfigError as error:
                return SetParametersResult(successful=False, reason=str(error))
        for parameter in parameters:
            self._refused.pop(parameter.name, None)
        return SetParametersResult(successful=True)


def _ros_value(field: Field, value: Any) -> Any:
    """ROS parameters are typed: 300 is no double, and an empty list has no type."""
    if field.type == "double":
        return float(value)
    if field.type == "string_array":
        return list(value) or _NO_ITEMS
    return value


def _descriptor(field: Field, read_only: bool) -> ParameterDescriptor:
    facts = [f"one of {', '.join(field.choices)}"] if field.choices else []
    if field.gap is not None:
        facts.append(f"not between {field.gap[0]} and {field.gap[1]}")
    if field.unit:
        facts.append(f"in {field.unit}")
    facts.append("may change at any time" if field.live else "may change while the node is unconfigured")
    descriptor = ParameterDescriptor(
        description=field.description,
        additional_constraints="read-only" if read_only else "; ".join(facts),
        read_only=read_only,
    )
    if field.minimum is not None and field.maximum is not None:
        if field.type == "integer":
            descriptor.integer_range = [IntegerRange(from_value=int(field.minimum), to_value=int(field.maximum))]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(field.minimum), to_value=float(field.maximum))
            ]
    return descriptor
