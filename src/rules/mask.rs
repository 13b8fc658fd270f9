//! x
/// x
pub fn kind(_line: &[u8]) -> String { String::new() }
