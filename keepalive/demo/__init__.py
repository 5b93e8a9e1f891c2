"""The demo: a local Cloudflare, the real daemon against it, and a naive loop beside it."""
