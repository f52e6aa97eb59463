"""The generated inner loops of the BPF AEAD are those that the generator writes today."""

from __future__ import annotations

from tools import gen_aead


def test_the_generated_file_is_up_to_date() -> None:
    assert gen_aead.OUTPUT.read_text() == gen_aead.generate(), "run tools/gen_aead.py"


def test_instructions_per_block() -> None:
    """What the speed comes from: a change of the generator that makes it worse shall not go unnoticed."""
    lengths = {name: len(text) for name, _, text in gen_aead.FUNCTIONS}
    assert lengths["aead_chacha_block"] <= 1566
    assert max(lengths["aead_absorb_seal"], lengths["aead_absorb_open"]) <= 329
