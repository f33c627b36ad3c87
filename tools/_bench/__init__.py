"""What `tools/bench` measures with: servers, workers, clients, marks, and one module a measurement."""
