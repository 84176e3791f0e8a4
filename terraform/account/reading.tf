# The role of plans that nobody has reviewed yet: a pull request's code runs with it. It reads how things are configured and
# changes nothing; what the things hold (drives, secrets, images, log lines) it does not read either.

locals {
  configuration_of = [
    "backup:Describe*", "backup:Get*", "backup:List*",
    "budgets:DescribeBudget*", "budgets:ListTagsForResource", "budgets:ViewBudget",
    "ce:Describe*", "ce:GetAnomaly*", "ce:List*",
    "cloudtrail:Describe*", "cloudtrail:Get*", "cloudtrail:List*",
    "cloudwatch:Describe*", "cloudwatch:ListTagsForResource",
    "config:Describe*", "config:List*",
    "ec2:Describe*", "ec2:GetEbs*",
    "ecr:Describe*", "ecr:GetLifecyclePolicy", "ecr:GetRegistryPolicy", "ecr:GetRepositoryPolicy", "ecr:ListTagsForResource",
    "eks:Describe*", "eks:List*",
    "events:Describe*", "events:List*",
    "guardduty:Get*", "guardduty:List*",
    "iam:Get*", "iam:List*",
    "kms:Describe*", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:List*",
    "logs:Describe*", "logs:ListTags*",
    "rds:Describe*", "rds:List*",
    "s3:GetAccountPublicAccessBlock", "s3:GetAccelerateConfiguration", "s3:GetAnalyticsConfiguration", "s3:GetBucket*",
    "s3:GetEncryptionConfiguration", "s3:GetIntelligentTieringConfiguration", "s3:GetInventoryConfiguration",
    "s3:GetLifecycleConfiguration", "s3:GetMetricsConfiguration", "s3:GetReplicationConfiguration", "s3:ListBucket",
    "s3:ListTagsForResource",
    "secretsmanager:Describe*", "secretsmanager:GetResourcePolicy",
    "sns:Get*", "sns:List*",
    "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags",
  ]
  reads_state = var.state_bucket != ""
}

data "aws_iam_policy_document" "read_trust" {
  statement {
    sid     = "PipelinesOfPullRequests"
    actions = ["sts:AssumeRole", "sts:TagSession"]
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${var.management_account_id}:root"]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:PrincipalArn"
      values   = var.reader_role_patterns
    }
  }
}

resource "aws_iam_role" "read" {
  name                 = "${var.deploy_role}-read"
  description          = "Plans the stacks of ${var.environment}, and changes nothing"
  assume_role_policy   = data.aws_iam_policy_document.read_trust.json
  permissions_boundary = aws_iam_policy.boundary.arn
  max_session_duration = 3600
}

data "aws_iam_policy_document" "read" {
  statement {
    sid       = "HowThingsAreConfigured"
    actions   = local.configuration_of
    resources = ["*"]
  }

  dynamic "statement" {
    for_each = local.reads_state ? [1] : []
    content {
      sid       = "State"
      actions   = ["s3:GetObject"]
      resources = ["arn:aws:s3:::${var.state_bucket}/${var.environment}/*"]
    }
  }

  dynamic "statement" {
    for_each = local.reads_state ? [1] : []
    content {
      sid       = "StateKey"
      actions   = ["kms:Decrypt"]
      resources = ["arn:aws:kms:*:${var.account_id}:key/*"]
      condition {
        test     = "ForAnyValue:StringEquals"
        variable = "kms:ResourceAliases"
        values   = [var.state_kms_alias]
      }
    }
  }

  # Whatever is attached to it later: not what buckets, secrets, queues, logs and images hold.
  statement {
    sid    = "NotWhatThingsHold"
    effect = "Deny"
    actions = [
      "dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan", "ec2:GetConsole*", "ec2:GetPasswordData",
      "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "logs:FilterLogEvents", "logs:GetLogEvents", "rds-data:*",
      "secretsmanager:GetSecretValue", "sqs:ReceiveMessage", "ssm:GetParameter*",
    ]
    resources = ["*"]
  }

  statement {
    sid           = "NoObjectsButState"
    effect        = "Deny"
    actions       = ["s3:GetObject*"]
    not_resources = [local.reads_state ? "arn:aws:s3:::${var.state_bucket}/${var.environment}/*" : "arn:aws:s3:::none/*"]
  }
}

resource "aws_iam_role_policy" "read" {
  name   = "read"
  role   = aws_iam_role.read.name
  policy = data.aws_iam_policy_document.read.json
}
