# Guardrails. Each denies to everybody in an account, its administrators included, what would take away evidence, open data
# to the world or let money run where nobody looks.

locals {
  # Services that have no region, or answer from one alone.
  global_services = [
    "iam:*", "organizations:*", "sts:*", "support:*", "budgets:*", "ce:*", "cur:*", "route53:*", "cloudfront:*",
    "health:*", "account:*", "pricing:*", "savingsplans:*", "s3:GetAccountPublic*", "s3:ListAllMyBuckets",
    "s3:PutAccountPublic*", "trustedadvisor:*", "waf:*", "shield:*",
  ]

  guardrails = {
    regions = {
      Sid       = "OnlyOurRegions"
      Effect    = "Deny"
      NotAction = local.global_services
      Resource  = "*"
      Condition = { StringNotEquals = { "aws:RequestedRegion" = var.allowed_regions } }
    }
    evidence = {
      Sid    = "EvidenceStays"
      Effect = "Deny"
      Action = [
        "cloudtrail:StopLogging", "cloudtrail:DeleteTrail", "cloudtrail:UpdateTrail", "cloudtrail:PutEventSelectors",
        "config:StopConfigurationRecorder", "config:DeleteConfigurationRecorder", "config:DeleteDeliveryChannel",
        "guardduty:DeleteDetector", "guardduty:DisassociateFromMasterAccount", "guardduty:UpdateDetector",
        "ec2:DeleteFlowLogs",
      ]
      Resource  = "*"
      Condition = { ArnNotLike = { "aws:PrincipalArn" = ["arn:aws:iam::*:role/${var.deploy_role}"] } }
    }
    privacy = {
      Sid       = "NothingPublic"
      Effect    = "Deny"
      Action    = ["s3:PutAccountPublicAccessBlock", "s3:PutBucketPublicAccessBlock", "ec2:DisableEbsEncryptionByDefault"]
      Resource  = "*"
      Condition = { ArnNotLike = { "aws:PrincipalArn" = ["arn:aws:iam::*:role/${var.deploy_role}"] } }
    }
    releases = {
      Sid      = "ReleasesStayLocked"
      Effect   = "Deny"
      Action   = ["s3:BypassGovernanceRetention", "s3:PutBucketObjectLockConfiguration"]
      Resource = "*"
      Condition = {
        ArnNotLike = { "aws:PrincipalArn" = ["arn:aws:iam::*:role/${var.deploy_role}"] }
      }
    }
    root = {
      Sid       = "NobodyIsRoot"
      Effect    = "Deny"
      Action    = "*"
      Resource  = "*"
      Condition = { StringLike = { "aws:PrincipalArn" = ["arn:aws:iam::*:root"] } }
    }
    leaving = {
      Sid      = "AccountsStay"
      Effect   = "Deny"
      Action   = ["organizations:LeaveOrganization", "account:CloseAccount"]
      Resource = "*"
    }
    metadata = {
      Sid       = "InstancesTakeSessionsOnly"
      Effect    = "Deny"
      Action    = "ec2:RunInstances"
      Resource  = "arn:aws:ec2:*:*:instance/*"
      Condition = { StringNotEquals = { "ec2:MetadataHttpTokens" = "required" } }
    }
  }
}

# AWS attaches at most five such policies to a unit, its own FullAWSAccess among them, so ours are two.
resource "aws_organizations_policy" "guardrails" {
  for_each    = { first = ["regions", "evidence", "privacy"], second = ["releases", "root", "leaving", "metadata"] }
  name        = "drivetrain-${var.environment}-guardrails-${each.key}"
  description = join(", ", [for name in each.value : local.guardrails[name].Sid])
  type        = "SERVICE_CONTROL_POLICY"
  content     = jsonencode({ Version = "2012-10-17", Statement = [for name in each.value : local.guardrails[name]] })
}

resource "aws_organizations_policy_attachment" "guardrails" {
  for_each = {
    for pair in setproduct(["first", "second"], ["infrastructure", "workloads"]) : join("-", pair) => pair
  }
  policy_id = aws_organizations_policy.guardrails[each.value[0]].id
  target_id = aws_organizations_organizational_unit.this[each.value[1]].id
}
