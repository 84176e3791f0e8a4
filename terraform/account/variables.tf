variable "environment" {
  description = "The environment's name."
  type        = string
}

variable "account_id" {
  description = "This account, 12 digits."
  type        = string
}

variable "management_account_id" {
  description = "The account whose people and pipelines may deploy here."
  type        = string
}

variable "region" {
  description = "Region of the calls; what is made here has none."
  type        = string
}

variable "deploy_role" {
  description = "Name of the role that plans and applies assume."
  type        = string
}

variable "trusted_role_patterns" {
  description = "Patterns of ARNs in the management account that may assume it: people who deploy, drivetrain-ci-apply."
  type        = list(string)
}

variable "reader_role_patterns" {
  description = "Patterns of ARNs in the management account that may assume the role that reads: drivetrain-ci-plan."
  type        = list(string)
}

variable "state_bucket" {
  description = "In the management account the bucket of Terraform's state, which the role that reads may read; elsewhere empty."
  type        = string
  default     = ""
}

variable "state_kms_alias" {
  description = "Alias of the key that encrypts it: alias/..."
  type        = string
  default     = "alias/drivetrain-state"
}

variable "access_role" {
  description = "The role that the organization made in this account; empty in the management account, which has none."
  type        = string
  default     = "OrganizationAccountAccessRole"
}

variable "emulated" {
  description = "Whether AWS is an emulator."
  type        = bool
  default     = false
}

variable "owner" {
  description = "Tag: who answers for it."
  type        = string
}

variable "cost_center" {
  description = "Tag: who pays."
  type        = string
}
