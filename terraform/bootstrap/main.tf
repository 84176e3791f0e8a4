# What must exist before anything else: where state lies, its key, and who may deploy. Applied once for each environment,
# in the management account, with state on disk, where it stays.

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
  region              = var.state_region
  allowed_account_ids = [var.management_account_id]

  dynamic "assume_role" {
    for_each = var.bootstrap_role_arn == "" ? [] : [var.bootstrap_role_arn]
    content {
      role_arn     = assume_role.value
      session_name = "drivetrain-bootstrap"
    }
  }

  # An emulator has no accounts of its own to check against, and answers what it does not know with server errors.
  skip_credentials_validation = var.emulated
  skip_metadata_api_check     = var.emulated
  skip_region_validation      = var.emulated
  s3_use_path_style           = var.emulated
  max_retries                 = var.emulated ? 2 : 25

  default_tags {
    tags = {
      "drivetrain:environment" = var.environment
      "drivetrain:stack"       = "bootstrap"
      "drivetrain:owner"       = var.owner
      "drivetrain:cost-center" = var.cost_center
    }
  }
}
