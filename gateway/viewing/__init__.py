"""What the viewers draw: volumes, masks, meshes and shapes between time points, made from the research zone alone."""
