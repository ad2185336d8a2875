"""Sends every change as a canonical event, signed by Standard Webhooks, to one URL. Begin with ``plugin.py``."""
