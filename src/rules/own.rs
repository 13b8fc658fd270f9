//! Is a line the agent's own? Its alerts quote log lines, and what it prints under systemd comes back through the
//! journal and syslog: a line of its own that hit would be alerted on for ever.
//!
//! Only the *tag* counts, at its place behind time and host, so that nobody hides a line by writing the program's name
//! into it. Who may choose the tag of his own lines may hide those, as he may by not writing them.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The tag of the agent's own lines.
const TAG: &[u8] = b"logherald";

/// Finds it.
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(TAG));

/// The tag lies within this many bytes: two times and a host's name.
const HEAD: usize = 384;

/// `line`, in syslog's form, was written by this agent. Of a line that was joined from several, the first is asked.
pub(super) fn is_own(line: &[u8]) -> bool {
    let head = &line[..line.len().min(HEAD)];
    // cheap for the many: most lines do not hold the name at all
    FINDER.find(head).is_some() && head.split(|b| *b == b'\n').next().and_then(tag).is_some_and(own_tag)
}

fn own_tag(tag: &[u8]) -> bool {
    let Some(rest) = tag.strip_prefix(TAG).and_then(|r| r.strip_suffix(b":")) else { return false };
    let pid = |r: &[u8]| r.strip_prefix(b"[")?.strip_suffix(b"]").map(|p| p.iter().all(u8::is_ascii_digit));
    rest.is_empty() || pid(rest) == Some(true)
}

/// The word where syslog's tag stands: behind an ISO time and a host, or behind `Mon dd hh:mm:ss` and a host. (What the
/// journal holds of the agent, `tail` leaves out by its own fields.)
fn tag(head: &[u8]) -> Option<&[u8]> {
    let mut words = head.split(|b| *b == b' ').filter(|w| !w.is_empty());
    let first = words.next()?;
    let first = match first.strip_prefix(b"<") {
        // a priority, as some daemons keep it
        Some(rest) => &rest[memchr::memchr(b'>', rest)? + 1..],
        None => first,
    };
    let iso = first.len() >= 19 && first[4] == b'-' && first[10] == b'T';
    let month =
        first.len() == 3 && first[0].is_ascii_uppercase() && first[1..].iter().all(u8::is_ascii_lowercase);
    match (iso, month) {
        (true, _) => words.nth(1),
        (_, true) => words.nth(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_own_lines_are_known_in_every_form() {
        for line in [
            "Nov 22 05:26:00 web1 logherald[77]: │ No space left on device",
            "Nov  2 05:26:00 web1 logherald: watching 4 files",
            "<30>Nov  2 05:26:00 web1 logherald[77]: watching",
            "2026-11-22T05:26:00.123456+01:00 web1 logherald[77]: watching",
            "Nov  2 05:26:00 web1 logherald[77]:\n  joined",
        ] {
            assert!(is_own(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn nobody_hides_a_line_by_writing_the_name_into_it() {
        for line in [
            "Nov 22 05:26:00 web1 sshd[7]: Failed password for logherald[77]: from 192.0.2.1",
            "Nov 22 05:26:00 web1 app[7]: logherald[77]: No space left on device",
            "Nov 22 05:26:00 web1 logheraldx[7]: No space left on device",
            "Nov 22 05:26:00 web1 logherald[x]: No space left on device",
            "2026-11-22T05:26:00Z web1 app: logherald: No space left on device",
            "Nov 22 05:26:00 web1\nlogherald[77]: No space left on device",
            "app\nNov 22 05:26:00 web1 logherald[77]: No space left on device",
            "logherald[77]: No space left on device",
            "web1 logherald[77]: No space left on device",
            "192.0.2.1 - logherald: [22/Nov/2026:05:26:00 +0000] \"GET / HTTP/1.1\" 500 1",
            "",
            "<",
            "<13",
        ] {
            assert!(!is_own(line.as_bytes()), "{line}");
        }
    }
}
