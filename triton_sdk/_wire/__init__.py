"""What waits and sends: threads, tasks of an event loop, gRPC, and the drivers of the flows."""
