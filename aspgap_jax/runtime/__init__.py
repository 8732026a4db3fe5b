"""Devices, processes, signals: how work is carried out, never what it computes."""
