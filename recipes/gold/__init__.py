"""An experiment: how reward models fare as policies are optimised against them. `./run experiment gold`."""
