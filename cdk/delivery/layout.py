"""Where an environment's synthesis, plans, approvals and journals lie in the home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from platform_lib.home import Home


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of one environment.

    Attributes:
        home: Whose.
        environment: The environment's name.
    """

    home: Home
    environment: str

    @property
    def root(self) -> Path:
        """Everything of this environment."""
        return self.home.root / "infra" / self.environment

    @property
    def synthesis(self) -> Path:
        """Terraform JSON, a folder a stack, and the wiring."""
        return self.root / "synthesis"

    @property
    def node_pools(self) -> Path:
        """Karpenter's node pools, a folder a region, for the cost: no plan knows them."""
        return self.root / "node_pools"

    @property
    def plan(self) -> Path:
        """The plan that policy, danger and cost read, and that an approval names."""
        return self.root / "plan.json"

    @property
    def page_markdown(self) -> Path:
        """The page about the plan, for a pull request."""
        return self.root / "page.md"

    @property
    def page_html(self) -> Path:
        """The page about the plan, for a browser; one file."""
        return self.root / "page.html"

    @property
    def scans(self) -> Path:
        """What checkov found in each stack's plan."""
        return self.root / "scans"

    @property
    def approval(self) -> Path:
        """Who approved which plan."""
        return self.root / "approval.json"

    @property
    def applied(self) -> Path:
        """The digest of the plan that was applied last, to its end."""
        return self.root / "applied.txt"

    @property
    def journal(self) -> Path:
        """What an apply has done so far."""
        return self.root / "journal.jsonl"

    def work(self, stack: str) -> Path:
        """Return a stack's working folder, where Terraform runs."""
        return self.root / "work" / stack
