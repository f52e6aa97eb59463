"""The native engine (native/) from the Ganglion's side: its process, the messages to it, and the data plane over them.

``client.py`` talks to it in both of its modes; the rest is for mode alone, the engine ``native``.
"""
