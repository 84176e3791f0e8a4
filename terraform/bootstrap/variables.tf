variable "environment" {
  description = "The environment's name."
  type        = string
}

variable "management_account_id" {
  description = "The account this runs in, 12 digits."
  type        = string
}

variable "account_ids" {
  description = "Every account that stacks are deployed to."
  type        = list(string)
}

variable "state_bucket" {
  description = "Name of the bucket of Terraform's state."
  type        = string
}

variable "state_region" {
  description = "Region of that bucket."
  type        = string
}

variable "state_kms_alias" {
  description = "Alias of the key that encrypts state: alias/..."
  type        = string
}

variable "deploy_role" {
  description = "Name of the role that plans and applies assume in each account."
  type        = string
}

variable "shared_account_id" {
  description = "The account of images, 12 digits."
  type        = string
}

variable "edge_account_id" {
  description = "The account that signs releases, 12 digits."
  type        = string
}

variable "ci_repository" {
  description = "The repository whose pipelines may deploy, owner/name; empty: no pipeline may."
  type        = string
  default     = ""
}

variable "bootstrap_role_arn" {
  description = "Role to assume in the management account; empty: the credentials at hand are used as they are."
  type        = string
  default     = ""
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
