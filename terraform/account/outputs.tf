output "deploy_role_arn" {
  description = "What plans and applies assume."
  value       = aws_iam_role.deploy.arn
}

output "boundary_arn" {
  description = "The permissions boundary of every role made here."
  value       = aws_iam_policy.boundary.arn
}

output "read_role_arn" {
  description = "What plans of pull requests assume."
  value       = aws_iam_role.read.arn
}
