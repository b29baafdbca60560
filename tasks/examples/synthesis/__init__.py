"""Small pictures of coloured shapes in several styles: the example of family `diffusion`."""
