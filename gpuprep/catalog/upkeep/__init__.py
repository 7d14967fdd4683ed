"""Keep the catalog current: read NVIDIA's lists, propose changes, warn of age."""
