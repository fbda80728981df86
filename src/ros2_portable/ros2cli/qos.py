"""Quality of service: what fits the publishers, and what the user asks for."""

import argparse
from collections.abc import Sequence

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPresetProfiles,
    QoSProfile,
    ReliabilityPolicy,
)
from ros2cli.cli import argument

_POLICIES = {
    "history": HistoryPolicy,
    "reliability": ReliabilityPolicy,
    "durability": DurabilityPolicy,
}
QOS_ARGUMENTS = (
    argument("--qos-profile", choices=[n.lower() for n in QoSPresetProfiles.__members__]),
    argument("--qos-depth", type=int),
    *(argument(f"--qos-{n}", choices=policy.short_keys()) for n, policy in _POLICIES.items()),
)


def merged_qos(offers: Sequence[tuple[int, int]], depth: int) -> QoSProfile:
    """Return reliable, transient local only where every (reliability, durability) is."""
    qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
    if offers and all(offer[0] == ReliabilityPolicy.RELIABLE for offer in offers):
        qos.reliability = ReliabilityPolicy.RELIABLE
    if offers and all(offer[1] == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers):
        qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return qos


def matching_qos(node: Node, topic: str, depth: int) -> QoSProfile:
    """Return the strongest subscription QoS that all publishers of a topic satisfy."""
    offers = [info.qos_profile for info in node.get_publishers_info_by_topic(topic)]
    return merged_qos([(qos.reliability, qos.durability) for qos in offers], depth)


def chosen_qos(args: argparse.Namespace, qos: QoSProfile) -> QoSProfile:
    """Return `qos` with what QOS_ARGUMENTS change."""
    if args.qos_profile:
        qos = QoSPresetProfiles[args.qos_profile.upper()].value
    for name, policy in _POLICIES.items():
        if key := getattr(args, f"qos_{name}"):
            setattr(qos, name, policy[key.upper()])
    if args.qos_depth is not None:
        qos.depth = args.qos_depth
    return qos
