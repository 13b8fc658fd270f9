//! One pass over a block that comes with a table of its lines: joined, unwrapped, decoded, or from the journal.
//!
//! The filter walks the whole block, as ever, and its places are met by a cursor that moves through the table; what
//! stands between two records belongs to none. A record may hold newlines, so the search that wide rules share, which
//! keeps within lines, is of no use here: they are asked on each record. The surprise: nothing in here looks for a
//! newline.

use super::engine::Engine;
use super::pass::Desk;
use super::wide::Wide;
use crate::line::Record;

/// A pass over a block with a table.
pub(super) struct Records<'a> {
    desk: Desk<'a>,
    wide: Option<&'a Wide>,
    table: &'a [Record],
    /// The record under the cursor.
    at: usize,
}

impl<'a> Records<'a> {
    pub(super) fn scan(desk: Desk<'a>, engine: &'a Engine) {
        let (bytes, table) = (desk.block.bytes, desk.block.records);
        let mut pass = Records { desk, wide: engine.wide.as_deref(), table, at: 0 };
        engine.filter.each(bytes, |place, rule| pass.point(place, rule));
        while let Some(record) = pass.table.get(pass.at) {
            pass.leave(record);
            if pass.wide.is_none() {
                // no rule is put down for any that follows
                break;
            }
        }
    }

    /// A rule's literal stands at `place`, or seems to.
    fn point(&mut self, place: usize, rule: u32) {
        while let Some(record) = self.table.get(self.at) {
            if place < record.start as usize {
                return;
            }
            if place < record.end as usize {
                return self.desk.put_down(rule);
            }
            self.leave(record);
        }
    }

    /// Judges the record under the cursor, and moves on.
    fn leave(&mut self, record: &'a Record) {
        let text = self.desk.block.bytes.get(record.start as usize..record.end as usize);
        if self.wide.is_some() || !self.desk.is_empty() {
            let text = text.unwrap_or_default();
            if let Some(wide) = self.wide {
                self.desk.put_down_wide(wide, text);
            }
            self.desk.judge(text, self.at == 0, Some(record));
            self.desk.turn();
        }
        self.at += 1;
    }
}
