"""The only place that knows Cloudflare's paths, headers and envelopes."""
