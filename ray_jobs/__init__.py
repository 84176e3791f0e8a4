"""What runs on Ray, one file a job; jobs meet each other through files and the catalogue only."""
