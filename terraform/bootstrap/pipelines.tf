# Pipelines identify themselves by OIDC: no key of AWS lies in the repository's settings. Two roles: whoever opens a pull
# request can plan, which reads; only the main branch's protected environment can apply.

locals {
  with_pipelines = var.ci_repository != ""
  pipelines = local.with_pipelines ? {
    plan  = ["repo:${var.ci_repository}:pull_request", "repo:${var.ci_repository}:ref:refs/heads/main"]
    apply = ["repo:${var.ci_repository}:environment:${var.environment}"]
  } : {}
}

resource "aws_iam_openid_connect_provider" "ci" {
  count          = local.with_pipelines ? 1 : 0
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
  # AWS checks this issuer by its own list of authorities and does not look at the thumbprint; the argument wants one.
  thumbprint_list = ["ffffffffffffffffffffffffffffffffffffffff"]
}

data "aws_iam_policy_document" "ci_trust" {
  for_each = local.pipelines

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
      values   = each.value
    }
  }
}

resource "aws_iam_role" "ci" {
  for_each             = local.pipelines
  name                 = "drivetrain-ci-${each.key}"
  description          = "Pipelines that ${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.ci_trust[each.key].json
  max_session_duration = 7200
}

data "aws_iam_policy_document" "ci" {
  for_each = local.pipelines

  statement {
    sid       = "AssumeInAccounts"
    actions   = ["sts:AssumeRole"]
    resources = [for id in var.account_ids : "arn:aws:iam::${id}:role/${each.key == "apply" ? var.deploy_role : "${var.deploy_role}-read"}"]
  }

  statement {
    sid       = "ReadState"
    actions   = ["s3:GetObject", "s3:ListBucket"]
    resources = [aws_s3_bucket.state.arn, "${aws_s3_bucket.state.arn}/${var.environment}/*"]
  }

  dynamic "statement" {
    for_each = each.key == "apply" ? [1] : []
    content {
      sid       = "WriteState"
      actions   = ["s3:PutObject", "s3:DeleteObject"]
      resources = ["${aws_s3_bucket.state.arn}/${var.environment}/*"]
    }
  }

  statement {
    sid       = "StateKey"
    actions   = each.key == "apply" ? ["kms:Decrypt", "kms:GenerateDataKey"] : ["kms:Decrypt"]
    resources = [aws_kms_key.state.arn]
  }
}

resource "aws_iam_role_policy" "ci" {
  for_each = local.pipelines
  name     = each.key
  role     = aws_iam_role.ci[each.key].name
  policy   = data.aws_iam_policy_document.ci[each.key].json
}
