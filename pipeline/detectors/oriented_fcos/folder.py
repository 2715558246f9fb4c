"""The folder of an oriented FCOS: ``config.json`` is :class:`FCOSConfig`."""

from __future__ import annotations

from pipeline.detectors.network_folder import NetworkFolder
from pipeline.detectors.oriented_fcos.model_type import MODEL_TYPE
from pipeline.detectors.oriented_fcos.network import FCOSConfig, OrientedFCOS

FOLDER = NetworkFolder(model_type=MODEL_TYPE, config=FCOSConfig, network=OrientedFCOS)
save_network, load_network, read_config = FOLDER.save, FOLDER.load, FOLDER.read_config
