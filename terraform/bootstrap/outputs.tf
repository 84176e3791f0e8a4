output "state_bucket" {
  description = "Where state lies."
  value       = aws_s3_bucket.state.bucket
}

output "state_key_arn" {
  description = "The key that encrypts it."
  value       = aws_kms_key.state.arn
}
