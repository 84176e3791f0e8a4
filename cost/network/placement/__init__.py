"""Which zone each part of a system should run in, so that few bytes cross zones: the problem, its solver, its checker."""
