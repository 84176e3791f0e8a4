"""What is installed, what is missing, what each missing part would disable, and how to mend it."""
