"""Numbered edge checks of a replay window, for every engine that has one: (sequence, is it accepted?), in order."""

from __future__ import annotations

from omni_core.constants import REJECT_AFTER_MESSAGES as REJECT
from omni_core.constants import REPLAY_WINDOW as W

YES, NO = True, False
EDGES = {
    "first, then the same and near ones": [(0, YES), (0, NO), (1, YES), (1, NO), (5, YES), (4, YES), (3, YES), (4, NO)],
    "first is not zero": [(7, YES), (7, NO), (0, YES), (0, NO)],
    "oldest that counts, and one older": [(W + 1, YES), (1, YES), (1, NO), (0, NO), (W, YES), (2, YES)],
    "a step of one pushes one out": [(0, YES), (W, YES), (0, NO), (W + 1, YES), (1, YES), (W + 2, YES), (1, NO)],
    "block edges": [(63, YES), (64, YES), (65, YES), (63, NO), (64, NO), (62, YES), (127, YES), (128, YES), (127, NO)],
    "ring edges": [(8191, YES), (8192, YES), (8191, NO), (8192, NO), (64, YES), (63, NO), (8190, YES), (8255, YES)],
    "jump by the ring's size": [(5, YES), (5 + 8192, YES), (5, NO), (5 + 8192, NO), (5 + 8192 - W, YES)],
    "jump by the ring less one block": [(5, YES), (5 + W, YES), (5, NO), (6, YES), (4, NO)],
    "jump by many rings": [(9, YES), (9 + 40 * 8192, YES), (10 + 39 * 8192 + 64, YES), (9 + 39 * 8192, NO), (9, NO)],
    "a jump clears the oldest block too": [(64 + 10, YES), (9 * 8192, YES), (9 * 8192 - W + 10, YES)],
    "old ones after a jump": [(W, YES), (4 * W, YES), (3 * W, YES), (3 * W - 1, NO), (3 * W, NO), (3 * W + 1, YES)],
    "the message limit": [(REJECT, NO), (REJECT - 1, YES), (REJECT, NO), (REJECT - 1, NO), (REJECT - 2, YES)],
    "beyond the limit": [(REJECT + 1, NO), (1 << 60, NO), (REJECT - 3, YES), (REJECT - 3, NO), (0, NO)],
}
