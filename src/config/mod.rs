//! From rules.toml to settings.
