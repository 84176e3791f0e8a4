"""Rules by what they are about; `policies.catalogue` names them all. Pure; standard library alone."""
