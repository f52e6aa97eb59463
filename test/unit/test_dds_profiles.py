"""DDS profiles as text: sizes, bindings, well-formed XML, files. With real DDS: test/ros/test_dds_profiles.py."""

from __future__ import annotations

import ipaddress
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from support.command_line import REPO

from omni_core.dds.diagnosis import bound_to
from omni_core.dds.overlay import Overlay
from omni_core.dds.profiles import MIDDLEWARES, PROFILE_VARIABLES, environment, middleware, profile, variables
from omni_core.dds.settings import SETTINGS
from omni_core.dds.sizes import FRAGMENT_MIN, MTU_MIN, fragment_size, message_size
from omni_core.errors import ConfigError
from omni_core.io.dds_files import write_environment, write_profile

VIP4, VIP6 = ipaddress.IPv4Address("10.77.0.1"), ipaddress.IPv6Address("fd6f:6d6e::1")
STATUS = {"interface": "omni0", "interface_mtu": 1418, "vip4": "10.77.0.1", "vip6": str(VIP6), "peers": []}


def overlay(mtu: int = 1418, *, vip4: bool = True, ipv6: bool = False) -> Overlay:
    return Overlay("omni0", VIP4 if vip4 else None, VIP6, mtu, ipv6)


def texts(xml: str, tag: str) -> list[str]:
    """Of all elements of that name, without namespaces."""
    root = ElementTree.fromstring(xml)
    return [(element.text or "").strip() for element in root.iter() if element.tag.rpartition("}")[2] == tag]


def property_value(xml: str) -> int:
    properties = dict(zip(texts(xml, "name"), texts(xml, "value"), strict=True))
    assert properties["fastdds.type_propagation"] == "disabled"
    return int(properties["fastdds.max_message_size"])


@pytest.mark.parametrize(
    ("mtu", "ipv6", "message"),
    [(1418, False, 1390), (1418, True, 1370), (1398, True, 1350), (1280, True, 1232), (8900, False, 8872)],
)
def test_a_message_is_what_fits_into_one_packet(mtu: int, ipv6: bool, message: int) -> None:
    """MTU less IPv4 or IPv6 header less UDP header."""
    assert message_size(mtu, ipv6=ipv6) == message
    for rmw in ("fastdds", "fastdds2"):
        assert property_value(profile(overlay(mtu, ipv6=ipv6), rmw)) == message
    cyclone = profile(overlay(mtu, ipv6=ipv6), "cyclonedds")
    assert texts(cyclone, "MaxMessageSize") == texts(cyclone, "MaxRexmitMessageSize") == [f"{message} B"]
    (fragment,) = texts(cyclone, "FragmentSize")
    assert FRAGMENT_MIN < int(fragment.split()[0]) <= message - 128


def test_fragments_are_whole_words_and_longer_than_the_least() -> None:
    for message in range(message_size(MTU_MIN, ipv6=True), 9000):
        assert fragment_size(message) % 4 == 0
        assert FRAGMENT_MIN < fragment_size(message) <= message - 128


@pytest.mark.parametrize("mtu", [0, 1279, 65536])
def test_an_mtu_that_cannot_be(mtu: int) -> None:
    with pytest.raises(ConfigError) as refused:
        overlay(mtu)
    assert refused.value.field == "mtu"


def test_which_interfaces_they_bind_to() -> None:
    assert bound_to(profile(overlay(), "fastdds")) == ["omni0", "lo"]
    assert bound_to(profile(overlay(), "fastdds2")) == ["10.77.0.1", "127.0.0.1"]
    assert bound_to(profile(overlay(ipv6=True), "fastdds2")) == [str(VIP6), "::1"]
    assert bound_to(profile(overlay(), "cyclonedds")) == ["omni0", "lo"]


def test_ip_version() -> None:
    for rmw in ("fastdds", "fastdds2"):
        assert texts(profile(overlay(), rmw), "type") == ["UDPv4", "SHM"]
        assert texts(profile(overlay(vip4=False), rmw), "type") == ["UDPv6", "SHM"]
    assert texts(profile(overlay(), "cyclonedds"), "Transport") == ["udp"]
    assert texts(profile(overlay(vip4=False), "cyclonedds"), "Transport") == ["udp6"]


