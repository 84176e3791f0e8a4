# The organization: units, one account for each purpose, and guardrails that no account's own administrator can lift.
# Applied once, with the management account's own credentials.

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
  region                      = "us-east-1" # Organizations is answered from here alone
  skip_credentials_validation = var.emulated
  skip_metadata_api_check     = var.emulated
  skip_region_validation      = var.emulated
  max_retries                 = var.emulated ? 2 : 25

  dynamic "assume_role" {
    for_each = var.management_role_arn == "" ? [] : [var.management_role_arn]
    content {
      role_arn     = assume_role.value
      session_name = "drivetrain-organization"
    }
  }

  default_tags {
    tags = {
      "drivetrain:stack"       = "organization"
      "drivetrain:owner"       = var.owner
      "drivetrain:cost-center" = var.cost_center
    }
  }
}

resource "aws_organizations_organization" "this" {
  feature_set = "ALL"
  aws_service_access_principals = [
    "cloudtrail.amazonaws.com",
    "config.amazonaws.com",
    "guardduty.amazonaws.com",
    "backup.amazonaws.com",
    "ram.amazonaws.com",
  ]
  enabled_policy_types = ["SERVICE_CONTROL_POLICY", "TAG_POLICY", "BACKUP_POLICY"]

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_organizations_organizational_unit" "this" {
  for_each  = toset(["infrastructure", "workloads"])
  name      = each.value
  parent_id = aws_organizations_organization.this.roots[0].id
}

resource "aws_organizations_account" "this" {
  for_each  = var.accounts
  name      = "drivetrain-${var.environment}-${each.key}"
  email     = each.value.email
  parent_id = aws_organizations_organizational_unit.this[each.value.unit].id
  role_name = var.access_role

  # An account that is closed cannot be opened again under its address.
  close_on_deletion = false
  lifecycle {
    prevent_destroy = true
    ignore_changes  = [role_name, email]
  }
}
