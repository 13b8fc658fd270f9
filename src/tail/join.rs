//! Which lines belong together: a pattern that begins a record, or what the traces of a language look like.
//!
//! A preset knows what may *follow* a line, not what begins one, because the line before a trace has as many forms as
//! there are loggers. It is a small state machine: what a language prints after `panic:` would be three records if
//! every line were judged alone. Presets lean towards joining too little: a line that is joined to the wrong record is
//! still matched, but found in the wrong place.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};

use super::{Join, Preset};

/// Compiled size of a `start`, in bytes, as for rules.
const SIZE: usize = 10 << 20;

/// So much of a line decides whether it belongs to the one before it, in bytes.
const HEAD: usize = 4 << 10;

/// What joins the lines of a source.
#[derive(Debug)]
pub(super) enum Joiner {
    None,
    Start(Regex),
    Preset(Preset),
}

/// What a record's lines so far lead one to expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trace {
    /// Nothing in particular.
    #[default]
    None,
    /// A trace is under way.
    In,
    /// Its last line has come, most likely.
    Over,
}

impl Joiner {
    /// Of a source; `config` has compiled the pattern before, so one that does not compile just joins nothing.
    pub(super) fn new(join: &Join) -> Joiner {
        match join {
            Join::None => Joiner::None,
            Join::Start(pattern) => {
                RegexBuilder::new(pattern).size_limit(SIZE).build().map_or(Joiner::None, Joiner::Start)
            }
            Join::Preset(preset) => Joiner::Preset(*preset),
        }
    }

    /// Each line is its own.
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Joiner::None)
    }

    /// What to expect after a record's first line.
    pub(super) fn first(&self, line: &[u8]) -> Trace {
        match self {
            Joiner::Preset(preset) => begins(*preset, head(line)),
            _ => Trace::None,
        }
    }

    /// Whether the line goes on with a record of which `trace` is known, and what to expect after it.
    pub(super) fn goes_on(&self, trace: Trace, line: &[u8]) -> Option<Trace> {
        match self {
            Joiner::None => None,
            Joiner::Start(start) => (!start.is_match(line)).then_some(Trace::None),
            Joiner::Preset(preset) => follows(*preset, trace, head(line)),
        }
    }
}

fn head(line: &[u8]) -> &[u8] {
    &line[..line.len().min(HEAD)]
}

/// Compiles a pattern of this file.
macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($text).expect("a pattern of this file compiles"));
    };
}

// `java.lang.NullPointerException: x`, `System.IO.IOException: x`
pattern!(EXCEPTION, r"^(?:[A-Za-z_$][\w$]*\.)+[A-Z][\w$]*(?:Exception|Error|Throwable|Fault)\b");
pattern!(PYTHON_LAST, r"^[A-Za-z_][\w.]*(?::|$)");
pattern!(PYTHON_NEXT, r"^(?:During handling of the above|The above exception was)");
pattern!(
    GO_CALL,
    r"^(?:goroutine \d+|created by |\[signal |exit status |\[originating from |[\w./()*\[\]{}-]+\(.*\)$)"
);
pattern!(RUST_PANIC, r"^thread '.*' (?:\(\d+\) )?panicked at");
pattern!(RUBY_FRAME, r"^[^\s:]+\.(?:rb|erb|rake|ru):\d+:in ");
pattern!(RUBY_ERROR, r"^[^\s:]+\.(?:rb|erb|rake|ru):\d+:in .*\([A-Z][\w:]*\)$");
pattern!(NODE_HEAD, r"^(?:file://)?[^\s:]*\.(?:js|ts|mjs|cjs|jsx|tsx):\d+$");
pattern!(NODE_ERROR, r"^(?:Uncaught )?(?:[A-Z]\w*)?(?:Error|Exception)\b");
pattern!(PHP_GOES_ON, r"^(?:(?:PHP )?Stack trace:|#\d+ |PHP +\d+\. |Next [\w\\]+)");

