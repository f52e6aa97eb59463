"""DDS profiles for applications on the overlay: pure text from facts. Nothing here opens a file or starts DDS."""
