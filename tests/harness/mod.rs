//! What tests of the whole program share.
pub(crate) mod fake_chat;
pub(crate) mod program;
