"""The same with Cyclone DDS's own python binding: `cyclone_node.py talk|listen SIZE`.

Without postponed annotations: the binding reads them.
"""

import sys
import time
from dataclasses import dataclass

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import sequence, uint8
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

PERIOD = 0.5  # s
QOS = Qos(Policy.Reliability.Reliable(duration(seconds=5)), Policy.History.KeepLast(4))


@dataclass
class Bytes(IdlStruct, typename="Bytes"):
    data: sequence[uint8]


def main(role: str, size: int) -> None:
    participant = DomainParticipant(0)
    topic = Topic(participant, "bytes", Bytes, qos=QOS)
    print("started", flush=True)
    if role == "listen":
        reader = DataReader(participant, topic, qos=QOS)
        while True:
            for message in reader.take_iter(timeout=duration(seconds=1)):
                print(f"got {len(message.data)}", flush=True)
    writer, message = DataWriter(participant, topic, qos=QOS), Bytes(bytes(size))
    while True:
        if writer.get_matched_subscriptions():
            writer.write(message)
            time.sleep(PERIOD)
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
