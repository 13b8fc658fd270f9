//! How a stage's state is kept: rows of a name and a JSON text.
//!
//! The store writes them without looking inside, in the same transaction as positions and outbox. A stage marks what
//! it changed and hands over only that.

use serde::{Deserialize, Serialize};

/// One row of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRow {
    /// Name, unique; its first part says whose it is: `judge/rule/NAME`, `pace/SPACE`, `trouble/SPACE`.
    pub name: String,
    /// JSON, or `None` to take the row away.
    pub value: Option<String>,
}
