//! A fault of a rules file: what, where, in which rule, and the remedy; drawn with a caret, or as JSON.
//!
//! [`Sources`] keeps the text of every file for drawing, and keeps it *masked*: the query and password of every
//! URL and the body of every private key are overwritten with `*`, byte for byte, before anything can print them.
//! Spans therefore hold in the masked text as they do in the file, and no drawing can leak a webhook.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

/// Which of the files that were read; 0 is the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNo(pub u16);

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: FileNo,
    /// Byte range, inside the file and on character bounds.
    pub span: Range<usize>,
}

/// Does a fault stop the file from being used?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Yes.
    Error,
    /// No, but it is probably not what was meant.
    Warning,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub grade: Grade,
    /// Where.
    pub place: Place,
    /// Name of the rule it is in.
    pub rule: Option<Arc<str>>,
    /// What was found and what was expected; lower case, names in backticks, no full stop.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
    /// A second place, and what is there.
    pub also: Option<(Place, &'static str)>,
}

/// Plain text or colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// For files, pipes and tests.
    Plain,
    /// With ANSI colours.
    Coloured,
}

/// The files that were read, for drawing.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<SourceText>);

#[derive(Clone, Debug)]
struct SourceText {
    path: PathBuf,
    masked: String,
}

/// A diagnostic as `--json` prints it.
#[derive(Debug, Serialize)]
struct Json<'a> {
    severity: Grade,
    file: String,
    line: usize,
    column: usize,
    rule: Option<&'a str>,
    message: &'a str,
    hint: Option<&'a str>,
}

impl Sources {
    /// Adds a file; its text is masked at once.
    pub fn add(&mut self, path: &Path, text: &str) -> FileNo {
        let no = FileNo(u16::try_from(self.0.len()).unwrap_or(u16::MAX));
        self.0.push(SourceText { path: path.to_owned(), masked: mask(text) });
        no
    }

    /// Overwrites a span as secret; for a value that must be one whatever it looks like.
    pub fn hide(&mut self, place: &Place) {
        let Some(source) = self.0.get_mut(usize::from(place.file.0)) else { return };
        let span = clamp(&source.masked, &place.span);
        let stars = stars(&source.masked[span.clone()]);
        source.masked.replace_range(span, &stars);
    }

    /// Path of a file, as it was opened.
    pub fn path(&self, file: FileNo) -> &Path {
        self.0.get(usize::from(file.0)).map_or(Path::new(""), |s| &s.path)
    }

    /// Line and column of a place, both from 1; columns count characters.
    pub fn line_column(&self, place: &Place) -> (usize, usize) {
        let Some(source) = self.0.get(usize::from(place.file.0)) else { return (1, 1) };
        let start = clamp(&source.masked, &place.span).start;
        let before = &source.masked[..start];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// Draws a fault: what, `file:line:column`, the line with a caret under the place, the hint. No newline at
    /// the end.
    pub fn render(&self, fault: &Diagnostic, look: Look) -> String {
        let renderer = if look == Look::Coloured { Renderer::styled() } else { Renderer::plain() };
        let title = match &fault.rule {
            Some(rule) => format!("rule `{rule}`: {}", fault.message),
            None => fault.message.clone(),
        };
        let level = if fault.grade == Grade::Error { Level::ERROR } else { Level::WARNING };
        let mut group = Group::with_title(level.primary_title(title));
        let same_file = fault.also.as_ref().filter(|(also, _)| also.file == fault.place.file);
        let paths: Vec<_> = self.0.iter().map(|s| s.path.to_string_lossy()).collect();
        let snippet = |place: &Place, kind: AnnotationKind, label: Option<&'static str>| {
            let source = self.0.get(usize::from(place.file.0))?;
            let span = first_line(&source.masked, clamp(&source.masked, &place.span));
            let path = paths.get(usize::from(place.file.0))?.clone();
            let drawn = Snippet::source(source.masked.as_str()).path(path);
            Some((drawn.annotation(kind.span(span).label(label)), source))
        };
        let empty = self.0.get(usize::from(fault.place.file.0)).is_some_and(|s| s.masked.is_empty());
        if empty && let Some(path) = paths.get(usize::from(fault.place.file.0)) {
            // nothing can be pointed at
            group = group.element(Origin::path(path.clone()));
        } else if let Some((mut drawn, source)) = snippet(&fault.place, AnnotationKind::Primary, None) {
            if let Some((also, label)) = same_file {
                let span = first_line(&source.masked, clamp(&source.masked, &also.span));
                drawn = drawn.annotation(AnnotationKind::Context.span(span).label(*label));
            }
            group = group.element(drawn);
        }
        if same_file.is_none()
            && let Some((also, label)) = &fault.also
            && let Some((drawn, _)) = snippet(also, AnnotationKind::Context, Some(*label))
        {
            group = group.element(drawn);
        }
        if let Some(hint) = &fault.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint));
        }
        renderer.render(&[group])
    }

    /// A fault as a JSON object: `severity file line column rule message hint`; stable.
    pub fn to_json(&self, fault: &Diagnostic) -> serde_json::Value {
        let (line, column) = self.line_column(&fault.place);
        let json = Json {
            severity: fault.grade,
            file: self.path(fault.place.file).to_string_lossy().into_owned(),
            line,
            column,
            rule: fault.rule.as_deref(),
            message: &fault.message,
            hint: fault.hint.as_deref(),
        };
        serde_json::to_value(json).unwrap_or_default()
    }
}