/// What the first line of a record lets one expect.
fn begins(preset: Preset, line: &[u8]) -> Trace {
    let trace = match preset {
        Preset::Python => line.starts_with(b"Traceback (most recent call last)"),
        Preset::Go => {
            line.starts_with(b"panic: ") || line.starts_with(b"fatal error: ") || has(line, b"panic serving")
        }
        Preset::Rust => RUST_PANIC.is_match(line),
        Preset::Ruby => RUBY_ERROR.is_match(line),
        Preset::Node => NODE_HEAD.is_match(line) || NODE_ERROR.is_match(line),
        Preset::Java | Preset::Dotnet | Preset::Php | Preset::Indented => false,
    };
    if trace { Trace::In } else { Trace::None }
}

fn has(line: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(line, word).is_some()
}

/// Whether a line follows one of the same record, and what may follow it.
fn follows(preset: Preset, trace: Trace, line: &[u8]) -> Option<Trace> {
    let blank = line.is_empty();
    let indented = line.first().is_some_and(|b| b" \t".contains(b));
    let starts = |word: &str| line.starts_with(word.as_bytes());
    if indented {
        return Some(trace);
    }
    let goes_on = match preset {
        Preset::Indented => false,
        Preset::Java => starts("Caused by: ") || starts("Suppressed: ") || EXCEPTION.is_match(line),
        Preset::Dotnet => starts("---> ") || starts("--- End of ") || EXCEPTION.is_match(line),
        Preset::Php => PHP_GOES_ON.is_match(line),
        Preset::Python => {
            return match trace {
                _ if starts("Traceback (most recent call last)") => Some(Trace::In),
                _ if PYTHON_NEXT.is_match(line) => Some(Trace::In),
                // Between two of a chain stands an empty line.
                Trace::In | Trace::Over if blank => Some(trace),
                Trace::In => PYTHON_LAST.is_match(line).then_some(Trace::Over),
                _ => None,
            };
        }
        Preset::Go => {
            return match trace {
                _ if starts("goroutine ") => Some(Trace::In),
                Trace::In | Trace::Over if blank || GO_CALL.is_match(line) => Some(Trace::In),
                _ => None,
            };
        }
        Preset::Rust => {
            return match trace {
                // The message stands on the line behind the place; it may be empty.
                Trace::In => Some(Trace::Over),
                _ if starts("note: run with `RUST_BACKTRACE") || starts("stack backtrace:") => {
                    Some(Trace::Over)
                }
                _ if starts("Caused by:") || starts("note: Some details are omitted") => Some(Trace::Over),
                _ => None,
            };
        }
        Preset::Ruby => {
            return match trace {
                Trace::In if blank => Some(trace),
                _ => (RUBY_FRAME.is_match(line) && !RUBY_ERROR.is_match(line)).then_some(Trace::In),
            };
        }
        Preset::Node => {
            return match trace {
                _ if NODE_ERROR.is_match(line) => Some(Trace::In),
                Trace::In if blank || starts("}") || starts("^") || starts("Node.js v") => Some(trace),
                // The source line that threw stands at its own margin.
                Trace::In if starts("throw ") => Some(trace),
                _ => None,
            };
        }
    };
    goes_on.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records that the lines make, each as its number of lines.
    fn records(joiner: &Joiner, text: &str) -> Vec<usize> {
        let mut counts = vec![];
        let mut trace = None;
        for line in text.lines() {
            let next = trace.and_then(|t| joiner.goes_on(t, line.as_bytes()));
            match (next, counts.last_mut()) {
                (Some(_), Some(n)) => *n += 1,
                _ => counts.push(1),
            }
            trace = Some(next.unwrap_or_else(|| joiner.first(line.as_bytes())));
        }
        counts
    }

    fn preset(preset: Preset, text: &str) -> Vec<usize> {
        records(&Joiner::Preset(preset), text)
    }

    #[test]
    fn a_start_begins_a_record_and_everything_else_goes_on() {
        let joiner = Joiner::new(&Join::Start(r"^\d{4}-".into()));
        assert_eq!(records(&joiner, "2026-01 a\nb\n\nc\n2026-02 d\n2026-03 e\nf"), [4, 1, 2]);
        assert_eq!(records(&joiner, "rest of an older one\nmore\n2026-02 d"), [2, 1]);
    }

    #[test]
    fn java() {
        let text = "\
12:00:01 INFO started
12:00:02 ERROR request failed
com.acme.shop.OrderException: cannot book
\tat com.acme.shop.Orders.book(Orders.java:42)
\tat com.acme.shop.Web$1.run(Web.java:7)
Caused by: java.sql.SQLException: connection lost
\tat com.acme.db.Pool.get(Pool.java:11)
\t... 2 more
12:00:03 INFO next
Exception in thread \"main\" java.lang.IllegalStateException: x
\tat Main.main(Main.java:3)
12:00:04 INFO last";
        assert_eq!(preset(Preset::Java, text), [1, 7, 1, 2, 1]);
    }

    #[test]
    fn python() {
        let text = "\
ERROR:app:it failed
Traceback (most recent call last):
  File \"app.py\", line 3, in <module>
    work()
ValueError: bad

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"app.py\", line 5, in <module>
    raise RuntimeError
RuntimeError
INFO:app:on with it
INFO:app:and on";
        assert_eq!(preset(Preset::Python, text), [12, 1, 1]);
    }

    #[test]
    fn go() {
        let text = "\
2026/11/22 starting
panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.work(...)
\t/srv/app/main.go:9
main.main()
\t/srv/app/main.go:5 +0x1d
exit status 2
2026/11/22 http: panic serving 192.0.2.1:5: boom
goroutine 18 [running]:
net/http.(*conn).serve.func1()
\t/usr/lib/go/net/http/server.go:1 +0xb
2026/11/22 on with it";
        assert_eq!(preset(Preset::Go, text), [1, 8, 4, 1]);
    }

    #[test]
    fn rust() {
        let text = "\
INFO started
thread 'main' panicked at src/main.rs:2:5:
index out of bounds: the len is 3 but the index is 5
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
INFO again
thread 'worker' (77) panicked at src/w.rs:1:1:
boom
stack backtrace:
   0: std::panicking::begin_panic
             at /rustc/x/library/std/src/panicking.rs:1:1
INFO last";
        assert_eq!(preset(Preset::Rust, text), [1, 3, 1, 5, 1]);
    }

    #[test]
    fn ruby() {
        let text = "\
I, started
app.rb:3:in `work': bad (RuntimeError)
\tfrom app.rb:7:in `<main>'
I, again
app/models/order.rb:9:in 'Order#book': no (NoMethodError)
app/web.rb:5:in 'call'
I, last";
        assert_eq!(preset(Preset::Ruby, text), [1, 2, 1, 2, 1]);
    }

    #[test]
    fn node() {
        let text = "\
started
/srv/app/index.js:3
    throw new Error('boom');
    ^

Error: boom
    at work (/srv/app/index.js:3:11)
    at node:internal/main:9:1 {
  code: 'E_BAD'
}

Node.js v22.1.0
started
TypeError: x is not a function
    at run (/srv/app/run.js:1:1)
on with it";
        // An error without a place before it follows the line that logged it.
        assert_eq!(preset(Preset::Node, text), [1, 11, 3, 1]);
    }

    #[test]
    fn php_dotnet_and_indented() {
        let text = "\
[22-Nov] PHP Fatal error:  Uncaught Exception: boom in /srv/a.php:3
Stack trace:
#0 /srv/a.php(7): work()
#1 {main}
  thrown in /srv/a.php on line 3
[22-Nov] PHP Notice:  x";
        assert_eq!(preset(Preset::Php, text), [5, 1]);
        let text = "\
Unhandled exception. System.InvalidOperationException: boom
 ---> System.IO.IOException: gone
   at Acme.Io.Read() in /src/Io.cs:line 3
   --- End of inner exception stack trace ---
   at Acme.Program.Main() in /src/P.cs:line 9
info: Acme[0]
      started";
        assert_eq!(preset(Preset::Dotnet, text), [5, 2]);
        assert_eq!(preset(Preset::Indented, "a\n  b\n\tc\n\nd"), [3, 1, 1]);
    }
}
