"""What infrastructure must keep to: rules on Terraform plans, and admission policies for the clusters."""
