"""The arguments of fleet.launch.py become parameters, or are refused with a sentence; without ROS."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from omni_core.errors import ConfigError
from omni_ros2.launch_arguments import ARGUMENTS, chosen_middleware, node_parameters

NOWHERE = "/nonexistent"


def values(**given: str) -> dict[str, str]:
    assert set(given) <= {argument.name for argument in ARGUMENTS}
    return {**{argument.name: argument.default for argument in ARGUMENTS}, **given}


def test_each_has_a_description_and_a_default_among_its_choices() -> None:
    for argument in ARGUMENTS:
        assert argument.description
        assert argument.choices is None or argument.default in argument.choices


def test_the_documentation_has_each_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "docs/launch.md").read_text()
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    documented = {name: default.strip(" `") for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    assert documented == {argument.name: argument.default for argument in ARGUMENTS}


def test_arguments_of_a_ganglion() -> None:
    given = values(
        cluster="warehouse", nucleus="10.0.0.1:51820, n2:1", vip="10.77.0.1/24", engine="native", token="~/t"
    )
    assert node_parameters("ganglion", given, NOWHERE) == [
        {
            "cluster": "warehouse",
            "nucleus": ["10.0.0.1:51820", "n2:1"],
            "token_file": str(Path("~/t").expanduser()),
            "vip4": "10.77.0.1/24",
            "engine": "native",
        }
    ]


def test_of_a_nucleus_the_clusters_only() -> None:
    given = values(role="nucleus", cluster="a,b", vip="10.77.0.1/24")
    assert node_parameters("nucleus", given, NOWHERE) == [{"clusters": ["a", "b"]}]


@pytest.mark.parametrize("name", [argument.name for argument in ARGUMENTS])
def test_a_token_is_refused_wherever_it_stands(name: str) -> None:
    with pytest.raises(ConfigError, match="is a token") as refusal:
        node_parameters("ganglion", values(**{name: "omni://n/c?nucleus-key=k&secret=geheim"}), NOWHERE)
    assert refusal.value.field == name
    assert "geheim" not in str(refusal.value)


def test_a_vip_may_be_leased() -> None:
    assert node_parameters("ganglion", values(vip="auto"), NOWHERE) == [{"vip4": "auto"}]


@pytest.mark.parametrize(("name", "value", "field"), [("vip", "10.77.0.1", "vip4"), ("nucleus", "a:b", "nucleus")])
def test_a_wrong_value_is_refused_before_a_process_starts(name: str, value: str, field: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        node_parameters("ganglion", values(**{name: value}), NOWHERE)
    assert refusal.value.field == field


def test_a_toml_file_becomes_parameters_and_arguments_win(tmp_path: Path) -> None:
    file = tmp_path / "g.toml"
    file.write_text('vip4 = "10.77.0.9/24"\nmesh_limit = 4\nnucleus = []\n')
    (merged,) = node_parameters("ganglion", values(config=str(file), vip="10.77.0.1/24"), NOWHERE)
    assert merged == {"vip4": "10.77.0.1/24", "mesh_limit": 4, "nucleus": [""]}
    with pytest.raises(ConfigError, match="role is both"):
        node_parameters("ganglion", values(role="both", config=str(file)), NOWHERE)


def test_a_yaml_file_is_handed_on(tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    file.write_text("ganglion: {ros__parameters: {mesh_limit: 4}}\n")
    assert node_parameters("ganglion", values(config=str(file)), NOWHERE) == [str(file), {}]
    with pytest.raises(ConfigError, match="no parameters for the node nucleus"):
        node_parameters("nucleus", values(role="nucleus", config=str(file)), NOWHERE)


def test_the_default_files(tmp_path: Path) -> None:
    (tmp_path / "nucleus.yaml").write_text("/**: {ros__parameters: {}}\n")
    assert node_parameters("ganglion", values(), str(tmp_path)) == [{}]
    assert node_parameters("nucleus", values(role="nucleus"), str(tmp_path)) == [str(tmp_path / "nucleus.yaml"), {}]


@pytest.mark.parametrize(
    ("dds", "rmw", "chosen"),
    [
        ("auto", "", "fastdds"),
        ("auto", "rmw_fastrtps_cpp", "fastdds"),
        ("auto", "rmw_cyclonedds_cpp", "cyclonedds"),
        ("auto", "rmw_zenoh_cpp", "none"),
        ("none", "rmw_cyclonedds_cpp", "none"),
        ("cyclonedds", "rmw_fastrtps_cpp", "cyclonedds"),
    ],
)
def test_the_middleware(dds: str, rmw: str, chosen: str) -> None:
    assert chosen_middleware(dds, {"RMW_IMPLEMENTATION": rmw}) == chosen
