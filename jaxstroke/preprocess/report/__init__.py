"""Reports of an image as text: what a mask shows, and the generators that put it into words."""
