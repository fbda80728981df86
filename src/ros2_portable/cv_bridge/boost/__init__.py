"""Where the original keeps its compiled part."""
