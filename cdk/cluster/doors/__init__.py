"""Three doors for the same objects: a folder of YAML for Argo CD, server-side apply, and a Pulumi program."""