def test_both_vendors_agree_on_the_lease() -> None:
    cyclone, fast = profile(overlay(), "cyclonedds"), ElementTree.fromstring(profile(overlay(), "fastdds"))
    lease = fast.find(".//{*}leaseDuration/{*}sec")
    assert lease is not None and texts(cyclone, "LeaseDuration") == [f"{lease.text} s"]


def test_what_to_export() -> None:
    assert variables(overlay(), "fastdds", "/d/") == {
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "FASTDDS_DEFAULT_PROFILES_FILE": "/d/omni0.fastdds.xml",
    }
    assert environment(STATUS, "fastdds", "/d", distro="jazzy") == {
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "FASTRTPS_DEFAULT_PROFILES_FILE": "/d/omni0.fastdds2.xml",
    }
    assert environment(STATUS, "rmw_cyclonedds_cpp", "/d") == {
        "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp",
        "CYCLONEDDS_URI": "file:///d/omni0.cyclonedds.xml",
    }


def test_which_version_of_fast_dds_a_distribution_has() -> None:
    assert [middleware("fastdds", name) for name in ("humble", "jazzy", "kilted", "rolling", "")] == [
        "fastdds2", "fastdds2", "fastdds", "fastdds", "fastdds",
    ]  # fmt: skip
    with pytest.raises(ConfigError) as refused:
        middleware("rmw_zenoh_cpp")
    assert refused.value.field == "rmw" and "cyclonedds" in refused.value.fix


def test_an_address_is_needed_for_fast_dds_2_only() -> None:
    bare = Overlay("omni0", None, None)
    for rmw in MIDDLEWARES:
        if rmw != "fastdds2":
            assert "omni0" in bound_to(profile(bare, rmw))
    with pytest.raises(ConfigError) as refused:
        profile(bare, "fastdds2")
    assert refused.value.field == "vip4"


@pytest.mark.parametrize("name", ["", "omni 0", 'omni"0', "<omni>", "a/b", "a&b"])
def test_a_name_that_would_break_the_xml(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Overlay(name, VIP4, None)
    assert refused.value.field == "interface"


@pytest.mark.parametrize(
    ("change", "field"),
    [({"vip4": "nonsense"}, "vip4"), ({"vip6": "10.0.0.1"}, "vip6"), ({"interface_mtu": 100}, "mtu")],
)
def test_a_status_that_is_none(change: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Overlay.of_status({**STATUS, **change})
    assert refused.value.field == field
    with pytest.raises(ConfigError):
        Overlay.of_status({})


def test_files_are_written_once(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "dds"
    exported = write_environment(STATUS, "fastdds", str(directory), distro="kilted")
    path = Path(exported["FASTDDS_DEFAULT_PROFILES_FILE"])
    assert path.read_text() == profile(Overlay.of_status(STATUS), "fastdds")
    assert path.stat().st_mode & 0o777 == 0o644
    before = path.stat()
    assert write_environment(STATUS, "fastdds", str(directory), distro="kilted") == exported
    assert os.path.samestat(before, path.stat())  # a write would have made another file
    write_environment({**STATUS, "interface_mtu": 1300}, "fastdds", str(directory), distro="kilted")
    assert not os.path.samestat(before, path.stat())
    assert [entry.name for entry in directory.iterdir()] == ["omni0.fastdds.xml"]


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as refused:
        write_profile(overlay(), "fastdds", str(tmp_path / "file" / "dds"))
    assert refused.value.field == "write"


def test_the_documentation_names_tests_that_are_there_and_every_setting() -> None:
    text = (REPO / "docs/dds.md").read_text()
    named = set(re.findall(r"`(test/[\w/]+\.py)`", text))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (REPO / name).is_file()] == []
    for setting in SETTINGS:
        assert f"`{setting.key}`" in text
    for rmw in MIDDLEWARES:
        assert f"`{rmw}`" in text and f"`{PROFILE_VARIABLES[rmw]}`" in text
    pains = [int(number) for number in re.findall(r"^\| (\d+)\. ", text, re.MULTILINE)]
    assert pains == [*range(1, 10), 13, 15, 16]
