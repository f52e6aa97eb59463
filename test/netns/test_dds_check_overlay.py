"""`omni dds --check` across real Ganglia: the ROS node of one answers; when the session ends, that is the reason."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from support.dds_pair import OMNI, fragments
from support.fleet import ENVIRONMENT, REPO
from support.two_robots import TwoRobots

from tools.netlab import Lab, LabProcess, ros_environment, unavailable, wait_for

pytestmark = [
    pytest.mark.alone,
    pytest.mark.netns,
    pytest.mark.ros,
    pytest.mark.skipif(unavailable() is not None, reason="no labs here"),
]

NODE = "from omni_ros2.ganglion_node import main; raise SystemExit(main())"
TIMEOUT = 60.0  # s


def children(process: LabProcess) -> list[int]:
    """Pids of its children."""
    tasks = Path(f"/proc/{process.pid}/task")
    return [int(word) for task in tasks.iterdir() for word in (task / "children").read_text().split()]


def test_a_node_answers_across_the_overlay_until_the_session_ends() -> None:
    with Lab("probe") as lab:
        pair = TwoRobots(lab)
        a, b = pair.ends
        assert b.host.ipv4 is not None and a.host.ipv4 is not None
        pair.launch(0, {"engine": "python"})
        parameters = {
            "key_file": b.key_file, "cluster": "pair", "name": "robot2", "vip4": f"{b.vip4}/24", "engine": "python",
            "static_peers": [f"{a.key}@{a.host.ipv4}:51820"], "autostart": True,
        }  # fmt: skip
        file = lab.logs / "ganglion.yaml"
        file.write_text(json.dumps({"/**": {"ros__parameters": parameters}}))  # JSON is YAML
        environments = [
            {**ros_environment(lab.logs / f"{end.host.name}.ros"), "TMPDIR": str(lab.logs)} for end in pair.ends
        ]
        node = b.host.start(
            [sys.executable, "-B", "-c", NODE, "--ros-args", "--params-file", file], "node", environments[1], REPO
        )
        a.omni("wait", "--peers", "1", "--timeout", "30")
        (responder,) = wait_for(lambda: children(node), TIMEOUT, "the responder")

        def check(*words: str, code: int) -> dict:
            command = [*OMNI, "dds", "--check", "--json", "--rmw", "fastdds", "--peer", "robot2", *words]
            environment = {
                **environments[0],
                **ENVIRONMENT,
                "PYTHONPATH": os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")]),
            }
            done = a.host.run(command, timeout=TIMEOUT, check=False, env=environment, cwd=REPO)
            assert done.returncode == code, done.stdout + done.stderr + node.log_text()
            return json.loads(done.stdout)

        found = check("--timeout", "20", code=0)
        assert len(found["result"]["rtts_s"]) == 10 and found["result"]["large_in_s"] and found["result"]["large_out_s"]
        assert fragments(a.host) == 0
        assert fragments(b.host) < 500  # of the Ganglion's node, which has no profile; 4 MB would be some 2,900
        assert node.stop(grace=15) == 0, node.log_text()
        assert not Path(f"/proc/{responder}").exists()
        wait_for(lambda: a.status()["peers"][0]["state"] != "up", TIMEOUT, "the session to end")
        assert "there is no session with robot2" in check(code=1)["reasons"][0]
        pair.stop()
