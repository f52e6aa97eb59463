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

from omni_core.config.node_parameters import Limits, read_limits
from omni_core.config.schema import Field, read_fields
from omni_core.errors import ConfigError

_NO_ITEMS = [""]  # ROS cannot tell the type of an empty list; empty items are skipped when the list is read


class NodeParameters:
    """The parameters of one node, made with ``automatically_declare_parameters_from_overrides``."""

    def __init__(
        self,
        node: Node,
        fields: Sequence[Field],
        node_fields: Sequence[Field],
        is_configured: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        """``fields``: the configuration's. ``node_fields``: those of config.node_parameters.

        ``is_configured``: True while only ``live`` parameters may change. ``on_change`` is called when some will.
        """
        self._node = node
        self._configuration = [field.name for field in fields]
        self._node_fields = node_fields
        self._fields = {field.name: field for field in (*fields, *node_fields)}
        self._is_configured = is_configured
        self._on_change = on_change
        self._refused: dict[str, ConfigError] = {}
        given = self._take_overrides(list(self._fields))
        for field in self._fields.values():
            self._declare(field, given)
        node.add_on_set_parameters_callback(self._check)

    def values(self) -> dict[str, Any]:
        """Raw values, for ``validate``. Raises ConfigError when a value that was given at the start is wrong."""
        for error in self._refused.values():
            raise error
        read_limits(self._node_fields, self._node_values())
        return {name: self._node.get_parameter(name).value for name in self._configuration}

    @property
    def autostart(self) -> bool:
        return bool(self._node.get_parameter("autostart").value)

    def limits(self) -> Limits:
        """For diagnostics; the defaults while what was given is wrong."""
        values = self._node_values()
        return read_limits(self._node_fields, values if self._wrong_limits(values) is None else {})

    def unknown(self) -> list[str]:
        """Names that were given at the start and that this node does not have (a wildcard may mean another node)."""
        return sorted(
            name
            for name in self._node.get_parameters_by_prefix("")
            if name not in (*self._fields, "use_sim_time", "start_type_description_service")
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
        known = {parameter.name: parameter.value for parameter in parameters if parameter.name in self._fields}
        before = self._node_values()
        wrong = self._wrong_limits({**before, **{name: known[name] for name in before if name in known}})
        if wrong is not None and self._wrong_limits(before) is None:
            return SetParametersResult(successful=False, reason=str(wrong))
        for name in known:
            self._refused.pop(name, None)
        self._on_change()
        return SetParametersResult(successful=True)

    def _node_values(self) -> dict[str, Any]:
        return {field.name: self._node.get_parameter(field.name).value for field in self._node_fields}

    def _wrong_limits(self, values: Mapping[str, Any]) -> ConfigError | None:
        try:
            read_limits(self._node_fields, values)
        except ConfigError as error:
            return error
        return None


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
