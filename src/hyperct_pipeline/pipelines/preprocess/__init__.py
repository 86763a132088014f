"""Accepted volumes into the volume store."""
