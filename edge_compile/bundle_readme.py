"""The README of a bundle: what it is, and how an integrator verifies it. Pure."""

from __future__ import annotations

from string import Template

from platform_lib.evidence import CompiledPrecision, CompileReport, GateReport
from platform_lib.handoff.model import Header


def readme(
    header: Header, compiled: CompileReport, chosen: CompiledPrecision, gates: GateReport, *, key_id: str
) -> bytes:
    """Return ``README.txt``."""
    open_gates = "".join(
        f"\n  {item.gate}: {item.title}: {item.reason}" for item in gates.gates if item.status != "pass"
    )
    text = _README.substitute(
        package_id=header.package_id,
        soc=compiled.target,
        architecture=compiled.architecture,
        precision=chosen.precision,
        state=header.state,
        blocking=f"What keeps it from approval:{open_gates}\n" if open_gates else "",
        key_id=key_id,
    )
    return text.encode()


_README = Template(
    """\
$package_id

A planner compiled for $soc ($architecture), $precision. State: $state. Signed is not approved.
$blocking
Read manifest.json first: it names every file, every figure and everything that is not known.

HOW TO VERIFY (offline; nothing here is fetched)

1. Get the signer's public key from the signer, by a way other than this bundle. Its id, `sha256sum KEY.pem`, has to be
     $key_id
   The file public-key.pem in this bundle is for comparison only: whoever could change the bundle could change it too.

2. With drivetrain (its base installation is enough):
     drivetrain verify BUNDLE --public-key KEY.pem
   It checks every file, the signature, that nothing was added, and that manifest.json says what the evidence says.

3. Or with model-signing 1.1 alone (the signature and the files, not the manifest's claims):
     model_signing verify key BUNDLE --signature BUNDLE/bundle.sig --public_key KEY.pem --no-ignore-git-paths
   Keep --no-ignore-git-paths: without it an added .gitignore would verify as good. Empty folders go unnoticed.

WHAT IS IN IT

  manifest.json   the handoff manifest                model/          the float model, ONNX
  bom.cdx.json    CycloneDX 1.6 bill of materials     compiled/       quantized ONNX, encodings, what the target loads
  bundle.sig      signature over all other files      inputs/         frozen inputs with the float model's outputs
  public-key.pem  the signer's public key             evidence/       evaluations, compile report, gates, manifests

No library of the chip's vendor is in this bundle: its licence allows none. Install the vendor's runtime on the target
yourself, in the version that manifest.json names. That runtime checks no integrity: compare the digest of each file in
compiled/ with manifest.json before every load.
"""
)
