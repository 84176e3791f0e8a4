# Pipelines identify themselves by OIDC: no key of AWS lies in the repository's settings. One role for each workflow, which
# may assume one kind of role in the accounts and nothing else:
#   plan     whoever opens a pull request, and the main branch by night: the roles that read
#   apply    the main branch's protected environment: the roles that deploy
#   images   the main branch: pushes and signs images
#   scan     the main branch: reads what scans of images found
#   release  a protected environment of its own: signs and publishes releases
# Pull requests of forks get no identity from GitHub, and a protected environment says which branches may use it.

locals {
  with_pipelines = var.ci_repository != ""
  main_branch    = "repo:${var.ci_repository}:ref:refs/heads/main"
  shared_role    = "arn:aws:iam::${var.shared_account_id}:role/drivetrain-${var.environment}"

  pipelines = {
    plan = {
      subjects = ["repo:${var.ci_repository}:pull_request", local.main_branch]
      roles    = [for id in var.account_ids : "arn:aws:iam::${id}:role/${var.deploy_role}-read"]
    }
    apply = {
      subjects = ["repo:${var.ci_repository}:environment:${var.environment}"]
      roles    = [for id in var.account_ids : "arn:aws:iam::${id}:role/${var.deploy_role}"]
    }
    images = {
      subjects = [local.main_branch]
      roles    = ["${local.shared_role}-ci-images"]
    }
    scan = {
      subjects = [local.main_branch]
      roles    = ["${local.shared_role}-ci-scan"]
    }
    release = {
      subjects = ["repo:${var.ci_repository}:environment:${var.environment}-release"]
      roles    = ["arn:aws:iam::${var.edge_account_id}:role/drivetrain-${var.environment}-edge-release"]
    }
  }
  made = local.with_pipelines ? local.pipelines : {}
}

resource "aws_iam_openid_connect_provider" "ci" {
  count          = local.with_pipelines ? 1 : 0
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
  # AWS checks this issuer by its own list of authorities and does not look at the thumbprint; the argument wants one.
  thumbprint_list = ["ffffffffffffffffffffffffffffffffffffffff"]
}

data "aws_iam_policy_document" "ci_trust" {
  for_each = local.made

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.ci[0].arn]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = each.value.subjects
    }
  }
}

resource "aws_iam_role" "ci" {
  for_each             = local.made
  name                 = "drivetrain-ci-${each.key}"
  description          = "Pipelines that ${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.ci_trust[each.key].json
  max_session_duration = 7200
}

# State is read and written by the roles that these assume, in the management account too.
data "aws_iam_policy_document" "ci" {
  for_each = local.made

  statement {
    sid       = "AssumeOneKindOfRole"
    actions   = ["sts:AssumeRole", "sts:TagSession"]
    resources = each.value.roles
  }
}

resource "aws_iam_role_policy" "ci" {
  for_each = local.made
  name     = each.key
  role     = aws_iam_role.ci[each.key].name
  policy   = data.aws_iam_policy_document.ci[each.key].json
}
