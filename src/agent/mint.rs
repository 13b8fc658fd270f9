//! The one place where a message becomes a row: drawn for its surface, and given its identity for ever.
//!
//! `send` mints by the same hand as the desk, so that a test message proves what an alert would look like on the wire.

use std::sync::Arc;

use crate::chat::{self, Surface};
use crate::message::{Message, OutboxRow, RowId};
use crate::time::Now;

/// A new row for `draft`, never tried, due at once. A console's body is what the terminal prints.
pub(crate) fn row(draft: Arc<Message>, console: bool, surface: Surface, now: Now) -> OutboxRow {
    let body = if console { chat::draw(&draft, false) } else { chat::render(&draft, surface) };
    OutboxRow {
        id: RowId::from_random(random_id()),
        space: draft.space.clone(),
        message: draft.no,
        severity: draft.severity,
        body: body.into(),
        draft,
        plain: surface == Surface::Plain,
        born: now.wall,
        tries: 0,
        due: now.tick,
        last_error: None,
    }
}

/// 64 random bits from the kernel, for jitter.
pub(super) fn random_u64() -> u64 {
    let id = random_id();
    u64::from_le_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]])
}

/// 16 random bytes from the kernel.
fn random_id() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("getrandom(2) does not fail on Linux once the pool is ready");
    bytes
}
