"""A laboratory of network namespaces: hosts, a small internet between them, captures, processes. Needs root.

      namespace <lab>-robot1          namespace <lab>-internet          namespace <lab>-robot2
     +----------------------+        +-----------------------+         +----------------------+
     | eth0 198.18.0.1/16   |--veth--| p1       br0       p2 |--veth---| eth0 198.18.0.2/16   |
     |      2001:db8::1/64  |        |      198.18.255.254   |         |      2001:db8::2/64  |
     | lan0 (no address)    |        |      2001:db8::ffff   |         | own /dev/shm, /run,  |
     +----------|-----------+        |  capture of every     |         | hostname, machine-id |
                |veth                |  frame that enters    |         +----------------------+
     +----------------------+        +-----------------------+
     | eth0   namespace     |
     |   <lab>-plc          |   an inner host behind robot1 (for bridging)
     +----------------------+

    with Lab("pair") as lab:
        a, b = lab.host("a"), lab.host("b", rate="20mbit")
        capture = lab.capture()
        server = b.start(["iperf3", "-s", "-1"], name="server")
        b.wait_listening(5201)
        a.run(["iperf3", "-c", b.ipv4])
        frames = capture.stop()

Nothing is done in the machine's own namespace: veth pairs are born with both ends in namespaces of the lab. All names
carry the process id and a random part. On exit, exception, SIGINT or SIGTERM processes and namespaces go; what a killed
run left is removed when the next lab starts, by its ownership record (see ownership.py), never by a name pattern.
"""

from __future__ import annotations

from tools.netlab.capture import Capture
from tools.netlab.lab import Host, Lab
from tools.netlab.ownership import clean_stale
from tools.netlab.pcap import CapturedFrame, PcapWriter, read_pcap
from tools.netlab.process import LabError, LabProcess, LabTimeout, stop_all, wait_for
from tools.netlab.ros import ros_environment
from tools.netlab.support import unavailable

__all__ = [
    "Capture",
    "CapturedFrame",
    "Host",
    "Lab",
    "LabError",
    "LabProcess",
    "LabTimeout",
    "PcapWriter",
    "clean_stale",
    "read_pcap",
    "ros_environment",
    "stop_all",
    "unavailable",
    "wait_for",
]
