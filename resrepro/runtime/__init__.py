"""Where a process computes: device, processes, signals, versions."""
