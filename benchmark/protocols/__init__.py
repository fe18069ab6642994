"""The packaged protocols, one YAML file each."""
