//! What tests of the whole program share.
pub(crate) mod counted;
pub(crate) mod dice;
pub(crate) mod disk;
pub(crate) mod fake_chat;
pub(crate) mod power;
pub(crate) mod program;
pub(crate) mod wire;
