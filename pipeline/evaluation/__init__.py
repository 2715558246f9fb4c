"""How good detections are: oriented average precision over whole scenes, and COCO's own evaluator."""
