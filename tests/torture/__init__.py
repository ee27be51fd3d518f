"""Torture the store and the commands: kills, damages, full disks, two commands at once, poor file systems."""
