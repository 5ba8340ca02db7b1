"""Ask nets what later papers asked: from stored weights, or at initialization. No run needs it."""
