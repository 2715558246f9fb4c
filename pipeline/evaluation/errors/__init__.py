"""What went wrong, and what it costs: error kinds after TIDE, confusion, recall, the worst of each kind, files."""
