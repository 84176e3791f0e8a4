output "account_ids" {
  description = "For `accounts` in the environment's file."
  value       = { for purpose, account in aws_organizations_account.this : purpose => account.id }
}
