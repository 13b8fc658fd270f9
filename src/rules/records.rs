//! One pass over a block that comes with a table of its lines: joined, unwrapped, decoded, or from the journal.
//!
//! The filter walks the whole block, as ever, and its places are met by a cursor that moves through the table; what
//! stands between two records belongs to none. A record may hold newlines, so the search that wide rules share, which
//! keeps within lines, is of no use here: they are asked on each record. The surprise: nothing in here looks for a
//! newline.

use super::confirm::Pool;
use super::engine::{Engine, Owner};
use super::filter::Place;
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
    pub(super) fn scan(desk: Desk<'a>, engine: &'a mut Engine) {
        let (bytes, table) = (desk.block.bytes, desk.block.records);
        let mut pass = Records { desk, wide: engine.wide.as_deref(), table, at: 0 };
        let (owners, pool) = (&mut engine.owners, &mut engine.pool);
        engine.filter.each(bytes, |place| pass.point(place, &mut owners[place.owner as usize], pool));
        while let Some(record) = pass.table.get(pass.at) {
            pass.leave(record);
            if pass.wide.is_none() {
                // no rule is put down for any that follows
                break;
            }
        }
        pass.desk.close_groups();
    }

    /// A rule's literal stands here, or seems to.
    fn point(&mut self, place: Place, owner: &mut Owner, pool: &mut Pool) {
        while let Some(record) = self.table.get(self.at) {
            let (start, end) = (record.start as usize, record.end as usize);
            if place.inside < start {
                return;
            }
            if place.inside < end {
                // what begins before the record is no literal
                let at = place.start.and_then(|s| s.checked_sub(start));
                if let (Some(at), Some(text)) = (at, self.desk.block.bytes.get(start..end)) {
                    self.desk.point(owner, pool, text, at);
                }
                return;
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
            self.desk.judge(text, record.start as usize, self.at == 0, Some(record));
        }
        // also where every place was refused: what was remembered of them is of this record
        self.desk.turn();
        self.at += 1;
    }
}
