//! Reading the files of a source whose lines are not its records: one quantum in, whole records out.
//!
//! What is not complete waits, for its next line or for a second without one, and the position waits with it. A
//! record at the end of a log that was rotated waits for the first lines of the next generation, too: both are then
//! put together, and both positions move in the same step.

use std::sync::Arc;

use super::assemble::{At, Part};
use super::busy::Wait;
use super::decode::Script;
use super::earlier::Back;
use super::file::{Fill, Orphan};
use super::reading::{Filled, IDLE, QUANTUM, Take};
use super::tailer::Tailer;
use crate::line::{Block, BlockEnd, Record};
use crate::time::Now;

impl Tailer {
    /// Gives out the records in what was read of the file.
    pub(super) fn give_records(&mut self, no: u64, filled: Filled<'_>, now: Now, take: Take<'_>) {
        let Filled { base, data, full, script } = filled;
        let mut assembly = std::mem::take(&mut self.assembly);
        let mut side = std::mem::take(&mut self.side);
        assembly.clear();
        let before = self.unfinished_before(no, &mut side, now);
        let Some(file) = self.files.get_mut(no) else { return };
        if base != file.offset && data.first().is_some_and(|&b| b != 0) {
            file.advance(base, b""); // the NULs ended just here
        }
        let file = &self.files[no];
        let source = &self.sources[file.source];
        if let Some((old, base, script, ref range)) = before {
            let skipping = self.files[old].skipping;
            assembly.feed(Part { data: &side[range.clone()], base, script, skipping }, &source.recipe);
        }
        let own = usize::from(before.is_some());
        let lines = assembly.feed(Part { data, base, script, skipping: file.skipping }, &source.recipe);

        // Who has waited for a second without growing gets no more.
        let place = |at: At| match before {
            Some((old, base, ..)) if at.part < own => (old, base + at.byte as u64),
            _ => (no, base + at.byte as u64),
        };
        let old_waits = before.as_ref().map_or(&[][..], |b| &self.files[b.0].busy.waits);
        let known: Vec<Wait> = file.busy.waits.iter().chain(old_waits).copied().collect();
        let wait = |stream, at: At| {
            let (file, end) = place(at);
            let grown = (file, stream, end, lines.partial);
            known.iter().find(|w| w.grown == grown).copied().unwrap_or(Wait { grown, since: now.tick })
        };
        assembly.finish_if(|stream, at| wait(stream, at).since + IDLE <= now.tick);
        let (mut n, mut next) = assembly.ready();
        if full && n == 0 {
            assembly.finish_if(|_, _| true); // the window is full of it
            (n, next) = assembly.ready();
        }
        let waits: Vec<Wait> = assembly.waiting().map(|(stream, at)| wait(stream, at)).collect();

        let (spec, name) = (&source.spec, &file.name());
        // what began in the last generation has its offset there
        let handle = file.open.as_ref().filter(|_| before.is_none());
        let back = Back { handle, recipe: &source.recipe, script };
        let mut first = true;
        let (mut out_lines, mut out_bytes) = (0, 0);
        assembly.give(n, |bytes, records, fields, end, offset| {
            out_lines += records.len() as u64;
            out_bytes += bytes.len() as u64;
            take(&Block {
                source: spec.no,
                file: name,
                file_no: no,
                offset,
                bytes,
                end,
                hit_early: if std::mem::take(&mut first) { &file.busy.hit_early } else { &[] },
                read: now,
                backlog: offset < file.backlog_to,
                records,
                fields,
                earlier: Some(&back),
            });
        });

        // How far each file has come.
        let end = At { part: own, byte: lines.end };
        let upto = next.unwrap_or(end);
        let consumed = if upto.part == own { upto.byte } else { 0 };
        let skipping = lines.skipping && next.is_none();
        let held = lines.end - consumed;
        let same = consumed == 0 && lines.partial == file.busy.partial && waits == file.busy.waits;
        let idle = consumed == 0 && waits.is_empty() && lines.partial == file.busy.partial && next.is_none();
        let mut told = None;
        if idle
            && lines.partial > file.busy.idle_told
            && file.busy.idle_at.is_some_and(|at| at <= now.tick)
            && !source.recipe.unwraps()
        {
            let rest = &data[lines.end..];
            let rest = if script.is_wide() { &rest[..rest.len() & !1] } else { rest };
            let text = script.text(rest);
            let record =
                Record { end: text.len() as u32, offset: base + lines.end as u64, ..Record::default() };
            if !text.is_empty() {
                told = Some(take(&Block {
                    source: spec.no,
                    file: name,
                    file_no: no,
                    offset: record.offset,
                    bytes: &text,
                    end: BlockEnd::Idle,
                    hit_early: &file.busy.hit_early,
                    read: now,
                    backlog: record.offset < file.backlog_to,
                    records: &[record],
                    fields: &[],
                    earlier: Some(&back),
                }));
                out_bytes += text.len() as u64;
            }
        }
        self.out.lines += out_lines;
        self.out.bytes += out_bytes;

        if let Some((old, old_base, _, range)) = before {
            let bytes = &side[range];
            let done = if upto.part == own { bytes.len() } else { upto.byte };
            self.moved_on(old, old_base, &bytes[..done], now);
            if let Some(old) = self.files.get_mut(old) {
                // Its record waits in the next generation now.
                old.busy.waits.clear();
                old.busy.held.clear();
            }
        }
        let Some(file) = self.files.get_mut(no) else { return };
        let end = base + data.len() as u64;
        file.size = if full { file.size.max(end) } else { end };
        if !full {
            file.listed = end;
        }
        file.skipping = skipping;
        if !self.moved_on(no, base, &data[..consumed], now) {
            return;
        }
        let Some(file) = self.files.get_mut(no) else { return };
        file.busy.held.clear();
        if !waits.is_empty() && !skipping {
            file.busy.held.extend_from_slice(&data[consumed..consumed + held]);
        }
        if let Some(rules) = told {
            file.told_early(lines.partial, rules);
            self.changed.insert(no);
        }
        let Some(file) = self.files.get_mut(no) else { return };
        if !same {
            file.active = now.tick;
            file.busy.partial = lines.partial;
            file.busy.idle_at = (lines.partial > 0).then(|| now.tick + IDLE);
        } else if file.busy.idle_at.is_some_and(|at| at <= now.tick) && waits.is_empty() {
            file.busy.idle_at = None;
        }
        file.busy.waits = waits;
        if full && lines.nuls {
            file.note_nuls(end);
        }
        if full {
            self.enqueue(no);
        }
        self.schedule(no, now);
        self.assembly = assembly;
        self.side = side;
    }

