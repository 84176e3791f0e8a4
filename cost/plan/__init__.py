"""What a Terraform plan costs a month: now, as desired, at most."""
