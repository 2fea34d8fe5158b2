"""The parts of `aiocredentials.rotation` that users don't import."""
