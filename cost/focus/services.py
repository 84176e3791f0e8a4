"""FOCUS's names of AWS's services. Pure.

Source: the closed lists of ServiceCategory and ServiceSubcategory of FOCUS 1.2, focus.finops.org.
"""

from __future__ import annotations

CATEGORIES = frozenset(
    {
        "AI and Machine Learning",
        "Analytics",
        "Business Applications",
        "Compute",
        "Databases",
        "Developer Tools",
        "Identity",
        "Integration",
        "Internet of Things",
        "Management and Governance",
        "Media",
        "Migration",
        "Mobile",
        "Multicloud",
        "Networking",
        "Other",
        "Security",
        "Storage",
        "Web",
    }
)
SERVICES: dict[str, tuple[str, str, str]] = {
    "AmazonEC2": ("Amazon Elastic Compute Cloud", "Compute", "Virtual Machines"),
    "AmazonEKS": ("Amazon Elastic Kubernetes Service", "Compute", "Containers"),
    "AmazonECR": ("Amazon Elastic Container Registry", "Compute", "Containers"),
    "AmazonS3": ("Amazon Simple Storage Service", "Storage", "Object Storage"),
    "AmazonVPC": ("Amazon Virtual Private Cloud", "Networking", "Network Infrastructure"),
    "AmazonRDS": ("Amazon Relational Database Service", "Databases", "Relational Databases"),
    "awskms": ("AWS Key Management Service", "Security", "Secret Management"),
    "AWSSecretsManager": ("AWS Secrets Manager", "Security", "Secret Management"),
    "AmazonCloudWatch": ("Amazon CloudWatch", "Management and Governance", "Observability"),
    "AWSConfig": ("AWS Config", "Management and Governance", "Compliance"),
    "AWSQueueService": ("Amazon Simple Queue Service", "Integration", "Messaging"),
}
"""By AWS's code: ServiceName, ServiceCategory, ServiceSubcategory."""
