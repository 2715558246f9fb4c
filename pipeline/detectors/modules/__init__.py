"""What networks of several families share: backbones, the feature pyramid, modules between it and a head."""
