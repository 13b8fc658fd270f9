//! What `tail` is asked to read. Built by `config`, which has validated every part.

use std::sync::Arc;

use crate::line::SourceNo;

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// Its number in this set.
    pub no: SourceNo,
    /// Its name: positions are kept by it. Rule-level `files` form the source named `files`, rule-level
    /// `journal` the source `journal` or `journal:UNIT`.
    pub name: Arc<str>,
    /// Where its lines come from.
    pub input: Input,
    /// Where a file that is there at first start is begun; a file that appears later is always read from its start.
    pub from: From,
    /// Longest line that is matched whole, in bytes; of a longer one the head is.
    pub max_line: usize,
    /// Which lines belong together.
    pub join: Join,
    /// What its lines are wrapped in.
    pub format: Format,
    /// What its bytes mean. A byte order mark at the start of a file says it louder.
    pub encoding: Encoding,
}

/// Which lines belong together as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// None: each is its own.
    #[default]
    None,
    /// Those from one that this pattern matches up to the next.
    Start(Arc<str>),
    /// Traces of this language, to the line before them.
    Preset(Preset),
}

/// A language whose traces are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names say it")]
pub enum Preset {
    Java,
    Python,
    Go,
    Rust,
    Ruby,
    Node,
    Php,
    Dotnet,
    Indented,
}

impl Preset {
    /// All, by the words of `join`.
    pub const ALL: [(&'static str, Preset); 9] = [
        ("java", Preset::Java),
        ("python", Preset::Python),
        ("go", Preset::Go),
        ("rust", Preset::Rust),
        ("ruby", Preset::Ruby),
        ("node", Preset::Node),
        ("php", Preset::Php),
        ("dotnet", Preset::Dotnet),
        ("indented", Preset::Indented),
    ];
}

/// What lines are wrapped in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Nothing: a line is what stands there.
    #[default]
    Plain,
    /// Each is a JSON object; it is matched as it stands, its fields can be asked for.
    Json,
    /// Each is `key=value …`; the same.
    Logfmt,
    /// Docker's json-file: what is matched is the text of `log`, pieces put together.
    Docker,
    /// What CRI runtimes write: `TIME STREAM P|F TEXT`; what is matched is the text, pieces put together.
    Cri,
    /// Whichever of these each line turns out to be.
    Auto,
}

impl Format {
    /// All, by the words of `format`.
    pub const ALL: [(&'static str, Format); 6] = [
        ("plain", Format::Plain),
        ("json", Format::Json),
        ("logfmt", Format::Logfmt),
        ("docker", Format::Docker),
        ("cri", Format::Cri),
        ("auto", Format::Auto),
    ];
}

/// How the bytes of a source are to be read as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding(pub(super) &'static encoding_rs::Encoding);

impl Default for Encoding {
    fn default() -> Encoding {
        Encoding(encoding_rs::UTF_8)
    }
}

impl Encoding {
    /// By any of the names that the Encoding Standard knows (`utf-8`, `utf-16le`, `latin1`, `windows-1252`,
    /// `shift_jis` …). `None` for others, and for those that it refuses to read.
    pub fn named(label: &str) -> Option<Encoding> {
        encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()).map(Encoding)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Files.
    Files {
        /// Absolute paths or globs (`globset` syntax, `*` does not cross `/`).
        globs: Vec<String>,
        /// Globs on the whole path or, without a `/`, on the file name.
        exclude: Vec<String>,
    },
    /// The systemd journal.
    Journal {
        /// Only this unit, as `journalctl --unit` takes it.
        unit: Option<String>,
    },
    /// The agent's standard input.
    Stdin,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// At the end: only what is written from now on.
    #[default]
    End,
    /// At the first byte.
    Start,
}
