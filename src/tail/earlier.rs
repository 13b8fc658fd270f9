//! What stands before a block in its file: for the lines that are shown around a hit.
//!
//! Nothing of a file is kept for it, however many files there are: one read backwards, of a piece that is a quarter of
//! what a file gives up in one turn, and only when a hit asks. What was read is made into lines or records as the
//! block itself was, so a trace before a hit is one line here too.
//!
//! The surprise: the first record of what was read is left out, unless the file begins with it. Where it began is not to
//! be seen.

use super::assemble::{Assembly, Part, Recipe};
use super::decode::Script;
use super::handle::Handle;
use super::identity;
use crate::line::Earlier;

/// So far back is looked, in bytes of the file.
const BACK: usize = 64 << 10;

/// The way back into a file that is being read.
#[derive(Debug)]
pub(super) struct Back<'a> {
    pub(super) handle: Option<&'a Handle>,
    pub(super) recipe: &'a Recipe,
    pub(super) script: Script,
}

impl Earlier for Back<'_> {
    fn before(&self, offset: u64, most: usize, bytes: usize) -> Vec<Box<[u8]>> {
        // an archive is read forwards only
        let Some(handle) = self.handle.filter(|h| !h.is_packed()) else { return Vec::new() };
        let script = self.script;
        let Ok(data) = identity::bytes_before(handle, offset, BACK) else { return Vec::new() };
        let base = offset - data.len() as u64;
        let mark = usize::from(script.mark);
        let (begins, from) = (base == 0, if base == 0 { mark.min(data.len()) } else { 0 });
        let mut assembly = Assembly::default();
        let part = Part { data: &data[from..], base: base + from as u64, script, skipping: !begins };
        assembly.feed(part, self.recipe);
        assembly.finish_if(|_, _| true);
        let (n, _) = assembly.ready();
        let mut lines: Vec<Box<[u8]>> = Vec::new();
        assembly.give(n, |text, records, _, _, _| {
            let of = |r: &crate::line::Record| text.get(r.start as usize..r.end as usize).unwrap_or_default();
            lines.extend(records.iter().map(of).map(|line| line[..line.len().min(bytes)].into()));
        });
        let torn = usize::from(!begins && self.recipe.joins());
        lines.drain(..torn.max(lines.len().saturating_sub(most)).min(lines.len()));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::join::Joiner;
    use crate::tail::{Format, Join, Preset};

    fn before(
        text: &[u8],
        offset: usize,
        join: &Join,
        encoding: &'static encoding_rs::Encoding,
    ) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, text).unwrap();
        let handle = Handle::open(&path).unwrap();
        let recipe = Recipe { joiner: Joiner::new(join), format: Format::Plain, max_line: 1 << 20 };
        let script = Script { encoding, mark: 0 };
        let back = Back { handle: Some(&handle), recipe: &recipe, script };
        let lines = back.before(offset as u64, 3, 5);
        lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn the_last_lines_before_a_place_are_those_just_before_it() {
        let utf8 = |text: &[u8], offset| before(text, offset, &Join::None, encoding_rs::UTF_8);
        let text = b"one\ntwo\r\n\nfour and more\nfive\n";
        assert_eq!(utf8(text, 24), ["two", "", "four "]);
        assert_eq!(utf8(text, 4), ["one"]);
        assert_eq!(utf8(text, 0), [""; 0]);
        let far = [b"far\n".repeat(3), vec![b'x'; BACK], b"\nnear\n".to_vec()].concat();
        assert_eq!(
            utf8(&far, far.len()),
            ["near"],
            "what is torn is left out, and nothing is read behind it"
        );
    }

    #[test]
    fn what_was_joined_or_encoded_is_so_here_too() {
        let java = Join::Preset(Preset::Java);
        let text = b"a\n\tat A.b(A.java:1)\nb\nc\n";
        let lines = before(text, text.len(), &java, encoding_rs::UTF_8);
        assert_eq!(lines, ["a\n\tat", "b", "c"]);
        let wide: Vec<u8> = "eins\nzwei\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(before(&wide, wide.len(), &Join::None, encoding_rs::UTF_16LE), ["eins", "zwei"]);
    }
}
