"""Synapse, the data plane in the kernel: BPF programs of ``bpf/``, their maps, and what drives them.

No module here may be imported by this file: the compiler step runs with nothing but the standard library.
"""
