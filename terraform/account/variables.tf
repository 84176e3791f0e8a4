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
  description = "Patterns of ARNs in the management account that may assume it."
  type        = list(string)
}

variable "access_role" {
  description = "The role that the organization made in this account."
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