    /// Moves the file's position behind these bytes of it.
    fn moved_on(&mut self, no: u64, base: u64, bytes: &[u8], now: Now) -> bool {
        let Some(file) = self.files.get_mut(no) else { return false };
        if bytes.is_empty() {
            return true;
        }
        file.advance(base, bytes);
        file.moved = now.wall;
        file.active = now.tick;
        self.changed.insert(no);
        if let Err(e) = file.learn_head() {
            self.unreadable(no, &e);
            return false;
        }
        true
    }

    /// The end of the last generation of a file of which nothing was read yet, if a record waits there: the file, the
    /// offset, what it is written in, and which bytes of `side` it is.
    fn unfinished_before(
        &mut self,
        no: u64,
        side: &mut Vec<u8>,
        now: Now,
    ) -> Option<(u64, u64, Script, std::ops::Range<usize>)> {
        let file = self.files.get(no)?;
        let source = &self.sources[file.source];
        if !source.recipe.joins() || !file.is_unread() {
            return None;
        }
        let encoding = source.spec.encoding.0;
        let earlier = |f: &&super::file::Tailed| {
            let was_it = if f.is_old() { f.path == file.path } else { f.was.as_ref() == Some(&file.path) };
            was_it && f.no != no && f.source == file.source && f.busy.partial == 0
        };
        // Of two old files, each is followed by the one that was rotated next.
        let before = |f: &&super::file::Tailed| !file.is_old() || f.busy.drain_order < file.busy.drain_order;
        let old = self.files.values().filter(earlier).filter(before).max_by_key(|f| f.busy.drain_order)?;
        let old_no = old.no;
        if old.offset >= old.size || old.queued.is_some() || !self.ensure_open(old_no, now) {
            return None;
        }
        let old = self.files.get_mut(old_no)?;
        let script = old.script(encoding).ok()??;
        match old.fill(side, 2 * QUANTUM) {
            Ok(Fill::Bytes { base, start, end, full: false }) if base == old.offset && end > start => {
                Some((old_no, base, script, start..end))
            }
            _ => None,
        }
    }

    /// Gives out what was read of records whose file was cut before they were complete.
    pub(super) fn give_orphans(&mut self, now: Now, take: Take<'_>) {
        for Orphan { source, no, name, script, offset, bytes } in std::mem::take(&mut self.orphans) {
            let mut assembly = std::mem::take(&mut self.assembly);
            assembly.clear();
            let Some(source) = self.sources.get(source) else { continue };
            assembly.feed(Part { data: &bytes, base: offset, script, skipping: false }, &source.recipe);
            assembly.finish_if(|_, _| true);
            let (n, _) = assembly.ready();
            let (name, spec): (&Arc<str>, _) = (&name, &source.spec);
            assembly.give(n, |bytes, records, fields, end, offset| {
                self.out.lines += records.len() as u64;
                self.out.bytes += bytes.len() as u64;
                take(&Block {
                    source: spec.no,
                    file: name,
                    file_no: no,
                    offset,
                    bytes,
                    end,
                    hit_early: &[],
                    read: now,
                    backlog: false,
                    records,
                    fields,
                    earlier: None,
                });
            });
            self.assembly = assembly;
        }
    }
}
