"""The drill: a real job on a real cluster while processes, nodes, disks, stores and tiles fail. ``make chaos``."""
