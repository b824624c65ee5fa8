"""What the package runs on: threads, memory, optional packages, versions, types."""
