"""The folder of an oriented RT-DETR: ``config.json`` is :class:`NetworkConfig`."""

from __future__ import annotations

from pipeline.detectors.network_folder import NetworkFolder
from pipeline.detectors.oriented_rtdetr.model_type import MODEL_TYPE
from pipeline.detectors.oriented_rtdetr.network import NetworkConfig, OrientedRTDetr

FOLDER = NetworkFolder(model_type=MODEL_TYPE, config=NetworkConfig, network=OrientedRTDetr)
save_network, load_network, read_config = FOLDER.save, FOLDER.load, FOLDER.read_config
