# One account: the role that plans and applies assume, and the boundary that no role made by it can exceed.
# Applied once in each account, through the role that the organization made there.

terraform {
  required_version = ">= 1.10.0"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100.0"
    }
  }
}

provider "aws" {
  region                      = var.region
  allowed_account_ids         = [var.account_id]
  skip_credentials_validation = var.emulated
  skip_metadata_api_check     = var.emulated
  skip_region_validation      = var.emulated
  max_retries                 = var.emulated ? 2 : 25

  # The organization made no such role in the management account: there the credentials at hand are used as they are.
  dynamic "assume_role" {
    for_each = var.access_role == "" ? [] : [var.access_role]
    content {
      role_arn     = "arn:aws:iam::${var.account_id}:role/${assume_role.value}"
      session_name = "drivetrain-account"
    }
  }

  default_tags {
    tags = {
      "drivetrain:environment" = var.environment
      "drivetrain:stack"       = "account"
      "drivetrain:owner"       = var.owner
      "drivetrain:cost-center" = var.cost_center
    }
  }
}

# Nothing that Drivetrain makes may give itself more than this, whatever its own policy says.
data "aws_iam_policy_document" "boundary" {
  statement {
    sid    = "EverythingButIdentity"
    effect = "Allow"
    not_actions = [
      "iam:*", "organizations:*", "account:*", "aws-portal:*", "billing:*", "sso:*",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "LookAndPass"
    effect    = "Allow"
    actions   = ["iam:Get*", "iam:List*", "iam:PassRole", "iam:CreateServiceLinkedRole"]
    resources = ["*"]
  }

  statement {
    sid       = "EvidenceStays"
    effect    = "Deny"
    actions   = ["cloudtrail:StopLogging", "cloudtrail:DeleteTrail", "guardduty:DeleteDetector", "config:Delete*", "config:Stop*"]
    resources = ["*"]
  }
}

resource "aws_iam_policy" "boundary" {
  name        = "drivetrain-boundary"
  description = "The most that any role Drivetrain makes may do"
  policy      = data.aws_iam_policy_document.boundary.json
}

data "aws_iam_policy_document" "trust" {
  statement {
    sid     = "PeopleAndPipelinesOfManagement"
    actions = ["sts:AssumeRole", "sts:TagSession"]
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${var.management_account_id}:root"]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:PrincipalArn"
      values   = var.trusted_role_patterns
    }
  }
}

resource "aws_iam_role" "deploy" {
  name                 = var.deploy_role
  description          = "Plans and applies the stacks of ${var.environment}"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  max_session_duration = 7200
}

# Terraform makes roles, keys and networks, so it needs much; what it may not do is stop evidence or leave the boundary off.
data "aws_iam_policy_document" "deploy" {
  statement {
    sid         = "MakeInfrastructure"
    effect      = "Allow"
    not_actions = ["organizations:*", "account:*", "iam:CreateUser", "iam:CreateAccessKey", "iam:CreateLoginProfile"]
    resources   = ["*"]
  }

  statement {
    sid       = "RolesKeepTheBoundary"
    effect    = "Deny"
    actions   = ["iam:CreateRole", "iam:PutRolePermissionsBoundary"]
    resources = ["*"]
    condition {
      test     = "StringNotEquals"
      variable = "iam:PermissionsBoundary"
      values   = [aws_iam_policy.boundary.arn]
    }
  }

  statement {
    sid     = "BoundaryStays"
    effect  = "Deny"
    actions = ["iam:DeleteRolePermissionsBoundary", "iam:DeletePolicy", "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion"]
    resources = [
      aws_iam_policy.boundary.arn,
      "arn:aws:iam::${var.account_id}:role/*",
    ]
  }
}

resource "aws_iam_role_policy" "deploy" {
  name   = "deploy"
  role   = aws_iam_role.deploy.name
  policy = data.aws_iam_policy_document.deploy.json
}
