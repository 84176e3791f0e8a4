"""The door to a board: a kit goes there, its answers come back signed, and the rung ``target->device`` is judged."""
