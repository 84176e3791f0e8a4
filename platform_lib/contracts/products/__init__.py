"""The contracts of the data products that come with the platform, one ODCS file each."""
