"""Esplanade connector for SmartEmailing."""
