"""Every key of both tables: defaults, good values, and each way to be wrong. No key may be without a row."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from omni_core.config import ganglion, nucleus
from omni_core.config.schema import Field
from omni_core.config.values import ClusterFile, StaticMac, StaticPeer
from omni_core.crypto.identity import Identity, key_text
from omni_core.errors import ConfigError
from omni_core.types import Endpoint

KEY = Identity.from_seed(bytes(range(32))).public_key
KEY_TEXT = key_text(KEY)
OTHER_KEY_TEXT = key_text(Identity.from_seed(bytes(32)).public_key)
NOT_A_POINT = "A" * 42 + "I"  # 32 bytes, but no key

Validate = Callable[[Mapping[str, object]], Any]
GOOD: dict[str, dict[str, object]] = {
    "ganglion": {"token_file": "/etc/omni/token"},
    "nucleus": {"clusters": ["warehouse"]},
}
VALIDATE: dict[str, Validate] = {"ganglion": ganglion.validate, "nucleus": nucleus.validate}
TABLES = {"ganglion": ganglion.FIELDS, "nucleus": nucleus.FIELDS}
FIELDS = [pytest.param(node, field, id=f"{node}-{field.name}") for node, table in TABLES.items() for field in table]

PATHS = ["relative/path", "./key", "~/key", "/with\0zero"]
INTERFACES = ["sixteen_letters_", "with space", "a/b", "..", "omni%d", "a:b", "größe-groesse-16", "ü"]
NAMES = ["-first", "a" * 64, "with space", "a/b", "ü", "a\n"]
ADDRESSES = ["10.0.0", "host", "10.0.0.1/24", "224.0.0.1", "ff02::1", "10.0.0.1:51820"]

# (table, key) -> values that are refused. A ";"-free sentence of the error is checked in the shape test below.
BAD: dict[tuple[str, str], list[object]] = {
    ("ganglion", "interface"): ["", *INTERFACES],
    ("ganglion", "key_file"): ["", *PATHS],
    ("ganglion", "token_file"): [*PATHS, "omni://10.0.0.1:51820/warehouse?nucleus-key=x"],
    ("ganglion", "cluster"): NAMES,
    ("ganglion", "nucleus"): [
        ["a:0"], ["a:65536"], ["a:b"], [":51820"], ["[fd00::1"], ["[fd00::1]x"], ["a b:1"], ["300.0.0.1:1"],
        ["good:1", "-bad:1"], ["a:1", "a:1"], ["fd00::1::2"],
    ],
    ("ganglion", "nucleus_key"): ["short", KEY_TEXT[:-1], KEY_TEXT + "=", KEY_TEXT[:-1] + "!", NOT_A_POINT],
    ("ganglion", "secret_file"): PATHS,
    ("ganglion", "vip4"): [
        "10.77.0.1", "10.77.0.1/33", "10.77.0.0/24", "10.77.0.255/24", "300.1.1.1/24", "fd00::1/64", "127.0.0.1/8",
        "224.0.0.1/4", "10.0.0.1/0", "0.0.0.0/8", "a/b", "Auto", "auto/24",
    ],
    ("ganglion", "name"): NAMES,
    ("ganglion", "listen_port"): [-1, 65536],
    ("ganglion", "listen_address"): [[address] for address in ADDRESSES] + [["10.0.0.1", "10.0.0.1"]],
    ("ganglion", "mtu"): [-1, 1, 1279, 9217],
    ("ganglion", "bridge"): INTERFACES,
    ("ganglion", "engine"): ["", "kernal", "Python", "Native"],
    ("ganglion", "xdp_mode"): [
        ["fast"], ["eth0=fast"], ["=driver"], ["a b=auto"], ["eth0="], ["auto", "generic"], ["e=auto", "e=driver"],
    ],
    ("ganglion", "bulk_lane"): ["", "on", "Auto"],
    ("ganglion", "bpf_dir"): ["", "sys/fs/bpf"],
    ("ganglion", "mesh_limit"): [-1, 4097],
    ("ganglion", "multicast"): ["", "on", "Learn"],
    ("ganglion", "spdp_cache"): ["", "auto", "On"],
    ("ganglion", "dds_sysctls"): ["", "on", "Auto"],
    ("ganglion", "dds_probe"): ["", "on", "Auto"],
    ("ganglion", "fleet_topic"): ["", "on", "Auto"],
    ("ganglion", "fdb_ageing"): [0.0, 0.9, -5.0, 1_000_001.0, float("nan"), float("inf")],
    ("ganglion", "fdb_max_per_peer"): [0, -1, 65537],
    ("ganglion", "static_peers"): [
        ["a:1"], [f"{KEY_TEXT}@"], ["short@a:1"], [f"{NOT_A_POINT}@a:1"], [f"{KEY_TEXT}@a:0"],
    ],
    ("ganglion", "static_macs"): [
        ["02:00:00:00:00:01"], ["02:00:00:00:00=local"], ["03:00:00:00:00:01=local"], ["ff:ff:ff:ff:ff:ff=local"],
        ["02:00:00:00:00:01=short"], ["02:00:00:00:00:01/0=local"], ["02:00:00:00:00:01/4095=local"],
        ["02:00:00:00:00:01/=local"], ["02:00:00:00:00:01/x=local"], ["02:00:00:00:00:01=local"] * 2,
        ["02:00:00:00:00:01=local", f"02:00:00:00:00:01={KEY_TEXT}"],
    ],
    ("ganglion", "admit"): ["", "all", "allowlist", "Cluster"],
    ("ganglion", "allowed_keys"): [["short"], [NOT_A_POINT], [KEY_TEXT, KEY_TEXT]],
    ("ganglion", "run_dir"): ["", *PATHS, "/" + "d" * 100],
    ("ganglion", "status_period"): [0.0, 0.09, -1.0, 3600.1, float("nan")],
    ("nucleus", "key_file"): ["", *PATHS],
    ("nucleus", "clusters"): [[], [""], ["a b"], ["a", "a"], ["a/b"], ["a" * 64]],
    ("nucleus", "secret_files"): [
        ["warehouse"], ["warehouse=relative"], ["=/etc/s"], ["other=/etc/s"], ["warehouse=/a", "warehouse=/b"],
    ],
    ("nucleus", "listen_port"): [-1, 65536],
    ("nucleus", "listen_address"): [[address] for address in ADDRESSES],
    ("nucleus", "heartbeat_interval"): [0.0, 0.99, -1.0, 600.1, float("inf")],
    ("nucleus", "allow_files"): [
        ["warehouse"], ["warehouse=relative"], ["other=/etc/s"], ["warehouse=/a", "warehouse=/b"],
    ],
    ("nucleus", "vip4_pools"): [
        ["10.77.0.0/24"], ["other=10.77.0.0/24"], ["warehouse=10.77.0.0"], ["warehouse=10.77.0.5/24"],
        ["warehouse=10.77.0.9-10.77.0.3/24"], ["warehouse=10.77.0.9-10.78.0.3/24"], ["warehouse=10.77.0.0/33"],
        ["warehouse=224.0.0.0/24"], ["warehouse=127.0.0.0/24"], ["warehouse=fd00::/64"], ["warehouse=10.77.0.0-/24"],
        ["warehouse=10.77.0.0/24", "warehouse=10.78.0.0/24"], ["warehouse=10.77.0.0-10.77.0.0/24"],
    ],
    ("nucleus", "lease_time"): [0.0, 59.9, float("nan")],
    ("nucleus", "max_edges"): [0, 1_000_001],
    ("nucleus", "store"): [
        "", "ram", "redis://", "redis:///0", "redis://h:p/0", "redis://h/zero", "redis://h/0?x=1", "redis://h/-1",
        "http://h/0", "unix://relative", "unix:///s?x=1", "unix:///s?db=x", "redis://user:pw@h/0", "redis://:pw@h/0",
        "redis://user@h/0", "redis://[::1/0", "redis://h:99999/0",
    ],
    ("nucleus", "store_password_file"): [*PATHS, "/etc/omni/redis"],
    ("nucleus", "store_ca_file"): [*PATHS, "/etc/ssl/ca.pem"],
    ("nucleus", "http_listen"): [
        "51821", "localhost:80", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:x", "::1", "[::1]",
    ],
    ("nucleus", "log_format"): ["", "xml"],
    ("nucleus", "drain_time"): [-0.1, 600.1],
    ("nucleus", "run_dir"): ["", *PATHS, "/" + "d" * 100],
    ("nucleus", "status_period"): [0.0, 3601.0],
}  # fmt: skip

WRONG_TYPES: dict[str, list[object]] = {
    "string": [None, 1, 1.5, True, ["a"], {"a": 1}, b"bytes"],
    "integer": [None, "1", 1.0, True, [1], {}],
    "double": [None, "1.0", True, [1.0], {}],
    "string_array": [None, "a", 1, [1], ["a", None], [["a"]], {}],
}


def refused(node: str, values: dict[str, object]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        VALIDATE[node]({**GOOD[node], **values})
    return caught.value


def assert_helpful(error: ConfigError, field: str) -> None:
    assert error.field == field
    assert error.problem
    assert not error.problem.endswith(".")
    assert error.fix
    assert not error.fix.endswith(".")
    assert str(error) == f"{field}: {error.problem}. Fix: {error.fix}"
    assert "\n" not in str(error)


def test_every_key_has_a_row_of_bad_values() -> None:
    assert set(BAD) == {(node, field.name) for node, table in TABLES.items() for field in table}
    assert all(BAD.values())


@pytest.mark.parametrize(
    ("node", "key", "value"),
    [
        pytest.param(node, key, value, id=f"{node}-{key}-{n}")
        for (node, key), row in BAD.items()
        for n, value in enumerate(row)
    ],
)
def test_bad_value_names_field_and_fix(node: str, key: str, value: object) -> None:
    assert_helpful(refused(node, {key: value}), key)


@pytest.mark.parametrize(("node", "field"), FIELDS)
def test_wrong_type_names_field_and_fix(node: str, field: Field) -> None:
    for value in WRONG_TYPES[field.type]:
        error = refused(node, {field.name: value})
        assert_helpful(error, field.name)
        assert "expected" in error.problem


@pytest.mark.parametrize(("node", "field"), FIELDS)
def test_limits_themselves_are_accepted(node: str, field: Field) -> None:
    for limit in (field.minimum, field.maximum, *(field.gap or ())):
        if limit is not None:
            assert getattr(VALIDATE[node]({**GOOD[node], field.name: limit}), field.name) == limit


@pytest.mark.parametrize(("node", "field"), FIELDS)
def test_table_is_complete(node: str, field: Field) -> None:
    """What ROS descriptors and example files take from the table is there and fits."""
    assert field.description.endswith(".")
    assert not field.fix.endswith(".")
    assert isinstance(
        field.default, {"string": str, "integer": int, "double": float, "string_array": tuple}[field.type]
    )
    if field.type in ("integer", "double"):
        assert field.minimum is not None
        assert field.maximum is not None
        assert field.minimum <= field.default <= field.maximum
    if field.choices:
        assert field.default in field.choices
    assert not (field.live and field.read_only)


def test_xdp_modes_of_all_interfaces_and_of_one() -> None:
    assert VALIDATE["ganglion"](GOOD["ganglion"]).xdp_modes == {"": "auto"}
    config = VALIDATE["ganglion"]({**GOOD["ganglion"], "xdp_mode": ["generic", "eth0.5=driver", ""]})
    assert config.xdp_modes == {"": "generic", "eth0.5": "driver"}


@pytest.mark.parametrize("node", list(TABLES))
def test_dataclass_has_exactly_the_keys_of_the_table(node: str) -> None:
    config = VALIDATE[node](GOOD[node])
    assert {f.name for f in dataclasses.fields(config)} == {f.name for f in TABLES[node]}


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("interfce", "interface"),
        ("key-file", "key_file"),
        ("Nucleus_Key", "nucleus_key"),
        ("static_peer", "static_peers"),
    ],
)
def test_unknown_key_suggests(key: str, meant: str) -> None:
    error = refused("ganglion", {key: "x"})
    assert_helpful(error, key)
    assert meant in error.problem
    assert meant in error.fix


def test_unknown_key_without_a_likeness_lists_the_keys() -> None:
    error = refused("nucleus", {"zzz": 1})
    assert_helpful(error, "zzz")
    assert "heartbeat_interval" in error.fix


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "token_file"),
        ({"cluster": "a"}, "token_file"),
        ({"nucleus": ["a:1"], "nucleus_key": KEY_TEXT}, "cluster"),
        ({"static_peers": [f"{KEY_TEXT}@a:1"]}, "cluster"),
        ({"cluster": "a", "nucleus": ["a:1"]}, "nucleus_key"),
        ({"cluster": "a", "nucleus": ["a:1"], "nucleus_key": f"{KEY_TEXT},{KEY_TEXT}"}, "nucleus_key"),
        ({"cluster": "a", "nucleus": ["a:1", "b:1", "c:1"], "nucleus_key": f"{KEY_TEXT}, {KEY_TEXT}"}, "nucleus_key"),
        ({"cluster": "a", "static_peers": [f"{KEY_TEXT}@a:1"], "nucleus_key": KEY_TEXT}, "nucleus"),
        ({"token_file": "/t", "cluster": "a"}, "cluster"),
        ({"token_file": "/t", "nucleus": ["a:1"]}, "nucleus"),
        ({"token_file": "/t", "nucleus_key": KEY_TEXT}, "nucleus_key"),
        ({"token_file": "/t", "admit": "allow_list"}, "allowed_keys"),
        ({"token_file": "/t", "allowed_keys": [KEY_TEXT]}, "allowed_keys"),
        ({"token_file": "/t", "bridge": "omni0"}, "bridge"),
        ({"token_file": "/t", "interface": "eth1", "bridge": "eth1"}, "bridge"),
    ],
)
def test_bad_combination_names_field_and_fix(values: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ganglion.validate(values)
    assert_helpful(caught.value, field)


@pytest.mark.parametrize(
    ("node", "field"),
    [(node, f) for node, table in TABLES.items() for f in table if f.secret and f.name != "secret_files"],
)
def test_a_secret_given_instead_of_its_file_is_not_repeated(node: str, field: Field) -> None:
    for secret in ("hunter2-hunter2", ["hunter2-hunter2"], {"hunter2-hunter2": 1}):
        assert "hunter2" not in str(refused(node, {field.name: secret}))


@pytest.mark.parametrize("value", ["redis://:hunter2@h/0", "redis://hunter2:hunter2@h:x/0", "hunter2://h"])
def test_a_password_in_the_url_of_the_store_is_refused_and_not_repeated(value: str) -> None:
    assert "hunter2" not in str(refused("nucleus", {"store": value}))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://10.0.0.5", "redis://10.0.0.5:6379/0"),
        ("rediss://redis.example.org:7000/3", "rediss://redis.example.org:7000/3"),
        ("redis://[fd00::1]:7000/3", "redis://[fd00::1]:7000/3"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("redis://omni@h", "redis://omni@h:6379/0"),
    ],
)
def test_where_the_store_is(text: str, shown: str) -> None:
    values = {**GOOD["nucleus"], "store": text, "store_password_file": "/etc/omni/redis"}
    assert str(nucleus.validate(values).store) == shown


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("warehouse=10.77.0.0/24", "10.77.0.1", "10.77.0.254"),
        ("warehouse=10.77.0.100-10.77.0.199/24", "10.77.0.100", "10.77.0.199"),
        ("warehouse=10.77.0.0-10.77.0.255/24", "10.77.0.1", "10.77.0.254"),
        ("warehouse=10.77.0.0/31", "10.77.0.0", "10.77.0.1"),
    ],
)
def test_pools(text: str, first: str, last: str) -> None:
    (pool,) = nucleus.validate({**GOOD["nucleus"], "vip4_pools": [text]}).vip4_pools
    assert (pool.cluster, str(pool.first), str(pool.last)) == ("warehouse", first, last)


@pytest.mark.parametrize("value", ["warehouse=hunter2", "hunter2=", "hunter2"])
def test_a_cluster_secret_given_instead_of_its_file_is_not_repeated(value: str) -> None:
    assert "hunter2" not in str(refused("nucleus", {"secret_files": [value]}))


def test_parsed_values() -> None:
    config = ganglion.validate(
        {
            "cluster": "warehouse",
            "nucleus": ["", "nucleus.example.org:51821", "[fd00::1]:51820", "10.0.0.1"],
            "nucleus_key": KEY_TEXT,
            "vip4": "10.77.0.1/24",
            "fdb_ageing": 60,
            "static_peers": [f"{KEY_TEXT}@10.0.0.2:1000", f"{KEY_TEXT}@10.0.0.3:1000"],
            "static_macs": [f"02:00:00:00:00:01={KEY_TEXT}", "02-00-00-00-00-02/7=local"],
            "admit": "allow_list",
            "allowed_keys": (OTHER_KEY_TEXT,),
            "listen_address": [""],
        }
    )
    assert config.nucleus == (
        Endpoint("nucleus.example.org", 51821),
        Endpoint("fd00::1", 51820),
        Endpoint("10.0.0.1", 51820),
    )
    assert config.nucleus_key == (KEY,)
    assert config.nuclei == tuple((endpoint, KEY) for endpoint in config.nucleus)
    assert config.vip4 == ipaddress.IPv4Interface("10.77.0.1/24")
    assert config.fdb_ageing == 60.0
    assert isinstance(config.fdb_ageing, float)
    assert config.static_peers[1] == StaticPeer(KEY, Endpoint("10.0.0.3", 1000))
    assert config.static_macs == (
        StaticMac(bytes.fromhex("020000000001"), None, KEY),
        StaticMac(bytes.fromhex("020000000002"), 7, None),
    )
    assert len(config.allowed_keys) == 1
    assert config.listen_address == ()
    assert config.admin_socket == "/run/omni/omni0.sock"
    secrets = nucleus.validate({"clusters": ["a", "b"], "secret_files": ["b=/etc/omni/b.secret"]}).secret_files
    assert secrets == (ClusterFile("b", "/etc/omni/b.secret"),)


def test_not_set_is_none_or_empty() -> None:
    config = ganglion.validate(GOOD["ganglion"])
    assert config.nucleus_key == config.nuclei == ()
    assert config.vip4 is None
    assert config.nucleus == config.static_peers == ()
    assert config.bridge == config.cluster == ""
