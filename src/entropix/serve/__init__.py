"""An OpenAI-compatible HTTP server over the one decoding loop. Needs the extra `serve`."""
