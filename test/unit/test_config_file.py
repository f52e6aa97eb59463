"""Reading TOML and ROS parameters YAML: what is taken, and that every error names the file, the key and the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from omni_core.errors import ConfigError
from omni_core.io.config_file import FILE_MAX, load_ganglion, load_nucleus, read_values


def write(directory: Path, name: str, content: str | bytes) -> str:
    path = directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_toml(tmp_path: Path) -> None:
    path = write(tmp_path, "g.toml", 'token_file = "/t"\nmtu = 1400\nfdb_ageing = 60\n')
    config = load_ganglion(path, {})
    assert (config.token_file, config.mtu, config.fdb_ageing) == ("/t", 1400, 60.0)


def test_overrides_win(tmp_path: Path) -> None:
    path = write(tmp_path, "g.toml", 'token_file = "/t"\nmtu = 1400\n')
    assert load_ganglion(path, {"mtu": 1300}).mtu == 1300
    assert load_ganglion(None, {"token_file": "/t", "mtu": 1300}).mtu == 1300


@pytest.mark.parametrize(
    ("text", "node", "expected"),
    [
        ("/**:\n  ros__parameters:\n    mtu: 1300\n", "ganglion", 1300),
        ("ganglion:\n  ros__parameters:\n    mtu: 1300\n", "ganglion", 1300),
        ("/ganglion:\n  ros__parameters:\n    mtu: 1300\n", "ganglion", 1300),
        ("/robot1/ganglion:\n  ros__parameters:\n    mtu: 1300\n", "ganglion", 1300),
        ("robot1:\n  ganglion:\n    ros__parameters:\n      mtu: 1300\n", "ganglion", 1300),
        ("robot1:\n  ganglion:\n    ros__parameters:\n      mtu: 1300\n", "/robot1/ganglion", 1300),
        ("/*/ganglion:\n  ros__parameters:\n    mtu: 1300\n", "/robot1/ganglion", 1300),
        ("/**/ganglion:\n  ros__parameters:\n    mtu: 1300\n", "ganglion", 1300),
        ("ganglion:\n  ros__parameters:\n    mtu: 1300\n/**:\n  ros__parameters:\n    mtu: 1400\n", "ganglion", 1300),
        ("/**:\n  ros__parameters:\n    mtu: 1400\nganglion:\n  ros__parameters:\n    mtu: 1300\n", "ganglion", 1300),
        (
            "/r1/ganglion:\n  ros__parameters:\n    mtu: 1400\n/r2/ganglion:\n  ros__parameters:\n    mtu: 1300\n",
            "/r2/ganglion",
            1300,
        ),
        ("nucleus:\n  ros__parameters:\n    x: 1\n/**:\n  ros__parameters:\n    mtu: 1300\n", "ganglion", 1300),
    ],
)
def test_ros_yaml(tmp_path: Path, text: str, node: str, expected: int) -> None:
    path = write(tmp_path, "p.yaml", text)
    assert load_ganglion(path, {"token_file": "/t"}, node).mtu == expected


def test_what_only_the_ros_nodes_know_is_left_out(tmp_path: Path) -> None:
    path = write(
        tmp_path, "p.yaml", "/**:\n  ros__parameters:\n    mtu: 1300\n    autostart: true\n    use_sim_time: true\n"
    )
    assert read_values(path, "ganglion") == {"mtu": 1300}


def test_yaml_and_toml_of_a_nucleus(tmp_path: Path) -> None:
    yaml_path = write(
        tmp_path, "n.yml", 'nucleus:\n  ros__parameters:\n    clusters: ["a"]\n    listen_address: [""]\n'
    )
    toml_path = write(tmp_path, "n.toml", 'clusters = ["a"]\nlisten_address = []\n')
    assert load_nucleus(yaml_path, {}) == load_nucleus(toml_path, {})


def test_empty_parameters(tmp_path: Path) -> None:
    assert read_values(write(tmp_path, "p.yaml", "/**:\n  ros__parameters:\n"), "ganglion") == {}


@pytest.mark.parametrize(
    ("name", "content", "field", "says"),
    [
        ("g.toml", "mtu = 17\n", "mtu", "17 is out of range"),
        ("g.toml", "mtu = \n", "config", "not valid TOML"),
        ("g.toml", "mtu = 1400\nmtu = 1400\n", "config", "not valid TOML"),
        ("g.toml", "a = " + "[" * 5000 + "]" * 5000, "config", "nested too deeply"),
        ("g.toml", '[ganglion]\ninterface = "omni0"\n', "ganglion", "no such key"),
        ("g.toml", b'name = "\xff"\n', "config", "UTF-8"),
        ("g.toml", b"#" * (FILE_MAX + 1), "config", "more than"),
        ("g.toml", 'token_file = "secret-token-text"\n', "token_file", "not an absolute path"),
        ("g.yaml", "/**:\n  ros__parameters:\n    mtu: 17\n", "mtu", "17 is out of range"),
        ("g.yaml", "/**:\n  ros__parameters:\n    intrface: omni0\n", "intrface", "did you mean 'interface'"),
        ("g.yaml", "/**:\n  ros__parameters:\n    name: yes\n", "name", "expected text"),
        ("g.yaml", "/**:\n  ros__parameters:\n    name: 2001-99-99\n", "config", "not valid YAML"),
        ("g.yaml", "/**:\n  ros__parameters:\n    mtu: 1\n    mtu: 2\n", "config", "'mtu' is there twice (at line 4"),
        ("g.yaml", "/**: &a\n  ros__parameters:\n    mtu: *a\n", "config", "aliases are not supported"),
        ("g.yaml", "/**: {ros__parameters: [\n", "config", "not valid YAML"),
        ("g.yaml", "a: !!python/object/apply:os.system [true]\n", "config", "not valid YAML"),
        ("g.yaml", "[" * 5000 + "]" * 5000, "config", "not valid YAML"),
        ("g.yaml", "? [a]\n: b\n", "config", "not valid YAML"),
        ("g.yaml", "", "config", "has no ros__parameters"),
        ("g.yaml", "- a\n- b\n", "config", "has no ros__parameters"),
        ("g.yaml", "mtu: 1400\n", "config", "/mtu has no ros__parameters"),
        ("g.yaml", "7:\n  ros__parameters:\n    mtu: 1\n", "config", "7 is not a node name"),
        ("g.yaml", "/**:\n  ros__parameters: 7\n", "config", "is not a list of keys"),
        ("g.yaml", "/**:\n  ros__parameters:\n    7: 8\n", "config", "is not a list of keys"),
        ("g.yaml", "nucleus:\n  ros__parameters:\n    mtu: 1\n", "config", "nodes in it: /nucleus"),
        (
            "g.yaml",
            "/a/ganglion:\n  ros__parameters:\n    mtu: 1\n/b/ganglion:\n  ros__parameters:\n    mtu: 1\n",
            "config",
            "several nodes: /a/ganglion, /b/ganglion",
        ),
        ("g.json", "{}", "config", "neither .toml nor .yaml"),
    ],
)
def test_error_names_file_key_and_fix(tmp_path: Path, name: str, content: str | bytes, field: str, says: str) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(ConfigError) as caught:
        load_ganglion(path, {"vip4": "10.77.0.1/24"})
    assert caught.value.field == field
    assert path in str(caught.value)
    assert says in caught.value.problem
    assert caught.value.fix
    assert "\n" not in str(caught.value)
    assert "secret-token-text" not in str(caught.value)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config: .*none\.toml does not exist"):
        load_ganglion(str(tmp_path / "none.toml"), {})
    (tmp_path / "d.toml").mkdir()
    with pytest.raises(ConfigError, match=r"config: .*d\.toml cannot be read"):
        load_ganglion(str(tmp_path / "d.toml"), {})


def test_error_in_an_override_does_not_blame_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "g.toml", 'token_file = "/t"\n')
    with pytest.raises(ConfigError) as caught:
        load_ganglion(path, {"mtu": 17})
    assert path not in str(caught.value)
