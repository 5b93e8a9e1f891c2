"""Hours of beats and faults in virtual time: the real core against a model of Cloudflare and the network."""
