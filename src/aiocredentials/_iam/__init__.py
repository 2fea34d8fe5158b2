"""The parts of `aiocredentials.iam` that users don't import."""
