"""What a fleet needs: from throughput measured on this machine to nodes, requests, catalogue rows and dollars."""
