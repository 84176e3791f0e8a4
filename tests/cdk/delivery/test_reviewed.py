"""An apply after a merge does what reviewers saw, and no more."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import plan_examples as build
import pytest
from infra_plans import gone, local_environment, plan_of, session_of
from plan_examples import plan

from cdk.delivery.approval import ApprovalError
from cdk.delivery.planning import Session
from cdk.delivery.reviewed import require_reviewed


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_of(tmp_path, local_environment(date(2026, 11, 30)))


def test_the_same_plan_passes_and_so_does_one_that_does_less(session: Session) -> None:
    seen = plan_of(session, metadata=plan(build.database()), cluster=plan(build.cluster()))
    require_reviewed(seen, seen)
    require_reviewed(plan_of(session, metadata=plan(build.database()), cluster=plan()), seen)


def test_what_nobody_saw_is_refused(session: Session) -> None:
    seen = plan_of(session, metadata=plan(build.database()), cluster=plan())
    more = plan_of(session, metadata=plan(build.database()), cluster=plan(gone("aws_eks_cluster", "cluster")))
    with pytest.raises(ApprovalError, match=r"cluster, aws_eks_cluster\.cluster: delete, which was not approved"):
        require_reviewed(more, seen)
    other = plan_of(session, metadata=plan(build.database(publicly_accessible=True)), cluster=plan())
    with pytest.raises(ApprovalError, match="'publicly_accessible' is another value"):
        require_reviewed(other, seen)
    new = plan_of(session, metadata=plan(build.database()), cluster=plan(), edge=plan(build.cluster()))
    with pytest.raises(ApprovalError, match="edge: a stack that the reviewed plan does not have"):
        require_reviewed(new, seen)


def test_a_plan_to_take_away_is_not_what_a_plan_to_make_was(session: Session) -> None:
    seen = plan_of(session, metadata=plan(build.database()))
    with pytest.raises(ApprovalError, match="of another environment or purpose"):
        require_reviewed(plan_of(session, destroy=True, metadata=plan(build.database())), seen)
