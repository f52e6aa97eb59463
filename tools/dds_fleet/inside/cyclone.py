"""Participants of Cyclone DDS, which talk and listen as ROS nodes with std_msgs/String do. Commands: protocol.py.

Without postponed annotations: the binding reads them.
"""

import sys
import threading
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import protocol
from cyclonedds.core import Listener, Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl import annotations as annotate
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

ROS_PREFIX = "rt/"  # of topics, in DDS


@dataclass
@annotate.final
@annotate.autoid("sequential")
class String(IdlStruct, typename="std_msgs.msg.dds_.String_"):
    data: str


def quality(topic: str) -> Qos:
    latched = topic.startswith("latched")
    return Qos(
        Policy.Reliability.Reliable(duration(seconds=5)),
        Policy.Durability.TransientLocal if latched else Policy.Durability.Volatile,
        Policy.History.KeepLast(100),
        Policy.DataRepresentation(use_cdrv0_representation=True),
    )


class Said(Listener):
    """Events of a reader or a writer."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def on_data_available(self, reader: DataReader) -> None:
        for message in reader.take(N=16):
            if isinstance(message, String):
                protocol.heard(self._name, message.data)

    def on_subscription_matched(self, reader: DataReader, status: object) -> None:
        protocol.say("matched", self._name, status.current_count)

    def on_publication_matched(self, writer: DataWriter, status: object) -> None:
        protocol.say("matched", self._name, status.current_count)


class Participant:
    def __init__(self, name: str, domain: int, words: list[str]) -> None:
        self._participant = DomainParticipant(domain)
        self._name = name
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        role, *rest = words
        getattr(self, f"_{role}")(*rest)

    def end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._endpoint = self._topic = self._participant = None

    def _quiet(self) -> None:
        pass

    def _listen(self, topic: str) -> None:
        self._topic = Topic(self._participant, ROS_PREFIX + topic, String, qos=quality(topic))
        self._endpoint = DataReader(self._participant, self._topic, qos=quality(topic), listener=Said(self._name))

    def _talk(self, topic: str, period: str, size: str) -> None:
        self._topic = Topic(self._participant, ROS_PREFIX + topic, String, qos=quality(topic))
        writer = DataWriter(self._participant, self._topic, qos=quality(topic), listener=Said(self._name))
        self._endpoint = writer

        def talk() -> None:
            number = 0
            while True:
                number += 1
                writer.write(String(protocol.text(self._name, number, int(size))))
                if self._stop.wait(float(period) or None):
                    return

        self._thread = threading.Thread(target=talk, daemon=True)
        self._thread.start()


if __name__ == "__main__":
    print("ready", flush=True)
    protocol.serve(Participant)
