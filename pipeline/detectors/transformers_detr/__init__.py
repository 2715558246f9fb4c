"""Any DETR-family checkpoint of the transformers library."""
