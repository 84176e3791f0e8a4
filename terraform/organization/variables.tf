variable "environment" {
  description = "Part of the accounts' names."
  type        = string
}

variable "accounts" {
  description = "Accounts to make, by purpose: network, shared, data, ml, edge."
  type = map(object({
    email = string
    unit  = string
  }))

  validation {
    condition     = alltrue([for item in values(var.accounts) : contains(["infrastructure", "workloads"], item.unit)])
    error_message = "unit is infrastructure or workloads."
  }
}

variable "allowed_regions" {
  description = "Regions in which anything may be made."
  type        = list(string)

  validation {
    condition     = length(var.allowed_regions) > 0
    error_message = "name at least one region, or nothing can be made anywhere."
  }
}

variable "access_role" {
  description = "Role that the management account can assume in each new account."
  type        = string
  default     = "OrganizationAccountAccessRole"
}

variable "deploy_role" {
  description = "The role that Terraform assumes in each account; the one that may change guardrailed things."
  type        = string
  default     = "drivetrain-deploy"
}

variable "management_role_arn" {
  description = "Role to assume in the management account; empty: the credentials at hand."
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