/// The span with its ends inside the text and on character bounds.
fn clamp(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.min(text.len()));
    start..end.max(start)
}

/// A caret under the first line says enough; a frame round twenty lines says less.
fn first_line(text: &str, span: Range<usize>) -> Range<usize> {
    let end = text[span.clone()].find('\n').map_or(span.end, |i| span.start + i);
    span.start..end
}

fn stars(text: &str) -> String {
    text.bytes().map(|b| if b == b'\n' { '\n' } else { '*' }).collect()
}

/// The text with the secrets of URLs and private keys overwritten, byte for byte.
pub(super) fn mask(text: &str) -> String {
    let mut hidden: Vec<Range<usize>> = Vec::new();
    for (at, _) in text.match_indices("://") {
        let from = at + 3;
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',' | '}' | ']' | '<' | '>');
        let to = text[from..].find(ends).map_or(text.len(), |i| from + i);
        let url = &text[from..to];
        if let Some(user) = url.split(['/', '?']).next().and_then(|host| host.rfind('@')) {
            hidden.push(from..from + user);
        }
        if let Some(query) = url.find('?') {
            hidden.push(from + query + 1..to);
        }
    }
    for (at, _) in text.match_indices("PRIVATE KEY-----") {
        let from = at + "PRIVATE KEY-----".len();
        let to = text[from..].find("-----").map_or(text.len(), |i| from + i);
        hidden.push(from..to);
    }
    let mut bytes = text.as_bytes().to_vec();
    for span in hidden {
        for b in &mut bytes[span] {
            if *b != b'\n' {
                *b = b'*';
            }
        }
    }
    // whole characters were overwritten, so this is still UTF-8 and nothing is lost
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_overwritten_byte_for_byte() {
        let text = "u = 'https://chat.example/v1/spaces/A/messages?key=K&token=Té'\nv = \"http://me:pw@h/x\"";
        assert_eq!(
            mask(text),
            "u = 'https://chat.example/v1/spaces/A/messages?***************'\nv = \"http://*****@h/x\""
        );
        assert_eq!(mask(text).len(), text.len());
        let pem = "k = '''-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n'''";
        assert!(!mask(pem).contains("MIIE"), "{}", mask(pem));
    }

    #[test]
    fn json_has_a_place_and_a_rule() {
        let mut sources = Sources::default();
        let file = sources.add(Path::new("rules.toml"), "a = 1\né = bad\n");
        let fault = Diagnostic {
            grade: Grade::Warning,
            place: Place { file, span: 11..14 },
            rule: Some("x".into()),
            message: "`é` is odd".into(),
            hint: None,
            also: None,
        };
        assert_eq!(
            sources.to_json(&fault).to_string(),
            r#"{"column":5,"file":"rules.toml","hint":null,"line":2,"message":"`é` is odd","rule":"x","severity":"warning"}"#
        );
    }
}
