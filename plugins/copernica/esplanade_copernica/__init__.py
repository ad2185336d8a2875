"""Esplanade connector for Copernica."""
