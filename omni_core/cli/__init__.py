"""The command line `omni`: one module per command, with ``configure(parser)`` and ``run(arguments) -> exit code``."""
