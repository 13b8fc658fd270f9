//! What container runtimes wrap around a line, and taking it off.
//!
//! Docker's json-file and the CRI format both cut a line of more than 16 KiB into pieces: the first says so by a
//! missing newline, the second by a `P` where a whole line has an `F`. Pieces of the two streams of a container may
//! lie between each other, so they are put together per stream.
//!
//! A line that is not what it was expected to be is matched as it stands: nothing a file holds is left out.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;

use super::Format;
use crate::time::Wall;

/// Which of a container's streams a line came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stream {
    /// It does not say, or there is no container.
    #[default]
    None,
    Out,
    Err,
}

impl Stream {
    /// How many there are.
    pub(super) const ALL: usize = 3;

    /// As rules name it in `where`.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Stream::None => None,
            Stream::Out => Some("stdout"),
            Stream::Err => Some("stderr"),
        }
    }

    fn named(name: &[u8]) -> Stream {
        match name {
            b"stdout" => Stream::Out,
            b"stderr" => Stream::Err,
            _ => Stream::None,
        }
    }
}

/// A line without its wrapping.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unwrapped<'a> {
    pub(super) text: Cow<'a, [u8]>,
    pub(super) stream: Stream,
    pub(super) stamp: Option<Wall>,
    /// The rest comes in the stream's next line.
    pub(super) unfinished: bool,
}

/// Takes off what `format` says is around the line.
pub(super) fn unwrap(format: Format, line: &[u8]) -> Unwrapped<'_> {
    let unwrapped = match format {
        Format::Plain | Format::Json | Format::Logfmt => None,
        Format::Docker => docker(line),
        Format::Cri => cri(line),
        Format::Auto if line.starts_with(b"{") => docker(line),
        Format::Auto => cri(line),
    };
    let plain =
        || Unwrapped { text: Cow::Borrowed(line), stream: Stream::None, stamp: None, unfinished: false };
    unwrapped.unwrap_or_else(plain)
}

/// A line of Docker's json-file.
#[derive(Deserialize)]
struct Docker<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
}

fn docker(line: &[u8]) -> Option<Unwrapped<'_>> {
    let Docker { log, stream, time } = serde_json::from_slice(line).ok()?;
    let ends = log.strip_suffix('\n').map(str::len);
    let upto = ends.map(|n| log[..n].strip_suffix('\r').map_or(n, str::len));
    let text = match (log, upto) {
        (Cow::Borrowed(log), Some(n)) => Cow::Borrowed(&log.as_bytes()[..n]),
        (Cow::Borrowed(log), None) => Cow::Borrowed(log.as_bytes()),
        (Cow::Owned(mut log), upto) => {
            log.truncate(upto.unwrap_or(log.len()));
            Cow::Owned(log.into_bytes())
        }
    };
    Some(Unwrapped {
        text,
        stream: Stream::named(stream.as_bytes()),
        stamp: stamp(time.as_bytes()),
        unfinished: upto.is_none(),
    })
}

/// `2026-11-22T05:26:00.123456789Z stdout F text`
fn cri(line: &[u8]) -> Option<Unwrapped<'_>> {
    let mut words = line.splitn(4, |&b| b == b' ');
    let (time, stream, tags) = (words.next()?, words.next()?, words.next()?);
    let text = words.next().unwrap_or_default();
    let stream = Some(Stream::named(stream)).filter(|s| *s != Stream::None)?;
    // More tags than this one may come, behind colons.
    let unfinished = match tags.split(|&b| b == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(Unwrapped { text: Cow::Borrowed(text), stream, stamp: Some(stamp(time)?), unfinished })
}

fn stamp(time: &[u8]) -> Option<Wall> {
    let time: Timestamp = std::str::from_utf8(time).ok()?.parse().ok()?;
    Some(Wall(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(unwrapped: &Unwrapped<'_>) -> String {
        String::from_utf8_lossy(&unwrapped.text).into_owned()
    }

    #[test]
    fn docker_says_what_was_written_where_and_when() {
        let line = br#"{"log":"a \"word\"\r\n","stream":"stderr","time":"2026-11-22T05:26:00.5Z"}"#;
        let got = unwrap(Format::Docker, line);
        assert_eq!((text(&got).as_str(), got.stream, got.unfinished), ("a \"word\"", Stream::Err, false));
        assert_eq!(got.stamp, Some(Wall(1_795_325_160_500)));
        let piece =
            br#"{"log":"no end","stream":"stdout","time":"2026-11-22T05:26:00Z","attrs":{"tag":"x"}}"#;
        let got = unwrap(Format::Auto, piece);
        assert_eq!((text(&got).as_str(), got.stream, got.unfinished), ("no end", Stream::Out, true));
    }

    #[test]
    fn cri_says_whether_more_follows() {
        let got = unwrap(Format::Cri, b"2026-11-22T05:26:00.000000001+01:00 stdout P a  b ");
        assert_eq!((text(&got).as_str(), got.stream, got.unfinished), ("a  b ", Stream::Out, true));
        let got = unwrap(Format::Auto, b"2026-11-22T05:26:00Z stderr F:x ");
        assert_eq!((text(&got).as_str(), got.stream, got.unfinished), ("", Stream::Err, false));
    }

    #[test]
    fn what_is_not_wrapped_is_what_it_is() {
        for line in [
            "plain words",
            r#"{"level":"error"}"#,
            r#"{"log":"cut off"#,
            "2026-11-22T05:26:00Z stdin F x",
            "yesterday stdout F x",
            "",
        ] {
            for format in [Format::Docker, Format::Cri, Format::Auto, Format::Json] {
                let got = unwrap(format, line.as_bytes());
                assert_eq!((text(&got).as_str(), got.stream, got.stamp), (line, Stream::None, None));
            }
        }
    }
}
