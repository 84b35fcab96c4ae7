"""Everything that is generated from the models: the CRDs and the roles that the operator runs under.

`python -m looparr.manifests` writes them, `--check` fails when they are not what the models say. Nothing is written
by hand twice.
"""

from looparr.manifests.crd import crds
from looparr.manifests.files import crds_yaml
from looparr.manifests.rbac import rbac, rules

__all__ = ["crds", "crds_yaml", "rbac", "rules"]
