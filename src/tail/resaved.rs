//! A file that took a log's name with the log's text: an editor's save, `sed -i`, a restored backup.
//!
//! Its lines were matched already, and nobody wants to hear them again. But a program may also begin its log anew
//! with the very lines it began the last one with, so an equal header proves nothing: what counts is the text just
//! before the position, long enough and with different lines in it. Where that does not hold the file is a new one.

use super::handle::Handle;
use super::identity::{self, PROOF};
use super::marks::Marks;
use super::tailer::Tailer;
use crate::line::FilePlace;
use crate::time::Now;

/// So many bytes of an old file are compared with a new one that may be the beginning of it.
const COMPARED: usize = 64 << 10;

/// The end of what was read is looked for in so many bytes at the end of a new file.
const SEARCHED: usize = 1 << 20;

/// Where to go on in `file`, if it carries on the text that was read up to `place`: the offset, and whether it lies
/// inside a line. `same_inode` says that it is that file anyway.
pub(super) fn carries_on(file: &Handle, place: &FilePlace, same_inode: bool) -> Option<(u64, bool)> {
    let size = file.look().ok()?.size;
    let telling = |end: u64| {
        same_inode
            || identity::bytes_before(file, end, PROOF)
                .is_ok_and(|bytes| bytes.len() == PROOF && differ(&bytes))
    };
    if identity::holds(file, place.offset, place.proof) && telling(place.offset) {
        return Some((place.offset, place.skipping));
    }
    // Lines were taken out before the end.
    let whole = place.proof.len as usize == PROOF;
    if whole && size >= PROOF as u64 && identity::holds(file, size, place.proof) && telling(size) {
        return Some((size, false));
    }
    // Lines were taken off the end, and others put there.
    let resume = Marks::saved(place.marks.clone(), &place.recent, place.offset).resume(file, size)?;
    (!resume.inside && telling(resume.offset)).then_some((resume.offset, false))
}

/// Where in `new` the text that was read of `old` ends, although it lies elsewhere there: something before it was
/// changed.
fn end_within(old: &Handle, offset: u64, new: &Handle, size: u64) -> Option<u64> {
    let last = identity::bytes_before(old, offset, PROOF).ok().filter(|b| b.len() == PROOF && differ(b))?;
    let bytes = identity::bytes_before(new, size, SEARCHED).ok()?;
    let at = memchr::memmem::rfind(&bytes, &last)?;
    Some(size - (bytes.len() - at - last.len()) as u64)
}

/// There is more than one line, and they are not all the same.
pub(super) fn differ(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|&b| b == b'\n').skip(1).filter(|l| !l.is_empty());
    let first = lines.next();
    lines.any(|l| Some(l) != first)
}

impl Tailer {
    /// The name of file `no` leads to another file now, and nothing leads to the old one any more. If the new one
    /// carries on the old one's text, goes on in it; `false` if it does not.
    pub(super) fn resaved(&mut self, no: u64, now: Now) -> bool {
        let Some(file) = self.files.get(no) else { return false };
        // A layered filesystem keeps the old file below, where no name leads.
        let gone = file.open.as_ref().is_some_and(|old| old.look().is_ok_and(|l| l.links == 0))
            || self.find(&file.path, file.id).is_none();
        if !gone || file.offset == 0 || file.busy.copy_of.is_some() {
            return false;
        }
        let (path, place, source) = (file.path.clone(), file.place(), file.source);
        let Some((look, new)) = self.open_as(&path) else { return false };
        let Some(file) = self.files.get_mut(no) else { return false };
        let begins = |old: &Handle| {
            let end = look.size;
            let same = |at: u64, len: usize| {
                let of = |f: &Handle| identity::bytes_before(f, at, len).unwrap_or_default();
                let (a, b) = (of(&new), of(old));
                !a.is_empty() && a == b && differ(&a)
            };
            end < place.offset && same(end, COMPARED) && same(end.min(COMPARED as u64), COMPARED)
        };
        let on = carries_on(&new, &place, false)
            .or_else(|| file.open.as_ref().is_some_and(begins).then_some((look.size, false)))
            .or_else(|| {
                Some((end_within(file.open.as_ref()?, place.offset, &new, look.size)?, place.skipping))
            });
        let Some((offset, skipping)) = on else { return false };
        self.open += usize::from(file.open.is_none());
        let old = std::mem::replace(&mut file.id, look.id);
        file.open = Some(new);
        self.index.replace(source, old, look.id, no);
        self.out.forgotten.push(self.key(source, old));
        let Some(file) = self.files.get_mut(no) else { return false };
        if file.restart(offset, skipping).is_err() {
            return true; // it is looked at again, and read if it can be
        }
        (file.size, file.mtime, file.moved, file.active) = (look.size, look.mtime, now.wall, now.tick);
        self.changed.insert(no);
        self.enqueue(no);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_differ_when_two_whole_ones_do() {
        assert!(differ(b"tail of one\nline 1\nline 2\n"));
        assert!(!differ(b"beat\nbeat\nbeat\n"));
        assert!(!differ(b"other\nbeat\n"), "the first may be cut");
        assert!(!differ(b""));
    }
}
